import { useMemo } from "preact/hooks";
import { bytes, compact, seconds } from "../../format.ts";
import { t } from "../../words.ts";
import { Card } from "../../ui/parts.tsx";
import { Chart, type Line } from "../../ui/chart.tsx";
import { span, useTable, type Point, type Spread, type Table } from "./series.ts";

const names = (): Record<string, string> => ({ websocket: "WebSocket", socketio: "Socket.IO", sse: "SSE", poll: t("chart.poll") });

// spread is a quantile in a second in which there was something to measure.
const spread = (of: Spread | undefined, what: "p50" | "p99") => (of && of.count > 0 ? of[what] : undefined);

function One({ title, table, lines, show, least = 1 }: { title: string; table: Table; lines: () => Line[]; show: (v: number) => string; least?: number }) {
  const made = useMemo(lines, [table, title]);
  return <Card><Chart title={title} times={table.times} lines={made} show={show} span={span} sync="overview" height={140} least={least} /></Card>;
}

const perSecond = (n: number) => compact(n);
const size = (n: number) => bytes(n);

// Charts shows the points. Each chart is made once and then only given new values.
export function Charts({ points }: { points: Point[] | undefined }) {
  const table = useTable(points);
  const { column } = table;
  const transports = Object.entries(names());
  return (
    <div class="grid ops-charts">
      <One title={t("chart.connections")} table={table} show={perSecond} lines={() => transports.map(([name, label], i): Line => ({ label, tone: (i + 1) as 1 | 2 | 3 | 4, values: column((p) => p.connections[name] ?? 0) }))} />
      <One title={t("chart.messages")} table={table} show={perSecond} lines={() => [{ label: t("chart.in"), tone: 2, values: column((p) => p.messages_in) }, { label: t("chart.out"), tone: 1, values: column((p) => p.messages_out), fill: true }]} />
      <One title={t("chart.delivery")} table={table} show={seconds} least={0.001} lines={() => [{ label: t("chart.p50"), tone: 2, values: column((p) => spread(p.delivery, "p50")) }, { label: t("chart.p99"), tone: 3, values: column((p) => spread(p.delivery, "p99")) }]} />
      <One title={t("chart.commit")} table={table} show={seconds} least={0.001} lines={() => [{ label: t("chart.p50"), tone: 2, values: column((p) => spread(p.commit, "p50")) }, { label: t("chart.p99"), tone: 3, values: column((p) => spread(p.commit, "p99")) }]} />
      <One title={t("chart.queued")} table={table} show={size} least={1024} lines={() => [{ label: t("chart.queued.line"), tone: 3, values: column((p) => p.queued), fill: true }]} />
      <One title={t("chart.losses")} table={table} show={perSecond} lines={() => [{ label: t("chart.dropped"), tone: 5, values: column((p) => p.dropped) }, { label: t("chart.refused"), tone: 4, values: column((p) => p.refused) }, { label: t("chart.paced"), tone: 3, values: column((p) => p.paced) }]} />
      <One title={t("chart.traffic")} table={table} show={size} least={1024} lines={() => [{ label: t("chart.in"), tone: 2, values: column((p) => p.bytes_in) }, { label: t("chart.out"), tone: 1, values: column((p) => p.bytes_out), fill: true }]} />
      <One title={t("chart.memory")} table={table} show={size} least={1024} lines={() => [{ label: t("chart.memory.line"), tone: 4, values: column((p) => p.memory), fill: true }]} />
      <One title={t("chart.pushes")} table={table} show={perSecond} lines={() => [{ label: t("chart.pushes.line"), tone: 1, values: column((p) => p.pushes) }, { label: t("chart.hooks"), tone: 5, values: column((p) => p.hooks_failed) }]} />
    </div>
  );
}
