// The client: it routes frames, keeps what the application holds, and renews the token.

import { Channel, type ChannelOptions } from "./channel.js";
import { Connection } from "./connection.js";
import { Document } from "./document.js";
import { Emitter } from "./emitter.js";
import { SkeinError } from "./error.js";
import type { Events, Frame, Message, Subscribed, Welcome } from "./frames.js";
import { Inbox } from "./inbox.js";
import type { Options, Transport } from "./options.js";
import { Presence } from "./presence.js";
import { Requests, type Done } from "./requests.js";

export type State = "connecting" | "connected" | "waiting" | "closed";

/** A state, and why it came. */
export interface StateChange {
  state: State;
  /** Why the connection was lost, or no attempt is made any more. */
  error?: SkeinError;
  /** `waiting`: milliseconds until the next attempt. */
  delay?: number;
}

export interface SkeinEvents {
  state: StateChange;
  /** The server let this connection in; anew after each lost one. */
  welcome: Welcome;
  /** What no promise and no other listener was told. */
  error: SkeinError;
  /** A message to this connection, this user or everybody. */
  direct: Message;
  /** The server has subscribed this connection to a channel. */
  subscribed: Subscribed;
  unsubscribed: Subscribed;
  /** Each frame as it came. */
  frame: Frame;
}

/** Answers a call of the server; what it throws is the error that the server gets. */
export type Handler = (data: any) => unknown;

export class Skein extends Emitter<SkeinEvents> {
  state: State = "connecting";
  /** Why it is not connected. */
  error: SkeinError | undefined;
  /** Of the present or last connection. */
  welcome: Welcome | undefined;
  /** How the present connection goes; undefined while there is none. */
  transport: Transport | undefined;
  /**
   * The channels that are subscribed, or should be: they outlive whoever made them.
   * @internal
   */
  readonly _live = new Set<Channel>();
  /** @internal */
  readonly _options: Options;
  readonly #connection: Connection;
  readonly #requests: Requests;
  readonly #handles = new Map<string, WeakRef<object>>();
  readonly #forgotten = new FinalizationRegistry<string>((key) => this.#handles.get(key)?.deref() || this.#handles.delete(key));
  readonly #handlers = new Map<string, Handler>();
  #inbox: Inbox | undefined;
  #connections: string[] = [];
  #renew: ReturnType<typeof setTimeout> | undefined;
  #skew = 0; // of the clock here, in ms

  /** @internal */
  constructor(base: URL, options: Options) {
    super();
    this._options = options;
    this.#requests = new Requests((frame) => this.#connection.send(frame));
    this.#connection = new Connection(base, options, {
      trying: () => this._emit("state", this.#become({ state: "connecting" })),
      up: (welcome, transport) => this.#up(welcome, transport),
      down: (error, delay) => this.#down(error, delay),
      frame: (frame) => this.#take(frame),
    });
  }

  /** Who this is; undefined: nobody, or not known yet. */
  get user(): string | undefined {
    return this.welcome?.user;
  }

  /** The id of the present or last connection. */
  get connection(): string | undefined {
    return this.welcome?.connection;
  }

  /** Resolves once it is connected; rejects when it is closed. */
  ready(): Promise<Welcome> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this._up) resolve(this.welcome!);
        if (this.state === "closed") reject(this.error);
        if (this._up || this.state === "closed") off();
      };
      const off = this.on("state", look);
      look();
    });
  }

  /** Ends everything. It cannot be connected again. */
  close(): void {
    this.#connection.close(new SkeinError("closed", "the client was closed"));
  }

  /** The channel of this name: the same object as long as somebody has it. Options count for the first. */
  channel<E extends Events = Events>(name: string, options: ChannelOptions = {}): Channel<E> {
    return this.#handle(`c${name}`, () => new Channel<E>(this, name, options));
  }

  /** The document of this name: the same object as long as somebody has it. */
  document<T = any>(name: string): Document<T> {
    return this.#handle(`d${name}`, () => new Document<T>(this, name));
  }

  /** Who is in the channel of this name. */
  presence(name: string): Presence {
    return this.#handle(`p${name}`, () => new Presence(this, name));
  }

  /** The messages to this user that no device has acknowledged. */
  inbox(): Inbox {
    return (this.#inbox ??= new Inbox(this));
  }

  /** Calls a method of the application. It is rejected when the connection is lost before the answer. */
  async call<R = any>(method: string, data?: unknown): Promise<R> {
    return (await this.request({ type: "call", method, data: data ?? null })).data;
  }

  /** Answers calls of the server until the function that it returns is called. */
  handle(method: string, handler: Handler): () => void {
    this.#handlers.set(method, handler);
    return () => void (this.#handlers.get(method) === handler && this.#handlers.delete(method));
  }

  #handle<T extends object>(key: string, make: () => T): T {
    let handle = this.#handles.get(key)?.deref();
    if (!handle) {
      this.#handles.set(key, new WeakRef((handle = make())));
      this.#forgotten.register(handle, key);
    }
    return handle as T;
  }

  /** @internal */
  get _up(): boolean {
    return this.state === "connected";
  }

  /** @internal */
  _mine(connection?: string): boolean {
    return this.#connections.includes(connection!);
  }

  /** @internal */
  _ask(frame: Frame, done: Done, again = false): void {
    this.#requests.ask(frame, done, again);
  }

  /**
   * Sends a frame of the protocol, for what this client has no method for, and resolves with the answer.
   * `again`: it may be sent again when the server asks to wait, and with a `key` also after a lost connection.
   */
  request(frame: Frame, again?: boolean): Promise<Frame> {
    return new Promise((resolve, reject) => this._ask(frame, (error, ok) => (error ? reject(error) : resolve(ok)), again));
  }

  #become(change: StateChange): StateChange {
    this.state = change.state;
    this.error = change.error;
    return change;
  }

  #up(welcome: Welcome, transport: Transport): void {
    this.welcome = welcome;
    this.transport = transport;
    this.#connections = [welcome.connection, ...this.#connections].slice(0, 16);
    const change = this.#become({ state: "connected" });
    // Subscriptions first: what waits may need them.
    for (const channel of [...this._live]) channel._sub();
    // Who the server takes this for when it looks at a key.
    this.#requests.up(this.user === undefined ? `c${this.connection}` : `u${this.user}`);
    this.#skew = welcome.time - Date.now();
    this.#plan(welcome.expires);
    this._emit("welcome", welcome);
    this._emit("state", change);
  }

  #down(error: SkeinError, delay?: number): void {
    const over = delay === undefined;
    clearTimeout(this.#renew);
    this.transport = undefined;
    const change = this.#become({ state: over ? "closed" : "waiting", error, delay });
    this.#requests.down(error, over);
    if (over) for (const channel of [...this._live]) channel._over(error);
    this._emit("state", change);
  }

  #take(frame: Frame): void {
    this._emit("frame", frame);
    const { type, channel } = frame;
    if (type === "ok" || type === "error" || type === "pong") {
      if (this.#requests.answer(frame)) return;
      if (type === "error") this._emit("error", new SkeinError(frame.code, frame.message, frame.retry_after, channel));
    } else if (type === "call") this.#called(frame);
    else if (channel === "@direct") this._emit("direct", frame as any);
    else if (channel === "@inbox") this.inbox()._take(frame);
    else {
      if (type === "subscribed" || type === "unsubscribed") this._emit(type, frame as any);
      (this.#handles.get(`c${channel}`)?.deref() as Channel | undefined)?._take(frame);
    }
  }

  async #called({ id, method, data }: Frame): Promise<void> {
    const { connection } = this;
    const reply: Frame = { type: "reply", id };
    try {
      const handler = this.#handlers.get(method);
      if (!handler) throw new SkeinError("not_found", `method: ${method} is unknown`);
      reply.data = (await handler(data)) ?? null;
    } catch (e) {
      reply.error = { code: e instanceof SkeinError ? e.code : "internal", message: String((e as Error)?.message ?? e) };
    }
    // The id means something on the connection that it came by alone.
    if (this._up && connection === this.connection) this.#connection.send(reply);
  }

  /** Renews the token when four fifths of its life are over, at most a minute before the end. */
  #plan(expires: number | undefined): void {
    clearTimeout(this.#renew);
    if (!expires || typeof this._options.token !== "function") return;
    const left = expires - Date.now() - this.#skew;
    this.#renew = setTimeout(async () => {
      try {
        this.#plan((await this.request({ type: "refresh", token: await this.#connection.fresh() })).expires);
      } catch (error) {
        if (!this._up) return;
        this._emit("error", error as SkeinError);
        this.#plan(expires);
      }
    }, Math.min(Math.max(left - Math.min(60_000, left / 5), 1_000), 2 ** 31 - 1));
  }
}
