// What a channel keeps, numbered and the newest first: the newest are asked for again and
// again, older ones come page by page.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { call } from "../../api.ts";
import type { Json } from "../../json.ts";
import { asker, useAsked, type Asker } from "../../live.ts";
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
  const asked = useAsked();
  const log = useMemo(() => signal<Slice<T> | undefined>(undefined), []);
  const it = useRef<Asker | undefined>(undefined);
  const live = at === undefined;
  useEffect(() => {
    log.value = undefined;
    it.current = asker(asked, async (signal) => {
      const part = await read({ limit: newest, ...(at === undefined ? {} : { before: at + 1 }) }, signal);
      const whole = await joined(log.value, part, n, (before) => read({ before, limit: older }, signal));
      return () => { log.value = whole; };
    }, live ? every : 0);
    return it.current.stop;
  }, [...deps, at]);
  const load = () => {
    const was = log.value;
    const last = was?.rows.at(-1);
    if (!was?.more || last === undefined) return;
    void it.current?.run(async (signal) => {
      const part = await read({ before: n(last), limit: older }, signal);
      return () => {
        if (part.epoch !== was.epoch) return; // the next look begins anew
        log.value = { ...was, rows: [...was.rows, ...part.rows], more: part.more && part.rows.length > 0 };
      };
    }, false); // older ones do not make the newest newer
  };
  return {
    rows: log.value?.rows ?? [], more: log.value?.more ?? false, busy: asked.busy.value, error: asked.error.value, at: asked.at.value,
    live, load, refresh: async () => it.current?.run(),
  };
}

// useLog reads the messages of a log channel.
export function useLog(channel: string, at: number | undefined): Pages<Message> {
  return useTail<Message>(async (params, signal) => {
    const a = await call<Page>("history", { channel, ...params }, { signal });
    return { rows: a.messages.slice().reverse(), more: a.more, epoch: a.epoch };
  }, (m) => m.seq, at, [channel]);
}
