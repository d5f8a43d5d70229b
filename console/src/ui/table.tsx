// Tables of any length: only the rows that can be seen, and a few around them, are in the
// document. All rows have the same height.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { call, type Problem } from "../api.ts";
import { asker, useAsked, type Asker } from "../live.ts";
import { number } from "../format.ts";
import { format } from "../json.ts";
import { t } from "../words.ts";
import { Button, Empty, ErrorNote, Waiting } from "./parts.tsx";

export interface Column<T> {
  name: string;
  cell: (row: T) => ComponentChildren;
  wide?: boolean; // left out on a phone
  end?: boolean; // numbers stand at the end
  grow?: boolean; // takes what room is left
}

const around = 12; // rows above and below what is seen

export function Table<T>({ label, columns, rows, rowKey, empty }: { label: string; columns: Column<T>[]; rows: T[]; rowKey: (row: T) => string; empty?: ComponentChildren }) {
  const body = useRef<HTMLTableSectionElement>(null);
  const [span, setSpan] = useState({ from: 0, to: 60 });
  const height = useRef(44);
  useLayoutEffect(() => {
    const look = () => {
      const el = body.current;
      if (!el) return;
      const row = el.querySelector<HTMLTableRowElement>("tr[data-row]");
      // What is wider than its frame can be scrolled by those who use no mouse, too.
      const frame = el.closest<HTMLElement>(".table-frame");
      if (frame && frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
      else frame?.removeAttribute("tabindex");
      if (row && row.offsetHeight > 0) height.current = row.getBoundingClientRect().height;
      const top = -el.getBoundingClientRect().top;
      const from = Math.max(0, Math.floor(top / height.current) - around);
      const to = Math.ceil((top + innerHeight) / height.current) + around;
      setSpan((was) => (was.from === from && was.to === to ? was : { from, to: Math.max(to, from + 1) }));
    };
    let frame = 0;
    const later = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(look);
    };
    look();
    addEventListener("scroll", later, { passive: true, capture: true });
    addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", later, { capture: true });
      removeEventListener("resize", later);
    };
  }, [rows.length]);
  // Up and down go from row to row, for those who use no mouse.
  const arrow = (e: KeyboardEvent) => {
    if (e.key !== "ArrowDown" && e.key !== "ArrowUp") return;
    const row = (e.target as HTMLElement).closest("tr");
    let next = e.key === "ArrowDown" ? row?.nextElementSibling : row?.previousElementSibling;
    if (!next?.hasAttribute("data-row")) next = null;
    const focus = next?.querySelector<HTMLElement>("a, button");
    if (!focus) return;
    e.preventDefault();
    focus.focus();
    next!.scrollIntoView({ block: "nearest" });
  };
  if (rows.length === 0) return <Empty>{empty}</Empty>;
  const from = Math.min(span.from, Math.max(0, rows.length - 1));
  const to = Math.min(span.to, rows.length);
  const shown = rows.slice(from, to);
  return (
    <div class="table-frame">
      <table class="table" aria-label={label} aria-rowcount={rows.length + 1}>
        <thead><tr aria-rowindex={1}>{columns.map((c) => <th key={c.name} scope="col" class={classes(c)}>{c.name}</th>)}</tr></thead>
        <tbody ref={body} onKeyDown={arrow}>
          {from > 0 && <tr aria-hidden="true"><td colSpan={columns.length} style={{ height: `${from * height.current}px`, padding: 0 }} /></tr>}
          {shown.map((row, i) => (
            <tr key={rowKey(row)} data-row aria-rowindex={from + i + 2}>
              {columns.map((c) => <td key={c.name} class={classes(c)}>{c.cell(row)}</td>)}
            </tr>
          ))}
          {to < rows.length && <tr aria-hidden="true"><td colSpan={columns.length} style={{ height: `${(rows.length - to) * height.current}px`, padding: 0 }} /></tr>}
        </tbody>
      </table>
    </div>
  );
}

function classes<T>(c: Column<T>): string {
  return `${c.wide ? "wide-only " : ""}${c.end ? "end " : ""}${c.grow ? "grow" : ""}`.trim();
}

export interface Pages<T> {
  rows: T[];
  more: boolean;
  busy: boolean;
  error: Problem | undefined;
  at: number; // when the newest answer came; 0: none yet
  live: boolean; // what is shown is asked for again and again
  load: () => void;
  refresh: () => Promise<void>;
}

const liveRows = 500;

// usePages reads a list page by page: load reads the next one. With ms the pages that are
// there are asked for again as often, as long as they are not too many; then live is false,
// and refresh reads anew.
export function usePages<T, R = { items: T[]; next?: string }>(verb: string, params: object, { take, ms = 0, limit = 100 }: { take: (answer: R) => { items: T[]; next?: string | undefined }; ms?: number; limit?: number }): Pages<T> {
  const asked = useAsked();
  const cell = useMemo(() => ({ pages: signal<T[][]>([]), next: signal<string | undefined>(undefined) }), []);
  const it = useRef<Asker | undefined>(undefined);
  const page = async (after: string | undefined, signal: AbortSignal) =>
    take(await call<R>(verb, { ...params, limit, ...(after ? { after } : {}) }, { signal }));
  const reading = useRef(page);
  reading.current = page;
  useEffect(() => {
    cell.pages.value = [];
    cell.next.value = undefined;
    // All pages that are shown are read again, and put in place together.
    it.current = asker(asked, async (signal) => {
      const pages: T[][] = [];
      let next: string | undefined;
      do {
        const answer = await reading.current(next, signal);
        pages.push(answer.items);
        next = answer.next;
      } while (next && pages.length < cell.pages.value.length);
      return () => {
        cell.pages.value = pages;
        cell.next.value = next;
      };
    }, ms, () => cell.pages.value.reduce((n, p) => n + p.length, 0) <= liveRows);
    return it.current.stop;
  }, [verb, format(params), ms, limit]); // format: 9007199254740993 is not 9007199254740992
  const load = () => {
    const after = cell.next.value;
    if (!after) return;
    void it.current?.run(async (signal) => {
      const answer = await reading.current(after, signal);
      return () => {
        cell.pages.value = [...cell.pages.value, answer.items];
        cell.next.value = answer.next;
      };
    });
  };
  const rows = useMemo(() => cell.pages.value.flat(), [cell.pages.value]);
  return {
    rows, more: cell.next.value !== undefined, busy: asked.busy.value, error: asked.error.value, at: asked.at.value,
    live: ms > 0 && rows.length <= liveRows, load, refresh: async () => it.current?.run(),
  };
}

// List is a table of pages: what is there, how to get more, and what went wrong.
export function List<T>({ label, columns, pages, rowKey, empty }: { label: string; columns: Column<T>[]; pages: Pages<T>; rowKey: (row: T) => string; empty?: ComponentChildren }) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!end.current) return;
    const watch = new IntersectionObserver((seen) => { if (seen.some((e) => e.isIntersecting) && pages.more && !pages.busy && !pages.error) pages.load(); }, { rootMargin: "600px" });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [pages.more, pages.busy, pages.error]);
  if (!pages.at && !pages.error) return <Waiting />;
  return (
    <>
      {pages.error && <ErrorNote error={pages.error} retry={() => void pages.refresh()} />}
      {pages.at > 0 && <Table label={label} columns={columns} rows={pages.rows} rowKey={rowKey} empty={empty} />}
      <div class="list-foot" ref={end}>
        {pages.rows.length > 0 && <span class="soft">{pages.rows.length === 1 && !pages.more ? t("table.row") : t("table.rows", { n: number(pages.rows.length) + (pages.more ? "+" : "") })}</span>}
        {pages.more && <Button busy={pages.busy} onClick={pages.load}>{t("do.more")}</Button>}
      </div>
    </>
  );
}
