// What a channel keeps, numbered and the newest first: the newest are asked for again and
// again, older ones come page by page.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import type { Json } from "../../json.ts";
import type { Pages } from "../../ui/table.tsx";

export interface Message {
  id: string;
  seq: number;
  event?: string;
  data?: Json;
  from?: { user?: string; device?: string; connection?: string };
  reply?: number;
  mentions?: string[];
  edited?: boolean;
  recalled?: boolean;
  time: number;
}

export interface Page {
  messages: Message[]; // the oldest first
  more: boolean;
  epoch: string;
  seq: number;
}

// Slice is a part of what is kept, the newest first.
export interface Slice<T> {
  rows: T[];
  more: boolean; // there are older ones
  epoch: string;
}

type Read<T> = (params: { before?: number; limit: number }, signal: AbortSignal) => Promise<Slice<T>>;

export const newest = 100;
const older = 500;
const every = 2000;
const gaps = 4; // pages that are read to close a gap

// joined puts the newest part before what is there already, when they belong together.
async function joined<T>(was: Slice<T> | undefined, part: Slice<T>, n: (row: T) => number, before: (n: number) => Promise<Slice<T>>): Promise<Slice<T>> {
  if (!was || was.epoch !== part.epoch || !part.more || part.rows.length === 0) return part;
  const rows = part.rows.slice();
  const top = was.rows[0] === undefined ? 0 : n(was.rows[0]);
  const lowest = () => n(rows[rows.length - 1]!);
  let more = true;
  for (let i = 0; i < gaps && more && lowest() > top + 1; i++) {
    const gap = await before(lowest());
    rows.push(...gap.rows);
    more = gap.more && gap.rows.length > 0;
  }
  const low = lowest();
  if (low > top + 1) return { rows, more, epoch: part.epoch };
  return { rows: [...rows, ...was.rows.filter((row) => n(row) < low)], more: was.more, epoch: part.epoch };
}

// useTail reads what is numbered by n; with at only up to that number, and once.
export function useTail<T>(read: Read<T>, n: (row: T) => number, at: number | undefined, deps: unknown[]): Pages<T> {
  const cell = useMemo(() => ({ log: signal<Slice<T> | undefined>(undefined), busy: signal(false), error: signal<Problem | undefined>(undefined), at: signal(0) }), []);
  const doing = useRef<{ load: () => void; refresh: () => Promise<void> }>({ load: () => {}, refresh: async () => {} });
  const live = at === undefined;
  useEffect(() => {
    let over = false, timer = 0, failures = 0;
    let running: AbortController | undefined;
    cell.log.value = undefined;
    cell.error.value = undefined;
    cell.at.value = 0;
    const guarded = async (what: (signal: AbortSignal) => Promise<Slice<T> | undefined>) => {
      clearTimeout(timer);
      running?.abort();
      const mine = (running = new AbortController());
      cell.busy.value = true;
      try {
        const log = await what(mine.signal);
        if (over || mine.signal.aborted) return;
        if (log) cell.log.value = log;
        cell.error.value = undefined;
        failures = 0;
      } catch (e) {
        if (over || mine.signal.aborted) return;
        cell.error.value = e instanceof Problem ? e : new Problem("internal", String(e));
        failures++;
      }
      cell.busy.value = false;
      const lost = cell.error.value?.code === "offline" || cell.error.value?.code === "unavailable";
      const wait = failures > 0 ? (lost || live ? Math.min(10_000, every * 1.5 ** failures) : 0) : live ? every : 0;
      if (wait > 0 && !document.hidden) timer = window.setTimeout(() => void refresh(), wait);
    };
    const refresh = () => guarded(async (signal) => {
      const part = await read({ limit: newest, ...(at === undefined ? {} : { before: at + 1 }) }, signal);
      const log = await joined(cell.log.value, part, n, (before) => read({ before, limit: older }, signal));
      if (!over && !signal.aborted) cell.at.value = Date.now();
      return log;
    });
    const load = () => {
      const was = cell.log.value;
      const last = was?.rows.at(-1);
      if (!was?.more || last === undefined) return;
      void guarded(async (signal) => {
        const part = await read({ before: n(last), limit: older }, signal);
        if (part.epoch !== was.epoch) return undefined; // the next look begins anew
        return { ...was, rows: [...was.rows, ...part.rows], more: part.more && part.rows.length > 0 };
      });
    };
    const seen = () => {
      clearTimeout(timer);
      if (!document.hidden && (live || cell.error.value)) void refresh();
    };
    doing.current = { load, refresh };
    document.addEventListener("visibilitychange", seen);
    addEventListener("online", seen);
    void refresh();
    return () => {
      over = true;
      clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("online", seen);
    };
  }, [...deps, at]);
  return {
    rows: cell.log.value?.rows ?? [], more: cell.log.value?.more ?? false, busy: cell.busy.value, error: cell.error.value, at: cell.at.value,
    live, load: () => doing.current.load(), refresh: () => doing.current.refresh(),
  };
}

// useLog reads the messages of a log channel.
export function useLog(channel: string, at: number | undefined): Pages<Message> {
  return useTail<Message>(async (params, signal) => {
    const a = await call<Page>("history", { channel, ...params }, { signal });
    return { rows: a.messages.slice().reverse(), more: a.more, epoch: a.epoch };
  }, (m) => m.seq, at, [channel]);
}
