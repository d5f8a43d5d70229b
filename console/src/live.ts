// Values that are asked for again and again while somebody looks at them.

import { effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
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
function onReturn(wanted: () => boolean, run: () => void): () => void {
  let was = link.peek();
  return effect(() => {
    const now = link.value;
    if (was === "lost" && now === "live" && wanted()) setTimeout(run);
    was = now;
  });
}

// Asked is what the asking of something leaves: whether it runs, how it failed, and when
// an answer came last (0: never).
export interface Asked {
  busy: Signal<boolean>;
  error: Signal<Problem | undefined>;
  at: Signal<number>;
}

export function useAsked(): Asked {
  return useMemo(() => ({ busy: signal(false), error: signal<Problem | undefined>(undefined), at: signal(0) }), []);
}

// Ask asks for something, and gives what puts the answer in its place; that is left out when
// something else has been asked meanwhile.
export type Ask = (signal: AbortSignal) => Promise<() => void>;

export interface Asker {
  // run asks now; what was under way is forgotten. Without what it is the usual question. It
  // notes that what is there is new, unless fresh is false.
  run: (what?: Ask, fresh?: boolean) => Promise<void>;
  stop: () => void;
}

// asker asks at once, and then every ms (0: only when run is called) while calm says so. A
// page that nobody sees asks for nothing, and asks at once when it is seen again. After an
// error it goes on asking, a little slower each time up to 10 s.
export function asker(cell: Asked, usual: Ask, ms: number, calm: () => boolean = () => true): Asker {
  let timer = 0;
  let failures = 0;
  let running: AbortController | undefined;
  let over = false;
  let began = 0;
  cell.error.value = undefined;
  cell.at.value = 0;
  const run = async (what = usual, fresh = true) => {
    clearTimeout(timer);
    running?.abort();
    const mine = (running = new AbortController());
    began = Date.now();
    cell.busy.value = true;
    try {
      const put = await what(mine.signal);
      if (over || mine.signal.aborted) return;
      put();
      cell.error.value = undefined;
      if (fresh) cell.at.value = Date.now();
      failures = 0;
    } catch (e) {
      if (over || mine.signal.aborted) return;
      cell.error.value = e instanceof Problem ? e : new Problem("internal", String(e));
      failures++;
    }
    cell.busy.value = false;
    // What the server refuses stays refused; what did not arrive is tried again in any case.
    const lost = cell.error.value?.code === "offline" || cell.error.value?.code === "unavailable";
    const wait = failures > 0 ? (lost || ms > 0 ? Math.min(10_000, Math.max(ms, 1000) * 1.5 ** failures) : 0) : calm() ? ms : 0;
    if (wait > 0 && !document.hidden) timer = window.setTimeout(() => void run(), wait);
  };
  const seen = () => {
    clearTimeout(timer);
    if (!document.hidden && (ms > 0 || cell.error.value)) void run();
  };
  const back = onReturn(() => failures > 0 || (cell.busy.peek() && Date.now() - began > 2000), () => { if (!over && !document.hidden) void run(); });
  document.addEventListener("visibilitychange", seen);
  addEventListener("online", seen);
  void run();
  const stop = () => {
    over = true;
    back();
    clearTimeout(timer);
    running?.abort();
    document.removeEventListener("visibilitychange", seen);
    removeEventListener("online", seen);
  };
  return { run, stop };
}

// useLive asks every ms, as asker says, and anew when deps change: then what was there is
// forgotten, since it is an answer to something else.
export function useLive<T>(ask: (signal: AbortSignal) => Promise<T>, ms: number, deps: unknown[] = []): Live<T> {
  const asked = useAsked();
  const data = useMemo(() => signal<T | undefined>(undefined), []);
  const latest = useRef(ask);
  latest.current = ask;
  const it = useRef<Asker | undefined>(undefined);
  useEffect(() => {
    data.value = undefined;
    it.current = asker(asked, async (signal) => {
      const value = await latest.current(signal);
      return () => { data.value = value; };
    }, ms);
    return it.current.stop;
  }, deps);
  return useMemo(() => ({ ...asked, data, refresh: async () => it.current?.run() }), []);
}
