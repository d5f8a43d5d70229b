// Values that are asked for again and again while somebody looks at them.

import { effect, signal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { link, Problem } from "./api.ts";

export interface Live<T> {
  data: ReadonlySignal<T | undefined>; // what came last
  error: ReadonlySignal<Problem | undefined>; // of the last try
  at: ReadonlySignal<number>; // when data came; 0: never
  busy: ReadonlySignal<boolean>;
  refresh: () => Promise<void>;
}

// onReturn runs something when the server answers again after it did not, if that is wanted
// then: nobody waits for a request that hangs since, or for the next try.
export function onReturn(wanted: () => boolean, run: () => void): () => void {
  let was = link.peek();
  return effect(() => {
    const now = link.value;
    if (was === "lost" && now === "live" && wanted()) setTimeout(run);
    was = now;
  });
}

// useLive asks at once, then every ms (0: only when refresh is called), and anew when deps
// change: then what was there is forgotten, since it is an answer to something else. A page
// that nobody sees asks for nothing, and asks at once when it is seen again. After an error
// it goes on asking, a little slower each time up to 10 s.
export function useLive<T>(ask: (signal: AbortSignal) => Promise<T>, ms: number, deps: unknown[] = []): Live<T> {
  const cell = useMemo(() => ({
    data: signal<T | undefined>(undefined), error: signal<Problem | undefined>(undefined), at: signal(0), busy: signal(false),
  }), []);
  const latest = useRef(ask);
  latest.current = ask;
  const again = useRef<() => Promise<void>>(async () => {});
  useEffect(() => {
    let timer = 0;
    let failures = 0;
    let running: AbortController | undefined;
    let over = false;
    let began = 0;
    cell.data.value = undefined;
    cell.error.value = undefined;
    cell.at.value = 0;
    const run = async () => {
      clearTimeout(timer);
      running?.abort();
      const mine = (running = new AbortController());
      began = Date.now();
      cell.busy.value = true;
      try {
        const data = await latest.current(mine.signal);
        if (over || mine.signal.aborted) return;
        cell.data.value = data;
        cell.error.value = undefined;
        cell.at.value = Date.now();
        failures = 0;
      } catch (e) {
        if (over || mine.signal.aborted) return;
        cell.error.value = e instanceof Problem ? e : new Problem("internal", String(e));
        failures++;
      }
      cell.busy.value = false;
      // What the server refuses stays refused; what did not arrive is tried again in any case.
      const lost = cell.error.value?.code === "offline" || cell.error.value?.code === "unavailable";
      const wait = failures === 0 ? ms : lost || ms > 0 ? Math.min(10_000, Math.max(ms, 1000) * 1.5 ** failures) : 0;
      if (wait > 0 && !document.hidden) timer = window.setTimeout(run, wait);
    };
    const seen = () => {
      clearTimeout(timer);
      if (!document.hidden && (ms > 0 || cell.error.value)) void run();
    };
    const back = onReturn(() => failures > 0 || (cell.busy.peek() && Date.now() - began > 2000), () => { if (!over && !document.hidden) void run(); });
    document.addEventListener("visibilitychange", seen);
    addEventListener("online", seen);
    again.current = run;
    void run();
    return () => {
      over = true;
      back();
      clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("online", seen);
    };
  }, deps);
  return useMemo(() => ({ ...cell, refresh: () => again.current() }), []);
}
