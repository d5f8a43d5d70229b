// Clients of the tests: closed after their test, and watched for errors that nobody expected.

import type { TestContext } from "node:test";
import { WebSocket } from "ws";
import { connect, type Options, type Skein, type Transport } from "../../src/index.js";

export const transports: Transport[] = ["websocket", "sse", "poll"];

/** A connected client, by one transport where one is named. */
export async function client(t: TestContext, base: string, options: Options = {}): Promise<Skein> {
  const skein = lone(t, base, options);
  await skein.ready();
  return skein;
}

/** A client that need not be connected. */
export function lone(t: TestContext, base: string, options: Options = {}): Skein {
  const skein = connect(base, { WebSocket, ...options });
  t.after(() => skein.close());
  return skein;
}

/** Resolves with the next event that fits. */
export function once<T>(from: { on(event: any, listener: (value: T) => void): () => void }, event: string, fits: (value: T) => boolean = () => true): Promise<T> {
  return new Promise((resolve) => {
    const off = from.on(event, (value) => {
      if (!fits(value)) return;
      off();
      resolve(value);
    });
  });
}

/** Collects the events of a kind. */
export function collect<T = any>(from: { on(event: any, listener: (value: T) => void): () => void }, event: string) {
  const list: T[] = [];
  const watchers = new Set<() => void>();
  const off = from.on(event, (value) => {
    list.push(value);
    for (const watch of watchers) watch();
  });
  return {
    list,
    off,
    /** Waits until there are so many, or until they fit. */
    async until(wanted: number | ((list: T[]) => boolean)): Promise<T[]> {
      const done = typeof wanted === "number" ? () => list.length >= wanted : () => wanted(list);
      if (!done()) {
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(() => reject(new Error(`${event}: waited in vain; came: ${JSON.stringify(list).slice(0, 1000)}`)), 20_000);
          const watch = () => {
            if (!done()) return;
            clearTimeout(timer);
            watchers.delete(watch);
            resolve();
          };
          watchers.add(watch);
        });
      }
      return list;
    },
  };
}

/** Asks until it is so: for what nothing tells. */
export async function eventually(so: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await so()); ) {
    if (Date.now() > deadline) throw new Error(`it never came to be that ${what}`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}
