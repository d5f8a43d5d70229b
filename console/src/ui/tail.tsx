// What passes at this moment: the frames of a connection, a user or a channel, the newest
// first. Nothing is followed before somebody looks, and nothing after.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, trace } from "../api.ts";
import { clock, dateTime, number } from "../format.ts";
import { format, type Json } from "../json.ts";
import { t, type Word } from "../words.ts";
import { Dialog } from "./dialog.tsx";
import { JsonLine, JsonView } from "./json.tsx";
import { Badge, Button, Copy, Empty, ErrorNote, Facts } from "./parts.tsx";
import { Table, type Column } from "./table.tsx";

interface Line {
  time: number;
  event?: string;
  direction?: "in" | "out";
  connection?: string;
  user?: string;
  device?: string;
  transport?: string;
  frame?: Json;
  text?: string;
  dropped?: number;
  reason?: string;
  code?: number;
  message?: string;
}

interface Row extends Line {
  n: number;
  raw: string; // the line as it came
  lost?: boolean; // not the server's line: it did not answer for a while
}

type State = "waiting" | "live" | "lost" | "ended" | "refused";

export const mostLines = 1000;
const mostText = 8 << 20; // characters of all lines
const silence = 40_000; // the server says something each 15 s

interface Following {
  rows: Row[]; // the oldest first
  went: number; // lines that are not kept any more
  dropped: number; // lines that the server could not send
  state: State;
  error: Problem | undefined;
  clear: () => void;
  again: () => void;
}

// useFrames follows frames, and goes on by itself when the server was away.
function useFrames(query: Record<string, string>): Following {
  const kept = useRef({ rows: [] as Row[], text: 0, went: 0, dropped: 0, n: 0, state: "waiting" as State, error: undefined as Problem | undefined });
  const [, draw] = useState(0);
  const restart = useRef<() => void>(() => {});
  const key = JSON.stringify(query);
  useEffect(() => {
    const it = kept.current;
    let over = false, stop = () => {}, retry = 0, drawing = 0, failures = 0, heard = Date.now(), last = "";
    Object.assign(it, { rows: [], text: 0, went: 0, dropped: 0 });
    const show = () => { drawing ||= window.setTimeout(() => { drawing = 0; draw((n) => n + 1); }, 100); };
    const add = (line: Line, lost = false) => {
      const raw = format(line);
      it.rows.push({ ...line, n: ++it.n, raw, ...(lost ? { lost } : {}) });
      it.text += raw.length;
      let old = 0;
      while (it.rows.length - old > mostLines || (it.text > mostText && it.rows.length - old > 1)) it.text -= it.rows[old++]!.raw.length;
      if (old > 0) it.rows = it.rows.slice(old);
      it.went += old;
      show();
    };
    const take = (line: Line) => {
      heard = Date.now();
      failures = 0;
      it.state = "live";
      it.error = undefined;
      last = line.event ?? "";
      it.dropped += line.dropped ?? 0;
      if (last !== "heartbeat") add(line);
      show();
    };
    const ended = (error?: Problem) => {
      if (over) return;
      it.error = error;
      if (query.connection && last === "closed") it.state = "ended";
      else if (error && !["offline", "unavailable", "internal"].includes(error.code)) it.state = "refused";
      else {
        if (it.state === "live") add({ time: Date.now() }, true);
        it.state = "lost";
        it.error = undefined;
        retry = window.setTimeout(begin, Math.min(10_000, 700 * 1.5 ** failures++));
      }
      show();
    };
    const begin = () => {
      clearTimeout(retry);
      stop();
      heard = Date.now();
      stop = trace<Line>(query, take, ended);
    };
    const watch = setInterval(() => {
      if (it.state !== "live" || Date.now() - heard < silence) return;
      stop();
      ended(new Problem("offline", ""));
    }, 5000);
    restart.current = () => { it.state = "waiting"; it.error = undefined; begin(); show(); };
    restart.current();
    return () => {
      over = true;
      stop();
      clearTimeout(retry);
      clearTimeout(drawing);
      clearInterval(watch);
    };
  }, [key]);
  const it = kept.current;
  const clear = () => {
    Object.assign(it, { rows: [], text: 0, went: 0, dropped: 0 });
    draw((n) => n + 1);
  };
  return { ...it, clear, again: () => restart.current() };
}

const tones = { waiting: "soft", live: "good", lost: "bad", ended: "soft", refused: "bad" } as const;

function save(name: string, rows: Row[]): void {
  const address = URL.createObjectURL(new Blob(rows.filter((r) => !r.lost).map((r) => r.raw + "\n"), { type: "application/x-ndjson" }));
  const a = document.createElement("a");
  a.href = address;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// said is what a line says that is no frame.
function said(row: Row): string {
  if (row.lost) return t("tail.gap");
  if (row.dropped) return t("tail.missing", { n: number(row.dropped) });
  const word = `tail.event.${row.event}` as Word;
  const known = ["tracing", "connected", "closed", "bound", "unbound"].includes(row.event ?? "");
  const why = [row.reason && `${row.reason} (${row.code})`, row.message].filter(Boolean).join(", ");
  return `${known ? t(word) : row.event ?? ""}${row.user ? ` · ${row.user}` : ""}${row.device ? ` / ${row.device}` : ""}${row.transport ? ` · ${row.transport}` : ""}${why ? ` · ${why}` : ""}`;
}

function Direction({ row }: { row: Row }) {
  if (row.direction === "in") return <Badge tone="accent">{t("tail.in")}</Badge>;
  if (row.direction === "out") return <Badge tone="good">{t("tail.out")}</Badge>;
  return <Badge tone={row.lost || row.dropped ? "warn" : "soft"}>{t("tail.note")}</Badge>;
}

const time = (ms: number) => `${clock(ms)}.${String(ms % 1000).padStart(3, "0")}`;

function One({ row, onClose }: { row: Row; onClose: () => void }) {
  const facts: [string, ComponentChildren][] = [[t("word.time"), `${dateTime(row.time)} · ${time(row.time)}`]];
  if (row.connection) facts.push([t("word.connection"), <Copy text={row.connection} />]);
  if (row.user) facts.push([t("word.user"), row.user]);
  return (
    <Dialog title={t("tail.one")} onClose={onClose} wide>
      <Facts of={facts} />
      {row.frame !== undefined ? <JsonView value={row.frame} label={t("tail.frame")} /> : <pre class="code" tabIndex={0}>{row.text ?? said(row)}</pre>}
    </Dialog>
  );
}

// Tail shows the frames of what query names: {connection}, {user} or {channel}.
export function Tail({ query, name }: { query: Record<string, string>; name: string }) {
  const it = useFrames(query);
  const [filter, setFilter] = useState("");
  const [frozen, setFrozen] = useState<Row[] | undefined>(undefined);
  const [open, setOpen] = useState<Row | undefined>(undefined);
  const all = frozen ?? it.rows;
  const sought = filter.trim().toLowerCase();
  const rows = all.filter((r) => !sought || r.raw.toLowerCase().includes(sought)).reverse();
  const later = frozen ? it.rows.filter((r) => r.n > (frozen.at(-1)?.n ?? 0)).length : 0;
  const columns: Column<Row>[] = [
    { name: t("word.time"), cell: (r) => <time dateTime={new Date(r.time).toISOString()}>{time(r.time)}</time> },
    { name: t("tail.direction"), cell: (r) => <Direction row={r} /> },
    { name: t("word.user"), wide: true, cell: (r) => r.user ?? "" },
    { name: t("tail.frame"), grow: true, cell: (r) => (r.frame !== undefined ? <JsonLine value={r.frame} /> : r.text !== undefined ? <code class="line">{r.text.slice(0, 400)}</code> : <span class="soft">{said(r)}</span>) },
    { name: "", cell: (r) => <Button kind="quiet" onClick={() => setOpen(r)}>{t("do.show")}</Button> },
  ];
  return (
    <section class="tail" aria-label={t("tail.title")}>
      <div class="filters">
        <input type="search" class="search" aria-label={t("tail.filter")} placeholder={t("tail.filter")} value={filter} spellcheck={false} autocomplete="off" onInput={(e) => setFilter(e.currentTarget.value)} />
        <Badge tone={frozen && it.state === "live" ? "warn" : tones[it.state]}>{frozen && it.state === "live" ? t("tail.paused", { n: number(later) }) : t(`tail.state.${it.state}`)}</Badge>
        <Button onClick={() => setFrozen(frozen ? undefined : it.rows.slice())} aria-pressed={frozen !== undefined}>{frozen ? t("do.resume") : t("do.pause")}</Button>
        <Button onClick={() => { it.clear(); if (frozen) setFrozen([]); }}>{t("do.clear")}</Button>
        <Button disabled={rows.length === 0} onClick={() => save(`${name}.ndjson`, rows.slice().reverse())}>{t("tail.export")}</Button>
      </div>
      <ErrorNote error={it.error} retry={it.again} />
      {it.dropped > 0 && <div class="note warn" role="status">{t("tail.dropped", { n: number(it.dropped) })}</div>}
      {it.went > 0 && <p class="soft small" role="status">{t("tail.went", { most: number(mostLines), n: number(it.went) })}</p>}
      <div class="card flush">
        {rows.length > 0 ? <Table label={t("tail.title")} columns={columns} rows={rows} rowKey={(r) => String(r.n)} /> : <Empty>{sought && all.length > 0 ? t("tail.nomatch") : t("tail.nothing")}</Empty>}
      </div>
      {open && <One row={open} onClose={() => setOpen(undefined)} />}
    </section>
  );
}
