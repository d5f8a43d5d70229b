// One conversation that is open: its messages, and what its members do there.

import type { AlertLevel, ChatMessage, Entry, Invited, JoinRule, MarkState, MemberPage, Removed, Role } from "./chat-frames.js";
import type { Channel, ChannelEvents } from "./channel.js";
import type { Conversations } from "./conversations.js";
import { Emitter } from "./emitter.js";
import type { SkeinError } from "./error.js";
import type { Events, Frame, Gap, History, Mark, Message, Notice, Opened, Published, Recall } from "./frames.js";
import { key as random } from "./random.js";
import { Timeline, type Own } from "./timeline.js";

/** What happens in a conversation. */
export interface ConversationEvents<E extends Events = Events> {
  /** Something that is shown is another: messages, marks, who types, the entry. */
  change: undefined;
  /** A new message, also one's own. Once the listeners have had it the others are told that it was delivered. */
  message: Message<E> & { seq: number };
  edit: Message<E> & { seq: number };
  recall: Recall;
  /** Messages are gone that were not read in time. */
  gap: Gap;
  /** What is not kept, but for typing. */
  notice: Notice;
  /** Nothing comes any more: the user has `left`, was `removed`, the group was `deleted`; or the server has ended the subscription (`server`, `denied`). */
  gone: string;
  /** It may not be read, or a mark was refused. */
  error: SkeinError;
}

/** How a message is sent. */
export interface SendOptions<E extends Events = Events> {
  /** Default: `message`. */
  event?: keyof E & string;
  /** Of messages with the same key only the first one counts. Default: one of its own. */
  key?: string;
  /** The seq of the message that this one answers. */
  reply?: number;
  /** At most 100 members, or `["*"]`. */
  mentions?: string[];
}

/** What has become of a message; `delivered` and `read`: to, or by, all the others. */
export type Status = "pending" | "failed" | "sent" | "delivered" | "read";

/** How long a typing notice says something, in ms, and how often one is sent meanwhile. */
const typingLasts = 6_000;
const typingAgain = 3_000;
/** How long marks are collected, in ms: there is a limit of frames. */
const collect = 100;
/** Of groups with more members the marks are not asked for: the server does not tell of them either. */
const few = 100;

export class Conversation<E extends Events = Events, G = any> extends Emitter<ConversationEvents<E>> {
  readonly channel: string;
  /** The subscription below. */
  readonly live: Channel<E>;
  /** There are older messages: `older` has them. */
  more = false;
  readonly #chat: Conversations<any, any>;
  readonly #page: number;
  readonly #timeline = new Timeline<E>();
  #room: number; // how many messages are kept
  #epoch: string | undefined;
  #loaded = false;
  #pages: Promise<unknown> = Promise.resolve(); // one at a time
  #ready: Promise<this> | undefined;
  #settle: [() => void, (error: unknown) => void] | undefined; // of #ready
  #over = false; // the server has ended it
  #inquired = false; // marks of the others were asked for on this connection
  #members = 0; // how many there were then
  #offs: (() => void)[] = [];
  #marks: ReadonlyMap<string, { delivered: number; read: number }> = new Map();
  #handed = 0; // seq of the newest message that listeners have had
  #sent: { read: number; delivered: number } = { read: 0, delivered: 0 }; // known to the server
  #timer: ReturnType<typeof setTimeout> | undefined;
  #read = 0; // where the user is
  #typing: ReadonlyMap<string, ReturnType<typeof setTimeout>> = new Map();
  #typed = -Infinity; // when the others were told
  #users: readonly string[] = [];

  /** @internal */
  constructor(chat: Conversations<any, any>, channel: string, page: number, keep: number) {
    super();
    this.#chat = chat;
    this.channel = channel;
    this.#page = page;
    this.#room = keep;
    this.live = chat.skein.channel<E>(channel);
  }

  /** The oldest first, own ones that are not stored last; another array when something has changed. */
  get messages(): readonly ChatMessage<E>[] {
    return this.#timeline.list;
  }

  /** It in the list of the user; undefined: he is no member, or a direct one has not begun. */
  get entry(): Entry<E, G> | undefined {
    return this.#chat.entry(this.channel);
  }

  get unread(): number {
    return this.entry?.unread ?? 0;
  }

  /** Other users who are typing; another array when they have changed. */
  get typists(): readonly string[] {
    return this.#users;
  }

  /** How far the others are, as far as it is known: in large groups the server does not tell. Another map when something has changed. */
  get marks(): ReadonlyMap<string, { delivered: number; read: number }> {
    return this.#marks;
  }

  /** Resolves when the newest messages are there, rejects when they may not be read. */
  ready(): Promise<this> {
    return (this.#ready ??= new Promise((resolve, reject) => {
      this.#settle = [() => resolve(this), reject];
      if (this.#loaded) this.#settle[0]();
    }));
  }

  /** Who has opened it needs it no more; with the last one it ends. */
  close(): void {
    this.#chat._close(this);
  }

  /**
   * Sends a message, which is shown at once. Resolves when it is stored; a lost connection
   * does not matter. When it is refused it stays there as `failed`, until `retry` or `discard`.
   */
  send<K extends keyof E & string>(data: E[K], options: SendOptions<E> & { event?: K } = {}): Promise<Published> {
    const { event = "message", key = random(), reply, mentions } = options;
    const { skein } = this.#chat;
    const known = this.#timeline.own(key);
    if (known) this.#timeline.take(known);
    const own: Own = { channel: this.channel, from: { user: skein.user! }, key, event, data: data ?? null, reply, mentions, time: Date.now() };
    this.#timeline.send(own);
    this.#typed = -Infinity;
    return this.#put(own);
  }

  /** Sends a message again that was refused. */
  retry(key: string): Promise<Published> {
    const own = this.#timeline.own(key);
    if (!own) return Promise.reject(new RangeError(`no message that failed has the key ${key}`));
    this.#timeline.take(own);
    const again = { ...own, error: undefined, time: Date.now() };
    this.#timeline.send(again);
    return this.#put(again);
  }

  /** Forgets a message that was refused. */
  discard(key: string): void {
    const own = this.#timeline.own(key);
    if (!own?.error) return;
    this.#timeline.take(own);
    this.#changed();
  }

  async #put(own: Own): Promise<Published> {
    this.#changed();
    const { event, data, key, reply, mentions } = own;
    try {
      const ok = await this.live.publish(event, data, { key, reply, mentions });
      if (ok.seq === undefined) this.#timeline.take(own); // the application has answered it
      else {
        this.#timeline.sent(own, ok.message, ok.seq);
        this.#handed = Math.max(this.#handed, ok.seq);
        this.#told(ok.seq);
        this.#chat._marked(this.channel, { read: ok.seq, delivered: ok.seq });
      }
      return ok;
    } catch (error) {
      this.#timeline.failed(own, error as Error);
      throw error;
    } finally {
      this.#changed();
    }
  }

  /** Changes a message of one's own. Resolves with what the application has answered in place of the change, mostly nothing. */
  async edit<K extends keyof E & string>(seq: number, data: E[K], event?: K): Promise<any> {
    return (await this.#chat._insist({ type: "edit", channel: this.channel, seq, data: data ?? null, event })).reply;
  }

  /** Withdraws a message: one's own, or as an admin that of another. */
  async recall(seq: number): Promise<void> {
    await this.#chat._insist({ type: "recall", channel: this.channel, seq }, "not_found");
  }

  /** Tells the others that the user types, or no longer does; they are told every few seconds, however often this is called. */
  typing(on = true): void {
    const now = Date.now();
    const since = now - this.#typed;
    if (on ? since < typingAgain : since > typingLasts) return;
    this.#typed = on ? now : -Infinity;
    // Nobody misses what is lost of it.
    if (this.#chat.skein.state === "connected") this.live.notice("typing", on).catch(() => {});
  }

  /** The user has read everything up to a message; without a seq all that is there. It is shown at once, and told a moment later. */
  read(seq = this.#timeline.newest): void {
    if (seq <= this.#read) return;
    this.#read = seq;
    this.#chat._want(this.channel, seq);
    this.#soon();
  }

  /** What has become of a message of one's own. */
  status({ state, seq = 0 }: ChatMessage<E>): Status {
    if (state !== "sent") return state;
    const { entry } = this;
    const others = [...this.#marks.values()];
    const all = others.length > 0 && (entry === undefined || others.length >= entry.members - 1);
    if (all && others.every(({ read }) => read >= seq)) return "read";
    return all && others.every(({ delivered }) => delivered >= seq) ? "delivered" : "sent";
  }

  /** Who has read a message, as far as it is known. */
  readers(seq: number): string[] {
    return [...this.#marks].filter(([, { read }]) => read >= seq).map(([user]) => user);
  }

  /** Reads older messages; resolves with whether there are more. */
  older(limit = this.#page): Promise<boolean> {
    return this.#next(async () => {
      const before = this.#timeline.oldest;
      if (!this.more || !before) return this.more;
      const page = await this.#history({ before, limit });
      this.#room += page.messages.length;
      this.more = page.more;
      this.#changed();
      return page.more;
    });
  }

  /** A page of the members; without `after` the first one. */
  async members(page: { after?: string; limit?: number } = {}): Promise<MemberPage> {
    const members = await this.#chat._verb<MemberPage>("members", { channel: this.channel, ...page });
    if (!page.after && !members.next) {
      const here = new Set(members.items.map(({ user }) => user));
      this.#marks = new Map([...this.#marks].filter(([user]) => here.has(user))); // others have left
    }
    for (const { user, delivered, read } of members.items) this.#mark({ channel: this.channel, user, delivered, read });
    this.#changed();
    return members;
  }

  /** Brings users in. */
  invite(users: string[], options: { role?: Role } = {}): Promise<Invited> {
    return this.#call("invite", { users, ...options });
  }

  /** Comes in by himself, where everybody may. */
  join(): Promise<Invited> {
    return this.#call("join");
  }

  /** Ends memberships of others. */
  remove(users: string[]): Promise<Removed> {
    return this.#call("remove", { users });
  }

  leave(): Promise<Removed> {
    return this.#call("leave");
  }

  /** Gives a member another role; resolves with the one he had. */
  async role(user: string, role: Role): Promise<Role> {
    return (await this.#call<{ was: Role }>("role", { user, role })).was;
  }

  /** Changes what is kept about a group. */
  set(group: { data?: G; join?: JoinRule }): Promise<{ data: G; join: JoinRule }> {
    return this.#call("set", group);
  }

  /** Of which messages the user wants to be told while he is away; resolves with what it was. */
  async alerts(level: AlertLevel): Promise<AlertLevel> {
    return (await this.#call<{ was: AlertLevel }>("alerts", { level })).was;
  }

  /** Ends a group for all; resolves with how many members it had. */
  async delete(): Promise<number> {
    return (await this.#call<{ removed: number }>("delete")).removed;
  }

  #call<R>(method: string, params?: object): Promise<R> {
    return this.#chat.skein.call(`chat.${method}`, { channel: this.channel, ...params });
  }

  /** @internal */
  _start(): void {
    const on = <K extends keyof ChannelEvents<E>>(event: K, listener: (value: ChannelEvents<E>[K]) => void) => this.#offs.push(this.live.on(event, listener));
    on("message", (message) => this.#came(message));
    on("edit", (edit) => this.#revised("edit", edit as unknown as Frame));
    on("recall", (recall) => this.#revised("recall", recall as unknown as Frame));
    on("gap", (gap) => this.#gap(gap));
    on("notice", (notice) => this.#noticed(notice));
    on("mark", (mark) => this.#mark(mark));
    on("open", (opened) => this.#opened(opened));
    on("error", (error) => this.#refused(error));
    on("unsubscribed", ({ reason }) => this._gone(reason));
  }

  /** @internal */
  _stop(): void {
    for (const off of this.#offs.splice(0)) off();
    clearTimeout(this.#timer);
    if (this.#wants()) this.#flush();
    for (const timer of this.#typing.values()) clearTimeout(timer);
    this.#unready(this.#chat._closed());
  }

  /** @internal */
  _gone(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this._emit("gone", reason);
    this.#changed();
  }

  /**
   * Frames were lost, that of marks may be among them; the list is read again.
   * @internal
   */
  _missed(): void {
    this.#inquired = false;
  }

  /**
   * Its entry in the list has changed.
   * @internal
   */
  _entry(): void {
    const { entry } = this;
    if (entry) {
      if (entry.members !== this.#members) this.#inquired = false;
      this.#members = entry.members;
      if (entry.peer) this.#mark({ channel: this.channel, ...entry.peer });
      this.#ask();
      // He is a member again: who listens anew is subscribed anew.
      if (this.#over) this.#offs.push(this.live.on("closed", () => {}));
      this.#over = false;
    }
    this.#changed();
  }

  #changed(): void {
    this._emit("change", undefined);
  }

  #refused(error: SkeinError): void {
    this.#over = true;
    if (!this.#unready(error)) this.#fail(error);
  }

  #fail(error: SkeinError): void {
    if (!this._emit("error", error)) this.#chat._fail(error);
  }

  /** Tells who waits for it; false: nobody does. */
  #unready(error: unknown): boolean {
    const settle = this.#settle;
    if (!settle || this.#loaded) return false;
    this.#settle = this.#ready = undefined;
    settle[1](error);
    return true;
  }

  #opened({ epoch }: Opened): void {
    this.#over = this.#inquired = false;
    this.#era(epoch);
    this.#load();
    this.#ask();
    if (this.#wants()) this.#soon(); // the last answer may have been lost
  }

  /** In another epoch the seqs that are known mean nothing. */
  #era(epoch: string | undefined): void {
    if (this.#epoch !== undefined && this.#epoch !== epoch) {
      this.#timeline.clear();
      this.#loaded = this.more = false;
      this.#handed = this.#read = 0;
      this.#sent = { read: 0, delivered: 0 };
    }
    this.#epoch = epoch;
  }

  /** The newest messages, unless they are there. */
  #load(): void {
    this.#next(async () => {
      if (this.#loaded) return;
      const page = await this.#history({ limit: this.#page });
      this.more = page.more;
      this.#loaded = true;
      this.#hand(this.#timeline.newest);
      this.#settle?.[0]();
      this.#changed();
    }).catch((error) => this.#chat.skein.state === "connected" && this.#refused(error)); // else the next connection asks again
  }

  /** One after the other: each has to know what the one before has brought. */
  #next<T>(ask: () => Promise<T>): Promise<T> {
    const next = this.#pages.then(ask);
    this.#pages = next.catch(() => {});
    return next;
  }

  async #history(page: { before?: number; limit: number }): Promise<History<E>> {
    this.#timeline.ask();
    let found: History<E> | undefined;
    try {
      found = await this.live.history(page);
      return found;
    } finally {
      this.#timeline.page(this.channel, found?.messages as any);
    }
  }

  #came(message: Message<E>): void {
    const { seq, from } = message;
    if (seq === undefined) return;
    if (from?.user !== undefined) {
      this.#stopped(from.user);
      this.#mark({ channel: this.channel, user: from.user, delivered: seq, read: seq }); // who writes has read
    }
    const { type, ...rest } = message as Message<E> & { type?: string };
    const fresh = this.#timeline.add(rest as any, this.#chat._mine(from?.connection));
    if (this.#timeline.trim(this.#room)) this.more = true;
    if (fresh) this._emit("message", message as ConversationEvents<E>["message"]);
    this.#hand(seq);
    this.#changed();
  }

  #revised(type: "edit" | "recall", frame: Frame): void {
    if (!this.#timeline.change(frame)) return;
    this._emit(type, frame as any);
    this.#changed();
  }

  #gap(gap: Gap): void {
    this.#era(gap.epoch);
    this.#load();
    this._emit("gap", gap);
    this.#changed();
  }

  /** Messages up to this one were handed to the application. */
  #hand(seq: number): void {
    if (seq <= this.#handed) return;
    this.#handed = seq;
    this.#soon();
  }

  /** What the server does not know yet. */
  #wants(): { read?: number; delivered?: number } | undefined {
    const known = this.#chat._known(this.channel);
    const wants: { read?: number; delivered?: number } = {};
    if (this.#read > Math.max(this.#sent.read, known?.read ?? 0)) wants.read = this.#read;
    if (this.#handed > Math.max(this.#sent.delivered, known?.delivered ?? 0, this.#read)) wants.delivered = this.#handed;
    return wants.read || wants.delivered ? wants : undefined;
  }

  /** The server knows the user's marks up to here. */
  #told(read = 0, delivered = 0): void {
    this.#sent = { read: Math.max(this.#sent.read, read), delivered: Math.max(this.#sent.delivered, delivered, read) };
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, collect);
  }

  async #flush(): Promise<void> {
    const { skein } = this.#chat;
    const wants = this.#wants();
    if (!wants || skein.state !== "connected") return; // else with the next connection
    const { channel } = this;
    const { read, delivered } = wants;
    try {
      const frame = read === undefined ? { type: "ack", channel, seq: delivered } : { type: "mark", channel, ...wants };
      const ok = (await skein.request(frame, true)) as Frame & MarkState;
      this.#chat._marked(channel, ok);
    } catch (error) {
      if (skein.state !== "connected") return;
      this.#chat._unwant(channel);
      this.#fail(error as SkeinError);
    }
    this.#told(read, delivered); // also when it was refused: it would be again
  }

  #noticed(notice: Notice): void {
    const user = notice.from?.user;
    if (notice.event !== "typing") return void this._emit("notice", notice);
    if (user === undefined || user === this.#chat.skein.user) return;
    if (notice.data === false) return this.#stopped(user);
    clearTimeout(this.#typing.get(user));
    const timer = setTimeout(() => this.#stopped(user), typingLasts);
    const fresh = !this.#typing.has(user);
    this.#typing = new Map(this.#typing).set(user, timer);
    if (fresh) this.#typistsAre();
  }

  #stopped(user: string): void {
    const rest = new Map(this.#typing);
    clearTimeout(rest.get(user));
    if (!rest.delete(user)) return;
    this.#typing = rest;
    this.#typistsAre();
  }

  #typistsAre(): void {
    this.#users = [...this.#typing.keys()];
    this.#changed();
  }

  /** Somebody has got something, or read it: marks only grow. */
  #mark({ user, delivered = 0, read = 0 }: Mark): void {
    if (user === this.#chat.skein.user) return;
    const known = this.#marks.get(user) ?? { delivered: -1, read: -1 };
    const next = { delivered: Math.max(known.delivered, delivered, read), read: Math.max(known.read, read) };
    if (next.delivered === known.delivered && next.read === known.read) return;
    this.#marks = new Map(this.#marks).set(user, next);
    this.#changed();
  }

  /** Marks are told when they move: those from before have to be asked for. */
  #ask(): void {
    const { entry } = this;
    if (this.#inquired || entry?.kind !== "group" || entry.members > few) return;
    this.#inquired = true;
    this.members({ limit: few }).catch(() => {}); // nobody misses them
  }
}
