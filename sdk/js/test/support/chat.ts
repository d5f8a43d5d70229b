// A model of the conversations of one user, as a server keeps them, and a link to one
// client. Nothing happens by itself: the test says when a frame of the client is
// answered, when a change is told, and when what was sent arrives.

import { conversations, type Conversations, type ConversationsOptions } from "../../src/chat.js";
import { connect, type Skein } from "../../src/index.js";

export interface Said {
  id: string;
  seq: number;
  event: string;
  data: any;
  from?: { user: string };
  time: number;
  reply?: number;
  mentions?: string[];
  edited?: true;
  recalled?: true;
}

export interface Talk {
  channel: string;
  kind: "direct" | "group";
  epoch: string;
  messages: Said[];
  role: string | undefined; // of the user; undefined: he is no member
  read: number;
  delivered: number;
  hidden: number;
  since: number;
  alerts: string;
  members: number;
  data?: any;
  peer?: { user: string; read: number; delivered: number };
}

/** What is to be told of a conversation; the newest counts. */
interface News {
  last?: boolean;
  all?: boolean;
  gone?: string;
  mark?: boolean;
  peer?: boolean;
}

const me = "ann";

export class ChatModel {
  readonly talks = new Map<string, Talk>();
  readonly online = new Set<string>();
  /** Frames of the client that were answered. */
  readonly heard: any[] = [];
  /** The link of the client, while there is one. */
  link: ChatLink | undefined;
  /** Refuses the next frames of a type with these codes. */
  refusals: [type: string, code: string][] = [];
  /** Answers calls of `chat.` methods; what it throws is a refusal. */
  call: (method: string, data: any) => unknown = () => ({});
  #clock = 1_770_000_000_000;
  #links = 0;
  #keys = new Map<string, number>();

  /** Times may be equal. */
  tick(by = 1): number {
    return (this.#clock += by);
  }

  /** A conversation that the user is in. */
  begin(channel: string, more: Partial<Talk> = {}): Talk {
    const known = this.talks.get(channel);
    const peer = /^dm:ann:(.*)$/.exec(channel)?.[1];
    const head = known?.messages.length ?? 0;
    const talk: Talk = {
      channel, kind: peer ? "direct" : "group", epoch: "e1", messages: known?.messages ?? [], role: "member",
      read: head, delivered: head, hidden: head, since: this.tick(), alerts: "default", members: 2,
      ...(peer ? { peer: { user: peer, read: 0, delivered: 0 } } : { data: null }), ...more,
    };
    this.talks.set(channel, talk);
    this.#news(channel, { all: true });
    return talk;
  }

  /** A message; `here`: over the client's own connection. */
  say(channel: string, user: string | undefined, data: any, more: Partial<Said> & { here?: boolean; key?: string } = {}): Said {
    const { here, key, ...rest } = more;
    const talk = this.talks.get(channel)!;
    const seq = talk.messages.length + 1;
    const from = user === undefined ? {} : { from: here ? { user, connection: this.link!.name } : { user } };
    const said: Said = { id: `${channel}/${seq}`, seq, event: "message", data, ...from, time: this.tick(more.time ? 0 : 1), ...rest };
    talk.messages.push(said);
    if (user === me) {
      talk.read = talk.delivered = seq;
      this.#news(channel, { mark: !here });
    } else if (talk.peer?.user === user) {
      talk.peer!.read = talk.peer!.delivered = seq;
      this.#news(channel, { peer: true });
    }
    this.#news(channel, { last: true });
    this.link?.live(channel, { type: "msg", channel, ...said });
    return said;
  }

  edit(channel: string, seq: number, data: any): void {
    const talk = this.talks.get(channel)!;
    const said = talk.messages[seq - 1]!;
    if (said.recalled) return;
    talk.messages[seq - 1] = { ...said, data, edited: true };
    const { reply, mentions, ...rest } = talk.messages[seq - 1]!;
    if (seq === talk.messages.length) this.#news(channel, { last: true });
    this.link?.live(channel, { type: "edit", channel, ...rest, at: this.#clock });
  }

  recall(channel: string, seq: number): void {
    const talk = this.talks.get(channel)!;
    const { id, time } = talk.messages[seq - 1]!;
    talk.messages[seq - 1] = { id, seq, time, recalled: true, event: undefined as any, data: undefined };
    if (seq === talk.messages.length) this.#news(channel, { last: true });
    this.link?.live(channel, { type: "recall", channel, seq, id });
  }

  /** The user has read on another device. */
  read(channel: string, seq: number): void {
    if (this.#mark(this.talks.get(channel)!, { read: seq })) this.#news(channel, { mark: true });
  }

  /** The other one of a direct conversation. */
  peerRead(channel: string, read: number, delivered = read): void {
    const talk = this.talks.get(channel)!;
    const { peer } = talk;
    peer!.read = Math.max(peer!.read, Math.min(read, talk.messages.length));
    peer!.delivered = Math.max(peer!.delivered, peer!.read, Math.min(delivered, talk.messages.length));
    this.#news(channel, { peer: true });
    this.link?.live(channel, { type: "mark", channel, ...peer });
  }

  /** What is said of the user, or of the group, changes. */
  change(channel: string, change: Partial<Talk>): void {
    Object.assign(this.talks.get(channel)!, change);
    this.#news(channel, { all: true });
  }

  end(channel: string, reason: string): void {
    this.talks.get(channel)!.role = undefined;
    this.#news(channel, { gone: reason });
    this.link?.unsubscribe(channel);
  }

  present(user: string, online: boolean): void {
    if (online) this.online.add(user);
    else this.online.delete(user);
    if (this.link?.follows) this.link.users.add(user);
  }

  #mark(talk: Talk, { read = 0, delivered = 0 }: { read?: number; delivered?: number }): boolean {
    const { read: wasRead, delivered: wasDelivered } = talk;
    const head = talk.messages.length;
    talk.read = Math.max(talk.read, Math.min(read, head));
    talk.delivered = Math.max(talk.delivered, talk.read, Math.min(delivered, head));
    return talk.read !== wasRead || talk.delivered !== wasDelivered;
  }

  #news(channel: string, news: News): void {
    if (!this.link?.follows) return;
    const { news: all } = this.link;
    const before = all.get(channel);
    // What is told after the end is told in full.
    all.delete(channel);
    all.set(channel, news.gone || (news.all && before?.gone) ? { ...news } : { ...before, ...news });
    if (news.all && before?.gone) all.get(channel)!.gone = undefined as any;
  }

  /** The entries as the server gives them now. */
  entries(): any[] {
    return [...this.talks.values()].filter(({ role }) => role).map((talk) => this.entry(talk)).sort((a, b) => b.time - a.time || (a.channel < b.channel ? -1 : 1));
  }

  entry({ messages, peer, data, ...talk }: Talk): any {
    const seq = messages.length;
    const last = messages.at(-1);
    return {
      channel: talk.channel, kind: talk.kind, epoch: talk.epoch, seq, read: talk.read, delivered: talk.delivered, unread: Math.max(0, seq - talk.read),
      time: last && last.time > talk.since ? last.time : talk.since,
      ...(last && seq > talk.hidden && { last: tidy(last) }),
      role: talk.role, since: talk.since, hidden: talk.hidden, members: talk.members, alerts: talk.alerts,
      ...(data !== undefined && { data, join: "admins" }),
      ...(peer && { peer: { ...peer, online: this.online.has(peer.user) } }),
    };
  }

  /** Tells what has changed in the conversation that waits for longest, or of a user; false: there is nothing. */
  tell(): boolean {
    const { link } = this;
    for (const user of link?.users ?? []) {
      link!.users.delete(user);
      link!.tell({ type: "online", user, online: this.online.has(user), time: this.#clock });
      return true;
    }
    for (const [channel, news] of link?.news ?? []) {
      link!.news.delete(channel);
      const talk = this.talks.get(channel)!;
      if (!talk.role) link!.tell({ type: "conversation", channel, gone: true, reason: news.gone ?? "left" });
      else {
        const entry = this.entry(talk);
        const { seq, last, time, members } = { last: undefined as any, ...entry };
        if (news.all) link!.tell({ type: "conversation", ...entry });
        else if (news.last) link!.tell({ type: "conversation", channel, seq, last: last ?? tidy(talk.messages.at(-1)!), time, members });
        if (news.mark) link!.tell({ type: "mark", channel, user: me, read: talk.read, delivered: talk.delivered });
        if (news.peer) link!.tell({ type: "mark", channel, ...talk.peer });
      }
      return true;
    }
    return false;
  }

  /**
   * Answers a frame of the client; false: there is none. `late`: the answer is made now,
   * and sent with the next call, so that what is told meanwhile comes before it.
   */
  answer(late = false): boolean {
    const { link } = this;
    if (link?.held.length) {
      link.down.push(...link.held.splice(0));
      return true;
    }
    const text = link?.up.shift();
    if (text === undefined) return false;
    const frame = JSON.parse(text);
    if (frame.type === "connect") {
      link!.tell({ type: "welcome", connection: link!.name, user: me, heartbeat: 3600, session: {}, time: this.#clock });
      return true;
    }
    const { id, ...rest } = frame;
    this.heard.push(rest);
    const refusal = this.refusals.findIndex(([type]) => type === frame.type);
    try {
      if (refusal >= 0) throw this.refusals.splice(refusal, 1)[0]![1];
      const then: any[] = [];
      const ok = { type: "ok", id, ...this.#answer(frame, then) };
      for (const next of [ok, ...then]) {
        if (late) link!.held.push(JSON.stringify(next));
        else link!.tell(next);
      }
    } catch (code) {
      if (typeof code !== "string") throw code;
      link!.tell({ type: "error", id, code, message: `${frame.type}: no`, channel: frame.channel });
    }
    return true;
  }

  #answer(frame: any, then: any[]): any {
    const { channel } = frame;
    const talk = this.talks.get(channel);
    switch (frame.type) {
      case "conversations": {
        if (frame.live !== undefined) this.link!.follow(frame.live);
        const all = this.entries();
        const from = frame.after === undefined ? 0 : all.findIndex(({ time, channel }) => {
          const [at, name] = JSON.parse(frame.after);
          return time < at || (time === at && channel > name);
        });
        const items = from < 0 ? [] : all.slice(from, from + (frame.limit ?? 50));
        const last = items.at(-1);
        const more = last && all.at(-1) !== last;
        return {
          conversations: items, count: all.length, unread: all.reduce((sum, { unread }) => sum + unread, 0),
          ...(more && { next: JSON.stringify([last.time, last.channel]) }),
        };
      }
      case "conversation":
        if (!talk?.role) throw "denied";
        return { conversation: this.entry(talk) };
      case "mark":
      case "ack": {
        if (!talk) return { read: 0, delivered: 0, unread: 0 };
        if (!talk.role) throw "denied";
        const moved = this.#mark(talk, frame.type === "ack" ? { delivered: frame.seq } : frame);
        void moved;
        const { read, delivered, messages } = talk;
        return frame.type === "ack" ? { delivered } : { read, delivered, unread: Math.max(0, messages.length - read) };
      }
      case "sub": {
        if (talk && !talk.role) throw "denied";
        this.link!.subscribed.add(channel);
        const { messages = [], epoch = "e1", hidden = 0 } = talk ?? {};
        const { since } = frame;
        const recovered = since === undefined ? undefined : since.epoch === epoch && since.seq >= hidden;
        if (since && !recovered) then.push({ type: "gap", channel, from: since.epoch === epoch ? since.seq + 1 : 1, to: hidden, epoch });
        for (const said of since ? messages.slice(recovered ? since.seq : hidden) : []) then.push(shown(channel, said));
        for (const said of since ? messages.slice(0, recovered ? since.seq : 0) : []) if (said.recalled || said.edited) then.unshift(revised(channel, said));
        return { channel, kind: "log", epoch, seq: messages.length, recovered };
      }
      case "history": {
        const { messages = [], hidden = 0, epoch = "e1" } = talk ?? {};
        const { before = Infinity, limit = 50 } = frame;
        const fit = messages.filter(({ seq }) => seq < before && seq > hidden);
        return { messages: fit.slice(-limit).map(tidy), more: fit.length > limit, epoch, seq: messages.length };
      }
      case "pub": {
        const { event, data, key, reply, mentions } = frame;
        const known = this.#keys.get(key);
        if (known !== undefined) return { message: `${channel}/${known}`, seq: known, connections: 0, users: 0, stored: true, duplicate: true };
        if (!talk) this.begin(channel, { hidden: 0, read: 0, delivered: 0 });
        const { id, seq } = this.say(channel, me, data, { event, here: true, ...(reply && { reply }), ...(mentions && { mentions }) });
        this.#keys.set(key, seq);
        return { message: id, seq, connections: 1, users: 1, stored: true };
      }
      case "edit":
        if (!talk?.messages[frame.seq - 1] || talk.messages[frame.seq - 1]!.recalled) throw "not_found";
        this.edit(channel, frame.seq, frame.data);
        return {};
      case "recall":
        if (!talk?.messages[frame.seq - 1] || talk.messages[frame.seq - 1]!.recalled) throw "not_found";
        this.recall(channel, frame.seq);
        return {};
      case "call":
        return { data: this.call(frame.method, frame.data) };
      case "unsub":
        this.link!.subscribed.delete(channel);
        return { channel };
    }
    return {};
  }

  /** Brings a frame to the client; false: there is none. */
  deliver(): boolean {
    const text = this.link?.down.shift();
    if (text === undefined) return false;
    this.link!.onmessage({ data: text });
    return true;
  }

  /** Carries everything out that there is to do. */
  settle(): void {
    while (this.answer() || this.tell() || this.deliver());
  }

  /** The link breaks: what is on its way is lost, both ways. */
  cut(): void {
    const { link } = this;
    this.link = undefined;
    link?.onmessage({ data: JSON.stringify({ type: "bye", code: "going_away", message: "", reconnect: true, after: 0 }) });
  }

  /** The reader was too slow: what was to be told of the list is lost. */
  drop(): void {
    const { link } = this;
    if (!link?.follows) return;
    const lost = (text: string) => /^\{"type":"(conversation|online|mark)"/.test(text);
    const count = link.news.size + link.users.size + link.down.filter(lost).length;
    link.news.clear();
    link.users.clear();
    link.down = link.down.filter((text) => !lost(text));
    if (count) link.tell({ type: "dropped", channel: "@direct", count });
  }

  /** For the option `WebSocket`. */
  socket(): new (url: string) => ChatLink {
    const model = this;
    return class extends ChatLink {
      constructor() {
        super(model, `c${++model.#links}`);
      }
    };
  }
}

/** One link, as a WebSocket for the client. */
export class ChatLink {
  readonly up: string[] = [];
  down: string[] = [];
  /** An answer that is late. */
  readonly held: string[] = [];
  follows = false;
  readonly news = new Map<string, News>();
  readonly users = new Set<string>();
  readonly subscribed = new Set<string>();
  onopen = () => {};
  onmessage = (_: { data: string }) => {};
  onclose = (_: { code: number }) => {};
  readonly #model: ChatModel;

  constructor(model: ChatModel, readonly name: string) {
    this.#model = model;
    queueMicrotask(() => {
      model.link = this;
      this.onopen();
    });
  }

  follow(live: boolean): void {
    this.follows = live;
  }

  tell(frame: any): void {
    this.down.push(JSON.stringify(frame));
  }

  live(channel: string, frame: any): void {
    if (this.subscribed.has(channel)) this.tell(frame);
  }

  unsubscribe(channel: string): void {
    if (this.subscribed.delete(channel)) this.tell({ type: "unsubscribed", channel, reason: "denied" });
  }

  send(text: string): void {
    this.up.push(text);
  }

  close(): void {
    if (this.#model.link === this) this.#model.link = undefined;
  }
}

/** A message as a history has it. */
export const tidy = ({ ...said }: Said): any => JSON.parse(JSON.stringify(said));

const shown = (channel: string, said: Said) =>
  said.recalled ? { type: "recall", channel, seq: said.seq, id: said.id } : { type: "msg", channel, ...said };

const revised = (channel: string, { reply, mentions, ...said }: Said) =>
  said.recalled ? { type: "recall", channel, seq: said.seq, id: said.id } : { type: "edit", channel, ...said, at: said.time };

export interface Made {
  skein: Skein;
  chat: Conversations;
  model: ChatModel;
  /** Carries everything out until nothing happens any more. */
  rest(): Promise<void>;
}

/** Timers of no time have run. */
export const turn = () => new Promise((wake) => setTimeout(wake, 1));

/** A client of a model. */
export function make(t: { after(done: () => void): void }, options: ConversationsOptions = {}): Made {
  const model = new ChatModel();
  const skein = connect("http://model", { WebSocket: model.socket(), transports: ["websocket"] });
  t.after(() => skein.close());
  const chat = conversations(skein, { pause: 0, ...options });
  return {
    skein, chat, model,
    async rest() {
      let heard = -1;
      let idle = 0;
      // Answers lead to questions, after a timer of no time at all.
      while (idle < 4) {
        model.settle();
        idle = skein.state === "connected" && heard === model.heard.length ? idle + 1 : 0;
        heard = model.heard.length;
        await turn();
      }
    },
  };
}
