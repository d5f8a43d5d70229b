// What channels, documents and presence have in common: they are subscribed as
// long as somebody listens to them or holds them open.

import type { Channel, ChannelEvents } from "./channel.js";
import { Emitter } from "./emitter.js";
import { SkeinError } from "./error.js";
import type { Skein } from "./skein.js";

export abstract class Handle<E extends { error: SkeinError }> extends Emitter<E> {
  /** @internal */
  readonly _skein: Skein;
  readonly name: string;
  /**
   * What open waits for has come.
   * @internal
   */
  _ready = false;
  /** @internal */
  readonly _uses = new Set<object>();
  #held: (() => void) | undefined;
  #waiting: [(handle: this) => void, (error: SkeinError) => void][] = [];
  #started = false;
  #offs: (() => void)[] = [];

  /** @internal */
  constructor(skein: Skein, name: string) {
    super();
    this._skein = skein;
    this.name = name;
  }

  /** Listens, and keeps it subscribed for so long; to listen for `error` does not. */
  override on<K extends keyof E>(event: K, listener: (value: E[K]) => void): () => void {
    const off = super.on(event, listener);
    if (event === "error") return off;
    const release = this._use();
    return () => {
      off();
      release();
    };
  }

  /** Keeps it subscribed until `close`; resolves when it is, rejects when it may not be. */
  open(): Promise<this> {
    this.#held ??= this._use();
    this._start(); // the server may have ended what is held
    return new Promise((resolve, reject) => {
      if (this._skein.state === "closed") reject(this._skein.error);
      else if (this._ready) resolve(this);
      else this.#waiting.push([resolve, reject]);
    });
  }

  /** Ends it for everyone who has it: all listeners are gone. It may be opened again. */
  close(): void {
    this._silence();
    this._uses.clear();
    this.#held = undefined;
    this.#leave();
    this._fail(new SkeinError("closed", `${this.name} was closed`), true);
  }

  /** @internal */
  _use(): () => void {
    const use = {};
    this._uses.add(use);
    this.#started = true;
    this._start();
    // Who leaves and comes back at once, as React's components do, is not told to the server.
    return () => void (this._uses.delete(use) && queueMicrotask(() => this.#leave()));
  }

  #leave(): void {
    if (this._uses.size || !this.#started) return;
    this.#started = this._ready = false;
    this._stop();
  }

  /** @internal */
  _opened(): void {
    this._ready = true;
    for (const [resolve] of this.#waiting.splice(0)) resolve(this);
  }

  /** @internal */
  _fail(error: SkeinError, quiet?: boolean): void {
    const waiting = this.#waiting.splice(0);
    for (const [, reject] of waiting) reject(error);
    if (waiting.length) {
      this.#held?.();
      this.#held = undefined;
    } else if (!quiet && !this._emit("error", error as any)) this._skein._emit("error", error);
  }

  /**
   * Listens to the channel that it stands on, until `_unfollow`.
   * @internal
   */
  _follow(channel: Channel, listeners: { [K in keyof ChannelEvents]?: (value: ChannelEvents[K]) => void }): void {
    const all = {
      error: (error: SkeinError) => this._fail(error),
      closed: (error?: SkeinError) => error && this._fail(error, true),
      ...listeners,
    };
    for (const [event, listener] of Object.entries(all)) this.#offs.push(channel.on(event as keyof ChannelEvents, listener as () => void));
  }

  /** @internal */
  _unfollow(): void {
    for (const off of this.#offs.splice(0)) off();
  }

  /**
   * Begins, unless it has.
   * @internal
   */
  abstract _start(): void;
  /** @internal */
  abstract _stop(): void;
}
