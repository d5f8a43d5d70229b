// Charts over time: uPlot in the colours of the page.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { locale } from "../words.ts";
import { theme } from "../theme.ts";

export interface Line {
  label: string;
  values: (number | null | undefined)[]; // null is a gap; undefined has nothing to say, and the line goes on
  tone: 1 | 2 | 3 | 4 | 5; // a colour of the page
  fill?: boolean;
}

// Chart draws lines over times, to least at least. With span it shows so many seconds up to the newest
// time; charts of the same sync point at the same moment.
export function Chart({ title, times, lines, show, height = 168, span, sync, least = 1e-9 }: { title: string; times: number[]; lines: Line[]; show: (value: number) => string; height?: number; span?: number; sync?: string; least?: number }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const names = lines.map((l) => l.label).join("\n");
  const data = (): uPlot.AlignedData => [times.map((ms) => ms / 1000), ...lines.map((l) => l.values)] as uPlot.AlignedData;
  useEffect(() => {
    const el = box.current!;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis: uPlot.Axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const made = new uPlot({
      width: el.clientWidth || 300, height, padding: [8, 18, 0, 0],
      cursor: { y: false, points: { size: 6 }, ...(span ? { drag: { x: false, y: false } } : {}), ...(sync ? { sync: { key: sync } } : {}) }, legend: { live: true },
      scales: { x: { time: true, ...(span ? { range: (_, _min, max): [number, number] => [(max ?? 0) - span, max ?? 1] } : {}) }, y: { range: (_, min, max) => [Math.min(0, min ?? 0), Math.max(max ?? 0, least) * 1.1] } },
      axes: [
        { ...axis, space: 70, size: 30, values: (_, splits) => splits.map((s) => new Date(s * 1000).toLocaleTimeString(locale.value, { hour: "2-digit", minute: "2-digit", hour12: false })) },
        { ...axis, size: 58, values: (_, splits) => splits.map((v) => show(v)) },
      ],
      series: [
        { label: "", value: (_, v) => (v === null ? "" : new Date(v * 1000).toLocaleTimeString(locale.value, { hour12: false })) },
        ...lines.map((l): uPlot.Series => ({
          label: l.label, stroke: colour(`--chart-${l.tone}`), width: 1.6, points: { show: false }, spanGaps: false,
          ...(l.fill ? { fill: colour(`--chart-${l.tone}`) + "22" } : {}), value: (_, v) => (v === null || v === undefined ? "–" : show(v)),
        })),
      ],
    }, data(), el);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: el.clientWidth, height }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, height, theme.value, locale.value]);
  useEffect(() => {
    const it = plot.current;
    it?.setData(data());
    if (it && (it.cursor.left ?? -1) < 0) it.setLegend({ idx: times.length - 1 }, false); // what is newest, while nobody points at a moment
  }, [times, lines]);
  const newest = lines.map((l) => `${l.label} ${((v) => (v === null || v === undefined ? "–" : show(v)))(l.values[l.values.length - 1])}`).join(", ");
  return <figure class="chart"><figcaption>{title}</figcaption><div ref={box} role="img" aria-label={`${title}: ${newest}`} /></figure>;
}
