// Keeps one link to the server alive: opens it, watches it, comes back with
// growing pauses, and falls back to other transports. It knows nothing of channels.

import { SkeinError } from "./error.js";
import type { Frame, Welcome } from "./frames.js";
import type { Options, Transport } from "./options.js";
import { poll } from "./poll.js";
import { sse } from "./sse.js";
import { closed, type Gone, type Link, type Wire } from "./transport.js";
import { websocket } from "./websocket.js";

const open = { websocket, sse, poll };

/** Who is told what happens to the connection. */
export interface Owner {
  up(welcome: Welcome, transport: Transport): void;
  frame(frame: Frame): void;
  /** The link is gone; `delay` until the next attempt, undefined when there will be none. */
  down(error: SkeinError, delay?: number): void;
  /** An attempt begins. */
  trying(): void;
}

/** How long a link may have lived, in ms, before its end starts the back-off from the beginning. */
const settled = 10_000;
/** How long the server may take, in ms, for a sign of life that was asked for. */
const patience = 10_000;

export class Connection {
  /** The last token that was given: requests over HTTP carry it. */
  token: string | undefined;
  readonly #wire: Omit<Wire, "frame" | "gone">;
  readonly #owner: Owner;
  readonly #ways: Transport[];
  readonly #wakers = new AbortController();
  #link: Link | undefined;
  #candidate: (() => void) | undefined; // ends a link that has no welcome yet
  #retry: ReturnType<typeof setTimeout> | undefined; // undefined: it does not wait
  #pulse: ReturnType<typeof setTimeout> | undefined;
  #upgrade: ReturnType<typeof setTimeout> | undefined;
  #turn = 0; // attempts; one that ends late is known by it
  #attempt = 0;
  #way = 0;
  #misses = 0;
  #since = 0;
  #heard = 0;
  #idle = 0;
  #over = false;

  constructor(base: URL, options: Options, owner: Owner) {
    this.#owner = owner;
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.#ways = (options.transports ?? ["websocket", "sse", "poll"]).filter((way) => way !== "websocket" || WebSocket);
    if (!this.#ways.length) throw new TypeError("transports: none works here");
    this.#wire = {
      base,
      options,
      WebSocket,
      token: () => this.token,
      parse: options.parse ?? JSON.parse,
      stringify: options.stringify ?? JSON.stringify,
      fetch: options.fetch ?? ((input, init) => fetch(input, init)), // a method of its own would lose its `this`
    };
    this.#listen();
    // Whoever makes a connection has to be able to listen before it does anything.
    queueMicrotask(() => this.#connect());
  }

  /** Sends a frame, only while the connection is up; tells how long its text is. */
  send(frame: Frame): number {
    const text = this.#wire.stringify(frame);
    this.#link?.send(text);
    return text.length;
  }

  close(error: SkeinError): void {
    if (this.#over) return;
    this.#over = true;
    this.#turn++;
    this.#wakers.abort();
    this.#candidate?.();
    this.#drop();
    clearTimeout(this.#retry);
    this.#owner.down(error);
  }

  /** Asks the token function anew. */
  async fresh(): Promise<string | undefined> {
    const { token } = this.#wire.options;
    try {
      return (this.token = (typeof token === "function" ? await token() : token) || undefined);
    } catch (error) {
      throw new SkeinError("unauthorized", `token: ${error}`);
    }
  }

  // A page that comes back to life, or to a network, does not wait for timers.
  #listen(): void {
    const scope: any = globalThis;
    const wake = () => {
      if (scope.document?.visibilityState === "hidden") return;
      if (this.#retry) this.#connect();
      else if (this.#link) this.#ask();
    };
    // The controller has the signal that ends them.
    scope.addEventListener?.("online", wake, this.#wakers);
    scope.document?.addEventListener?.("visibilitychange", wake, this.#wakers);
  }

  async #connect(): Promise<void> {
    if (this.#over) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const turn = ++this.#turn;
    this.#owner.trying();
    try {
      await this.fresh();
    } catch (error) {
      if (turn === this.#turn) this.#again({ error: error as SkeinError });
      return;
    }
    if (turn !== this.#turn) return;
    const way = this.#ways[this.#way]!;
    this.#open(way, (gone, heard) => {
      if (!heard && ++this.#misses >= (way === "websocket" ? 2 : 1)) this.#turnTo(this.#way + 1);
      this.#again(gone);
    });
  }

  #turnTo(way: number): void {
    this.#way = way % this.#ways.length;
    this.#misses = 0;
  }

  /** Opens a link beside the one that there is, if any, and takes its place when it is welcomed. */
  #open(way: Transport, failed: (gone: Gone, heard: boolean) => void): void {
    let heard = false;
    let link: Link | undefined;
    const end = (gone: Gone) => {
      if (link && link === this.#link) return this.#lost(gone);
      stop();
      failed(gone, heard);
    };
    const stop = () => {
      clearTimeout(guard);
      this.#candidate = undefined;
      link?.end();
    };
    const guard = setTimeout(() => end(closed()), this.#wire.options.timeout ?? 15_000);
    this.#candidate?.();
    this.#candidate = stop;
    const frame = (frame: Frame) => {
      heard = true;
      this.#heard = performance.now();
      if (frame.type === "bye") {
        return end({ error: new SkeinError(frame.code, frame.message), final: frame.reconnect === false, after: frame.after });
      }
      if (frame.type === "welcome") {
        clearTimeout(guard);
        this.#candidate = undefined;
        this.#adopt(link!, frame as unknown as Welcome, way);
      } else if (link === this.#link) this.#owner.frame(frame);
      // What else comes before a welcome is an error that the bye repeats.
    };
    try {
      link = open[way]({ ...this.#wire, frame, gone: end });
    } catch (error) {
      // A page over TLS must not open a plain WebSocket, for example.
      end({ error: new SkeinError("unavailable", String(error)) });
    }
  }

  #adopt(link: Link, welcome: Welcome, way: Transport): void {
    if (this.#link) {
      this.#drop();
      this.#owner.down(closed().error, 0);
    }
    this.#link = link;
    this.#since = this.#heard;
    this.#idle = Math.max(welcome.heartbeat * 1000, link.idle ?? 0);
    this.#turnTo(this.#ways.indexOf(way));
    this.#watch(this.#idle);
    if (way !== "websocket" && this.#ways.includes("websocket")) this.#probe(5_000);
    this.#owner.up(welcome, way);
  }

  /** Tries WebSocket again while a fallback carries on; where it is blocked, less and less often. */
  #probe(delay: number): void {
    this.#upgrade = setTimeout(() => {
      this.#open("websocket", () => this.#link && this.#probe(Math.min(2 * delay, 900_000)));
    }, delay);
  }

  #drop(): void {
    this.#link?.end();
    this.#link = undefined;
    clearTimeout(this.#pulse);
    clearTimeout(this.#upgrade);
  }

  #lost(gone: Gone): void {
    this.#drop();
    // A probe must not become the link on its own: the back-off decides.
    this.#candidate?.();
    if (performance.now() - this.#since > settled) this.#attempt = 0;
    this.#again(gone);
  }

  #again({ error, final, after }: Gone): void {
    if (final) return this.close(error);
    const delay = after ?? Math.random() * Math.min(30_000, 500 * 2 ** this.#attempt++);
    this.#retry = setTimeout(() => this.#connect(), delay);
    this.#owner.down(error, delay);
  }

  /** Looks after a while whether anything was heard; `asked` is when a ping was sent. */
  #watch(wait: number, asked?: number): void {
    clearTimeout(this.#pulse);
    const due = performance.now() + wait;
    this.#pulse = setTimeout(() => {
      const now = performance.now();
      const quiet = now - this.#heard;
      // A timer that is far too late belongs to a machine that slept: what came
      // meanwhile has not been read yet, so ask again.
      if (asked && this.#heard < asked && now - due < 2_000) this.#lost(closed());
      else if (quiet < this.#idle) this.#watch(this.#idle - quiet);
      else this.#ask();
    }, wait);
  }

  #ask(): void {
    const now = performance.now();
    this.send({ type: "ping" });
    this.#watch(Math.min(this.#idle, patience), now);
  }
}
