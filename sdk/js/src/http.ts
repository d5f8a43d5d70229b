// What the two transports over plain HTTP share: frames that wait for a request,
// requests that end the link when they fail, and the end of it all.

import { closed, refused, type Gone, type Wire } from "./transport.js";

export interface Http {
  /** Frames that wait to go up, as text. */
  queue: string[];
  /** True once the link has ended. */
  over(): boolean;
  end(): void;
  /** Ends the link and tells why, once. */
  fail(gone?: Gone): void;
  /** Rejects, after the link has ended, when the answer is no success. */
  request(url: URL, init?: RequestInit): Promise<Response>;
  /** Takes some frames off the queue: 100 at most, and far from 64 KiB whatever their bytes are. */
  batch(): string;
}

export function http(wire: Wire): Http {
  const abort = new AbortController();
  const { signal } = abort;
  const queue: string[] = [];
  const fail = (gone = closed()) => {
    if (signal.aborted) return;
    abort.abort();
    wire.gone(gone);
  };
  return {
    queue,
    fail,
    over: () => signal.aborted,
    end: () => abort.abort(),
    async request(url, init) {
      const response = await wire.fetch(url, { credentials: "include", signal, ...init });
      // 409: a poll that was overtaken by two others; it says nothing any more.
      if (response.ok || response.status === 409) return response;
      fail(await refused(response));
      throw response;
    },
    batch() {
      let n = 1;
      for (let size = queue[0]!.length; n < Math.min(queue.length, 99); n++) {
        if ((size += queue[n]!.length) > 16_000) break;
      }
      return queue.splice(0, n).join();
    },
  };
}
