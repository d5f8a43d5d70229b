// What the three transports have in common. A transport opens one link, gives
// its frames in order, and says once that it is gone; it never comes back by itself.

import { SkeinError } from "./error.js";
import type { Frame } from "./frames.js";
import type { Options } from "./options.js";

/** Why a link ended. */
export interface Gone {
  error: SkeinError;
  /** It must not be tried again. */
  final?: boolean;
  /** Milliseconds to wait before the next attempt; absent: as the back-off says. */
  after?: number;
}

/** What a transport is given. */
export interface Wire {
  base: URL;
  options: Options;
  token(): string | undefined;
  parse(text: string): any;
  stringify(value: unknown): string;
  fetch: typeof fetch;
  WebSocket: (new (url: string) => any) | undefined;
  frame(frame: Frame): void;
  /** Called at most once; not after `end`. */
  gone(gone: Gone): void;
}

/** One connection to the server. */
export interface Link {
  /** Sends a frame, as text; only after the welcome. */
  send(text: string): void;
  /** Ends it; nothing is told any more. */
  end(): void;
  /** Milliseconds of silence that are nothing special, if more than a heartbeat. */
  idle?: number;
}

/** The address of a door; `dev` adds who one is in development mode. */
export function address({ base, options: { user, role, device } }: Wire, path: string, named?: boolean): URL {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries({ user, role, device: (user || named) && device })) {
    if (value) url.searchParams.set(name, value);
  }
  return url;
}

/** The first frame, where one is needed: in development mode the address says it all. */
export function hello({ options: { user, device, data }, token }: Wire): Frame | undefined {
  return user ? undefined : { type: "connect", token: token(), device, data };
}

const words: Record<number, string> = { 1009: "too_large", 4002: "token_refused", 4004: "disconnected" };

/** What a close code tells when no `bye` came before it. */
export function closed(code = 0): Gone {
  return {
    error: new SkeinError(words[code] ?? "unavailable", `the connection was lost (${code})`),
    final: code === 4002 || code === 4004,
  };
}

/** What an answer over HTTP tells that is no success. */
export async function refused(response: Response): Promise<Gone> {
  const { status, headers } = response;
  if (status === 413) return closed(1009);
  const wait = Number(headers.get("Retry-After"));
  // Without a problem something on the way answered, not the server: then it may be another thing next time.
  const { code, detail }: { code?: string; detail?: string } = await response.json().catch(() => ({}));
  const final = (status === 401 || status === 403) && code !== undefined;
  return {
    error: new SkeinError(!final ? "unavailable" : status === 401 ? "token_refused" : code!, detail ?? `HTTP ${status}`),
    final,
    after: wait * 1000 * (1 + Math.random()) || undefined,
  };
}
