// What a client may be told when it is made.

/** A way to the server. */
export type Transport = "websocket" | "sse" | "poll";

/** Options of `connect`; all may be absent. */
export interface Options {
  /**
   * The token, or a function that gives it. The function is called before each
   * attempt to connect and when the token is about to expire; when it fails, the
   * client tries again later. Absent, or nothing: anonymous.
   */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  /** A stable id of the machine. */
  device?: string;
  /** Development mode alone: be this user without a token. */
  user?: string;
  /** Development mode alone: the user's roles, for the rules of documents. */
  role?: string;
  /** For the application that decides who comes in. It is not sent over server-sent events. */
  data?: unknown;
  /** The ways to try, best first. Default: all. */
  transports?: Transport[];
  /** A WebSocket class, where the runtime has none. */
  WebSocket?: new (url: string) => any;
  /** Instead of the runtime's `fetch`. */
  fetch?: typeof fetch;
  /** Milliseconds to wait for a welcome. Default 15,000. */
  timeout?: number;
  /**
   * Another JSON reader, for numbers that a JavaScript number cannot hold. It
   * must give plain numbers for integers below 2^53 and primitives for the
   * others, such as `bigint`.
   */
  parse?: (text: string) => any;
  /** The writer that belongs to `parse`. */
  stringify?: (value: any) => string;
}
