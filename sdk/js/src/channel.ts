// One channel: subscribed as long as somebody listens, and back at its place
// after each lost connection.

import { SkeinError } from "./error.js";
import type {
  Crowd, Dropped, Edit, Events, Frame, Gap, History, Kind, Mark, Message, Notice, Opened, Published, PublishOptions, Recall, Subscribed, Visit,
} from "./frames.js";
import { Handle } from "./handle.js";
import { iterate } from "./iterate.js";
import { key as random } from "./random.js";
import type { Skein } from "./skein.js";

export interface ChannelOptions {
  /** Log: begin after this message. `seq: 0` is the beginning and needs no epoch. */
  since?: { epoch?: string; seq: number };
  /** Log: begin with the newest so many messages. */
  last?: number;
  /** False: what this client publishes does not come back to it. */
  echo?: boolean;
}

/** What happens in a channel. */
export interface ChannelEvents<E extends Events = Events> {
  message: Message<E>;
  notice: Notice;
  gap: Gap;
  recall: Recall;
  edit: Edit<E>;
  /** In a conversation: somebody has got messages, or read them. */
  mark: Mark;
  dropped: Dropped;
  join: Visit;
  leave: Visit;
  presence: Crowd;
  /** Subscribed, also after a lost connection. */
  open: Opened;
  /** The server has ended the subscription; it is not made again until somebody listens anew. */
  unsubscribed: Subscribed;
  /** Nothing comes any more: it was closed, or the client was, with this error. */
  closed: SkeinError | undefined;
  /** The subscription was refused. It is asked for again on the next connection. */
  error: SkeinError;
  /** @internal */
  snapshot: Frame;
  /** @internal */
  patch: Frame;
}

/** @internal */
export interface Place {
  epoch?: string;
  seq?: number;
  version?: number;
}

export class Channel<E extends Events = Events> extends Handle<ChannelEvents<E>> {
  /** Undefined until it was subscribed to, or published to. */
  kind: Kind | undefined;
  /**
   * Where to go on.
   * @internal
   */
  _place: Place | undefined;
  readonly #options: ChannelOptions;
  #epoch: string | undefined;
  #asked = false; // on this connection
  #turn = 0; // subs; the answer to an older one says nothing any more
  #watchers = 0; // who wants join and leave
  #hidden = false; // they are not shown to this client

  /** @internal */
  constructor(skein: Skein, name: string, options: ChannelOptions) {
    super(skein, name);
    this.#options = options;
  }

  /**
   * Publishes. A lost connection does not matter: the repeat has the same key,
   * which is made where none is given, except on event channels, where nothing
   * is kept and a repeat would come late.
   */
  async publish<K extends keyof E & string>(event: K, data: E[K], options: PublishOptions = {}): Promise<Published> {
    const key = options.key ?? (this.kind === "event" ? undefined : random());
    const ok = await this._skein.request({ type: "pub", channel: this.name, event, data: data ?? null, ...options, key }, !!key);
    // The application's own answer says nothing of the channel.
    if (ok.message) this.kind ??= ok.stored ? "log" : "event";
    return ok as unknown as Published;
  }

  /** Tells all other subscribers something that is not kept. */
  async notice(event: string, data?: unknown): Promise<void> {
    await this._skein.request({ type: "notice", channel: this.name, event, data });
  }

  /** A page of a log channel: the newest before, or the oldest after a seq; without either the newest. */
  async history(page: { before?: number; after?: number; limit?: number } = {}): Promise<History<E>> {
    return (await this._skein.request({ type: "history", channel: this.name, ...page }, true)) as unknown as History<E>;
  }

  /**
   * The messages, for `for await`. At most `buffer` (1000) wait for their
   * reader. What is over that ends the iteration of a log channel with an error,
   * because nothing may be missing there; on an event channel the oldest are
   * dropped and told as `dropped`.
   */
  messages(options: { buffer?: number } = {}): AsyncIterableIterator<Message<E>> {
    return iterate(this, options.buffer ?? 1000);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Message<E>> {
    return this.messages();
  }

  override close(): void {
    this._emit("closed", undefined);
    super.close();
  }

  /** @internal */
  _over(error: SkeinError): void {
    this._emit("closed", error);
    this._fail(error, true);
  }

  /** @internal */
  _start(): void {
    this._skein._live.add(this as Channel<any>);
    if (!this.#asked && this._skein._up) this._sub();
  }

  /** @internal */
  _stop(): void {
    this._skein._live.delete(this as Channel<any>);
    if (this.#asked && this._skein._up) this._skein._ask({ type: "unsub", channel: this.name }, () => {}, true);
    this.#asked = false;
    this.#turn++;
    this._place = undefined;
  }

  /**
   * Asks for join and leave too; returns how to stop that.
   * @internal
   */
  _watch(): () => void {
    if (++this.#watchers === 1 && this.#asked) this._sub();
    return () => void (--this.#watchers || (this.#asked && this._uses.size && this._sub()));
  }

  /**
   * Begins the document anew.
   * @internal
   */
  _anew(): void {
    this._place = undefined;
    if (this.#asked) this._sub();
  }

  /**
   * Subscribes, also on a new connection.
   * @internal
   */
  _sub(): void {
    const { since, last, echo } = this.#options;
    const place = this._place ?? since;
    const turn = ++this.#turn;
    const watch = this.#watchers > 0 && !this.#hidden;
    this.#asked = true;
    if (this.kind === "log") this._ready = false;
    this._skein._ask({
      type: "sub", channel: this.name,
      since: this.kind === "event" ? undefined : place, last: place ? undefined : last,
      echo, presence: watch || undefined,
    }, (error, ok) => {
      // When the connection was lost the next one begins with this.
      if (turn !== this.#turn || !this._skein._up) return;
      if (!error) return this.#subscribed(ok, place);
      this.#asked = false;
      if (error.code === "denied" && watch) {
        this.#hidden = true; // the channel may be had without knowing who comes and goes
        this._sub();
      } else this._fail(error);
    }, true);
  }

  #subscribed(ok: Frame, place: Place | undefined): void {
    this.kind = ok.kind;
    this.#epoch = ok.epoch;
    if (ok.kind === "log") {
      // Until the newest `last` have come, the next connection has to ask for them again.
      if (place) this._place = ok.recovered ? { epoch: ok.epoch, seq: place.seq } : place;
      else if (!this.#options.last || !ok.seq) this._place = { epoch: ok.epoch, seq: ok.seq };
    }
    this._opened();
    this._emit("open", ok as unknown as Opened);
  }

  /** @internal */
  _take(frame: Frame): void {
    const { type, seq } = frame;
    if (type === "subscribed") {
      if (!this.#asked && this._uses.size) this._sub();
      return;
    }
    if (type === "unsubscribed") {
      this.#asked = false;
      this.#turn++;
      this._ready = false;
    } else if (type === "gap") {
      this.#epoch = frame.epoch;
      this.#at(frame.to);
    } else if (seq && frame.id) { // a message, or what has become of one
      // The server may have subscribed this connection by itself: the answer says where to go on.
      if (!this._ready) return;
      if (!(seq <= this._place?.seq!)) this.#at(seq); // a recall may stand for a message in the sequence
      else if (type === "msg") return;
    }
    if (type !== "msg") this._emit(type as keyof ChannelEvents<E>, frame as any);
    // What was published on an earlier connection is this client's own too.
    else if (this.#options.echo !== false || !this._skein._mine(frame.from?.connection)) this._emit("message", frame as any);
  }

  #at(seq: number): void {
    this._place = { epoch: this.#epoch, seq };
  }
}
