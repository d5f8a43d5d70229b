// The conversations of the user: their list, which is followed, and those that are open.

import type { Blocked, Entry, JoinRule, MarkState, Page } from "./chat-frames.js";
import { directChannel } from "./chat-names.js";
import { Conversation } from "./conversation.js";
import { Emitter } from "./emitter.js";
import { Entries, type ListPage } from "./entries.js";
import type { SkeinError } from "./error.js";
import type { Events, Frame } from "./frames.js";
import type { Skein } from "./skein.js";

/** Which conversations have changed. */
export interface ListChange {
  channels: readonly string[];
}

export interface ConversationsEvents {
  /** The list is another: also the first one. */
  change: ListChange;
  /** The user is no member any more. `reason`: `left`, `removed` or `deleted`. */
  gone: { channel: string; reason: string };
  /** The list may not be read, or something was refused that nobody else was told. */
  error: SkeinError;
}

/** Options of `conversations`; all may be absent. */
export interface ConversationsOptions {
  /** The namespace of direct conversations. Default `dm`. */
  direct?: string;
  /** How many conversations a page of the list has. Default 50, at most 200. */
  page?: number;
  /** How many messages are read at once when a conversation is opened. Default 50, at most 500. */
  messages?: number;
  /** How many messages of a conversation are kept, besides those that `older` has brought. Default 1000. */
  keep?: number;
  /** Milliseconds in which changes of conversations that are not in the list are collected, before it is read anew. Default 250. */
  pause?: number;
  /** Nobody is told that messages have come to this device, but those of open conversations. Default false. */
  silent?: boolean;
}

export class Conversations<E extends Events = Events, G = any> extends Emitter<ConversationsEvents> {
  readonly skein: Skein;
  /** Why the list cannot be read. */
  error: SkeinError | undefined;
  readonly #options: Required<ConversationsOptions>;
  readonly #entries = new Entries<E, G>();
  readonly #open = new Map<string, { conversation: Conversation<any, G>; uses: number }>();
  readonly #offs: (() => void)[];
  #connections: string[] = [];
  #turn = 0; // of the list: answers to older questions say nothing any more
  #anew = false; // the list has to be read from the top
  #wanted: { done: (more: boolean) => void; failed: (error: unknown) => void }[] = []; // who waits for more
  #running: number | undefined; // the turn in which the list is being read
  readonly #refused = new Map<string, number>(); // acknowledgements, by channel
  #loaded = false;
  #waiting: [() => void, (error: unknown) => void][] = [];
  #over: (() => void) | undefined; // undefined: it was closed
  readonly #ends = new Set<() => void>(); // wake those who iterate

  /** @internal */
  constructor(skein: Skein, options: ConversationsOptions, over: () => void) {
    super();
    this.skein = skein;
    this.#over = over;
    this.#options = { direct: "dm", page: 50, messages: 50, keep: 1000, pause: 250, silent: false, ...options };
    this.#offs = [
      skein.on("welcome", () => this.#up()),
      skein.on("frame", (frame) => this.#take(frame)),
      skein.on("state", ({ state }) => state === "closed" && this.#end()),
    ];
    if (skein.state === "connected") this.#up();
  }

  /** The conversations that were read, the newest first; another array when something has changed. */
  get list(): readonly Entry<E, G>[] {
    return this.#entries.list;
  }

  /** How many there are, also those that were not read. */
  get count(): number {
    return this.#entries.count;
  }

  /** The unread messages of all of them. */
  get unread(): number {
    return this.#entries.unread;
  }

  /** There are more than those in the list. */
  get hasMore(): boolean {
    return this.#entries.next !== undefined && this.list.length < this.count;
  }

  /** One of them, also one that is not in the list but open. */
  entry(channel: string): Entry<E, G> | undefined {
    return this.#entries.get(channel);
  }

  /** Resolves when the list is there; rejects when it may not be read. */
  ready(): Promise<this> {
    return new Promise((resolve, reject) => {
      if (this.#loaded) resolve(this);
      else if (this.error) reject(this.error);
      else if (!this.#over) reject(this._closed());
      else this.#waiting.push([() => resolve(this), reject]);
    });
  }

  /** Reads the next page of the list; resolves with whether there are more. */
  more(): Promise<boolean> {
    return new Promise((done, failed) => {
      if (!this.#over) return failed(this._closed());
      this.#wanted.push({ done, failed });
      this.#work();
    });
  }

  /**
   * The changes of the list, for `for await`. While the reader is busy they are
   * joined, so it always finds the list as it is.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ListChange, void, undefined> {
    let channels: Set<string> | undefined;
    let wake = () => {};
    const off = this.on("change", (change) => {
      channels ??= new Set();
      for (const channel of change.channels) channels.add(channel);
      wake();
    });
    const end = () => wake();
    this.#ends.add(end);
    try {
      while (this.#over) {
        if (channels) {
          const change = { channels: [...channels] };
          channels = undefined;
          yield change;
        } else await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      off();
      this.#ends.delete(end);
    }
  }

  /** Opens a conversation: the same object as long as anybody has it open. Each who opens it closes it. */
  open<C extends Events = E>(channel: string): Conversation<C, G> {
    const { messages, keep } = this.#options;
    let one = this.#open.get(channel);
    if (!one) {
      one = { conversation: new Conversation<any, G>(this, channel, messages, keep), uses: 0 };
      this.#open.set(channel, one);
      one.conversation._start();
      if (this.#loaded && !this.entry(channel)) this.#look(channel);
      one.conversation._entry();
    }
    one.uses++;
    return one.conversation;
  }

  /** Opens the conversation with another user, also one that has not begun. */
  async direct<C extends Events = E>(user: string): Promise<Conversation<C, G>> {
    const { user: me = "" } = await this.skein.ready();
    return this.open<C>(directChannel(this.#options.direct, me, user));
  }

  /** Makes a group whose owner is the user, and opens it. */
  async create<C extends Events = E>(channel: string, group: { users?: string[]; data?: G; join?: JoinRule } = {}): Promise<Conversation<C, G>> {
    await this.skein.call("chat.create", { channel, users: [], ...group });
    return this.open<C>(channel);
  }

  /** Blocks a user, who can no longer write to this one or bring him into a group; tells whether that is new. */
  async block(user: string, blocked = true): Promise<boolean> {
    const { changed } = await this._verb<{ changed: boolean }>("block", { peer: user, blocked });
    this.#entries.block(user, blocked);
    this.#changed(this.list.filter(({ peer }) => peer?.user === user).map(({ channel }) => channel));
    return changed;
  }

  /** Whom the user has blocked; without `after` the first page. */
  blocked(page: { after?: string; limit?: number } = {}): Promise<Page<Blocked>> {
    return this._verb("blocked", page);
  }

  /** Follows nothing any more. All conversations that are open end. */
  close(): void {
    if (this.#over && this.skein.state === "connected") {
      this.skein.request({ type: "conversations", limit: 1, live: false }).catch(() => {});
    }
    this.#end();
  }

  #end(): void {
    const over = this.#over;
    if (!over) return;
    this.#over = undefined;
    this.#turn++;
    for (const off of this.#offs) off();
    for (const { conversation } of this.#open.values()) conversation._stop();
    this.#open.clear();
    for (const [, reject] of this.#waiting.splice(0)) reject(this._closed());
    for (const { failed } of this.#wanted.splice(0)) failed(this._closed());
    for (const end of this.#ends) end();
    over();
  }

  /** @internal */
  _closed(): Error {
    return this.skein.error ?? new Error("the conversations were closed");
  }

  /** @internal */
  _close(conversation: Conversation<any, G>): void {
    const { channel } = conversation;
    const one = this.#open.get(channel);
    if (one?.conversation !== conversation || --one.uses) return;
    // Who leaves and comes back at once, as React's components do, finds it as it was.
    queueMicrotask(() => {
      if (one.uses || this.#open.get(channel) !== one) return;
      this.#open.delete(channel);
      conversation._stop();
    });
  }

  /** @internal */
  _mine(connection?: string): boolean {
    return this.#connections.includes(connection!);
  }

  /**
   * Calls a method that may be called twice.
   * @internal
   */
  async _verb<R>(method: string, params: object): Promise<R> {
    return (await this._insist({ type: "call", method: `chat.${method}`, data: params })).data;
  }

  /**
   * Asks until there is an answer: a repeat does no harm. An error with the code `done`
   * means after a lost connection that it was carried out.
   * @internal
   */
  async _insist(frame: Frame, done?: string): Promise<Frame> {
    for (let lost = false; ; lost = true) {
      try {
        return await this.skein.request(frame, true);
      } catch (e) {
        const { code, retryAfter } = e as SkeinError;
        if (lost && code === done) return frame;
        const { state } = this.skein;
        if (code !== "unavailable" || retryAfter !== undefined || state === "connected" || state === "closed") throw e;
        await this.skein.ready();
      }
    }
  }

  /**
   * What the server has said of it: marks that it was not told are not in it.
   * @internal
   */
  _known(channel: string): Entry | undefined {
    return this.#entries.known(channel);
  }

  /** @internal */
  _fail(error: SkeinError): void {
    this._emit("error", error);
  }

  /** @internal */
  _want(channel: string, read: number): void {
    this.#entries.want(channel, read);
    this.#changed([channel]);
  }

  /** @internal */
  _unwant(channel: string): void {
    this.#entries.unwant(channel);
    this.#changed([channel]);
  }

  /**
   * The server has said how far the user is.
   * @internal
   */
  _marked(channel: string, { read, delivered }: Partial<MarkState>): void {
    const { user } = this.skein;
    if (user !== undefined && this.#entries.mark({ channel, user, read: read ?? 0, delivered: delivered ?? 0 }, user)) this.#changed([channel]);
    this.#work();
  }

  #changed(channels: readonly string[]): void {
    for (const channel of channels) this.#open.get(channel)?.conversation._entry();
    this._emit("change", { channels });
  }

  #up(): void {
    this.#connections = [this.skein.connection!, ...this.#connections].slice(0, 16);
    this.#again();
  }

  /** Something was missed: the whole list is read anew. */
  #again(): void {
    this.#turn++;
    this.#anew = true;
    this.error = undefined;
    this.#work();
  }

  #take(frame: Frame): void {
    const { user } = this.skein;
    const { type, channel } = frame;
    if (type === "conversation") {
      const changed = this.#entries.conversation(frame, user);
      if (frame.gone) {
        this.#open.get(channel)?.conversation._gone(frame.reason);
        this._emit("gone", { channel, reason: frame.reason });
      }
      if (changed) this.#changed([channel]);
    } else if (type === "mark" && channel !== "@inbox") {
      if (this.#entries.mark(frame as any, user)) this.#changed([channel]);
    } else if (type === "online") {
      if (this.#entries.online(frame as any)) this.#changed(this.list.filter(({ peer }) => peer?.user === frame.user).map((entry) => entry.channel));
    } else if (type === "dropped" && channel === "@direct") {
      for (const { conversation } of this.#open.values()) conversation._missed();
      this.#again();
    }
    else return;
    this.#work();
  }

  /** An entry that no page has: of a conversation that is open. */
  #look(channel: string): void {
    this.#entries.strange.add(channel);
    this.#work();
  }

  /** Asks for what is missing, one after the other. */
  async #work(): Promise<void> {
    const turn = this.#turn;
    if (this.#running === turn || this.skein.state !== "connected" || !this.#over || this.error) return;
    this.#running = turn;
    this.#entries.ask(); // what frames say is remembered for as long as this goes on
    try {
      while (turn === this.#turn) {
        if (this.#anew) await this.#reload(turn);
        else if (this.#entries.stale) await this.#refresh(turn);
        else if (this.#entries.strange.size) await this.#strangers(turn);
        else if (this.#wanted.length) await this.#further(turn);
        else {
          const due = this.#due();
          if (!due) break;
          await this.#deliver(turn, due);
        }
      }
    } catch (error) {
      // A lost connection is followed by the next.
      if (turn === this.#turn && this.skein.state === "connected") this.#denied(error as SkeinError);
    } finally {
      this.#entries.asked();
      if (this.#running === turn) this.#running = undefined;
    }
  }

  #denied(error: SkeinError): void {
    this.error = error;
    for (const [, reject] of this.#waiting.splice(0)) reject(error);
    for (const { failed } of this.#wanted.splice(0)) failed(error);
    this._fail(error);
  }

  /** A page, unless the turn is over: then undefined. */
  async #page(turn: number, frame: object): Promise<[ListPage, number] | undefined> {
    const asked = this.#entries.ask();
    try {
      const page = (await this.skein.request({ type: "conversations", ...frame }, true)) as Frame & ListPage;
      return turn === this.#turn ? [page, asked] : undefined;
    } finally {
      this.#entries.asked();
    }
  }

  async #reload(turn: number): Promise<void> {
    this.#entries.begin();
    const limit = this.#options.page;
    const channels: string[] = [];
    let found = await this.#page(turn, { limit, live: true });
    if (!found) return;
    this.#entries.first(...found);
    while (!this.#entries.covers(found[0])) {
      channels.push(...found[0].conversations.map(({ channel }) => channel));
      found = await this.#page(turn, { limit: 200, after: found[0].next });
      if (!found) return;
      this.#entries.page(...found);
    }
    channels.push(...found[0].conversations.map(({ channel }) => channel));
    this.#anew = false;
    this.#entries.settle(found[0], (channel) => this.#open.has(channel));
    for (const channel of this.#open.keys()) if (!this.entry(channel)) this.#entries.strange.add(channel);
    this.#loaded = true;
    for (const [channel, { conversation }] of this.#open) if (!channels.includes(channel)) conversation._entry();
    for (const [resolve] of this.#waiting.splice(0)) resolve();
    this.#changed(channels);
  }

  /** The first page alone, which has the numbers and what has come to be at the top. */
  async #refresh(turn: number): Promise<void> {
    // The members of a large group do not all ask at once.
    await new Promise((wake) => setTimeout(wake, this.#options.pause * (1 + Math.random())));
    const found = turn === this.#turn && await this.#page(turn, { limit: this.#options.page });
    if (!found) return;
    this.#entries.first(...found);
    this.#changed(found[0].conversations.map(({ channel }) => channel));
  }

  async #strangers(turn: number): Promise<void> {
    for (const channel of [...this.#entries.strange]) {
      if (turn !== this.#turn) return;
      const asked = this.#entries.ask();
      try {
        const { conversation } = await this.skein.request({ type: "conversation", channel }, true);
        if (turn !== this.#turn) return;
        this.#entries.one(conversation, asked);
      } catch (error) {
        const { code } = error as SkeinError;
        if (code !== "denied" && code !== "not_found" && code !== "bad_request") throw error;
        this.#entries.none(channel, asked);
      } finally {
        this.#entries.asked();
      }
      this.#changed([channel]);
    }
  }

  async #further(turn: number): Promise<void> {
    const after = this.#entries.next;
    const waiting = this.#wanted.splice(0);
    try {
      const found = after === undefined ? undefined : await this.#page(turn, { limit: this.#options.page, after });
      if (turn !== this.#turn) return void this.#wanted.unshift(...waiting);
      if (found) {
        this.#entries.more(...found);
        this.#changed(found[0].conversations.map(({ channel }) => channel));
      }
      for (const { done } of waiting) done(this.hasMore);
    } catch (error) {
      this.#wanted.unshift(...waiting);
      throw error;
    }
  }

  /** What has come to this device, and nobody was told. Conversations that are open tell it themselves. */
  #due(): Entry<E, G> | undefined {
    if (this.#options.silent) return undefined;
    return this.list.find(({ channel, seq, delivered }) => seq > delivered && seq !== this.#refused.get(channel) && !this.#open.has(channel));
  }

  async #deliver(turn: number, { channel, seq }: Pick<Entry, "channel" | "seq">): Promise<void> {
    this.#refused.set(channel, seq); // also when it is answered by less
    try {
      const ok = (await this.skein.request({ type: "ack", channel, seq }, true)) as Frame & MarkState;
      if (turn === this.#turn) this._marked(channel, { delivered: ok.delivered });
    } catch (error) {
      if (this.skein.state === "connected") return; // nobody misses it
      this.#refused.delete(channel);
      throw error;
    }
  }
}
