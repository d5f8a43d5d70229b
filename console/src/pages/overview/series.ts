// The last 15 minutes of the server, a point a second, kept in the page: each time only
// what is new is asked for.

import { useMemo, useRef } from "preact/hooks";
import { call } from "../../api.ts";
import { useLive, type Live } from "../../live.ts";

export interface Spread {
  p50: number; // seconds
  p99: number;
  count: number;
}

export interface Point {
  time: number; // Unix milliseconds
  connections: Record<string, number>;
  users: number;
  channels: number;
  messages_in: number; // counts are of this second
  messages_out: number;
  dropped: number;
  refused: number;
  paced: number;
  queued: number; // bytes
  bytes_in: number;
  bytes_out: number;
  delivery: Spread;
  commit: Spread;
  memory: number;
  goroutines: number;
  hooks_failed: number;
  pushes: number;
}

interface Answer {
  now: number;
  step: number;
  from: number;
  points: Point[];
}

export const span = 900; // seconds

// join puts new points behind those that are there. Points of a clock that was set back
// are no sequel: then only the new ones count.
export function join(had: Point[], fresh: Point[], now: number): Point[] {
  const last = had.at(-1)?.time ?? 0;
  const old = last > now + 5000 ? [] : had;
  const from = old.at(-1)?.time ?? 0;
  return [...old, ...fresh.filter((p) => p.time > from)].filter((p) => p.time > now - span * 1000);
}

export function useSeries(): Live<Point[]> {
  const kept = useRef<Point[]>([]);
  return useLive(async (signal) => {
    const after = kept.current.at(-1)?.time;
    let answer = await call<Answer>("stats.series", after ? { after } : {}, { signal });
    if (after && after > answer.now + 5000) answer = await call<Answer>("stats.series", {}, { signal });
    kept.current = join(kept.current, answer.points, answer.now);
    return kept.current;
  }, 2000);
}

export interface Table {
  times: number[];
  column: (pick: (p: Point) => number | undefined) => (number | null | undefined)[];
}

// useTable gives the points as columns. Seconds that were not measured are gaps.
export function useTable(points: Point[] | undefined): Table {
  return useMemo(() => {
    const times: number[] = [];
    const rows: (Point | null)[] = [];
    for (const p of points ?? []) {
      const last = times.at(-1);
      if (last !== undefined && p.time - last > 1900) {
        times.push(last + 1000);
        rows.push(null);
      }
      times.push(p.time);
      rows.push(p);
    }
    return { times, column: (pick) => rows.map((p) => (p === null ? null : pick(p))) };
  }, [points]);
}
