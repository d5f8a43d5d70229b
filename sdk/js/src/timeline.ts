// The messages of one conversation as they are shown: what the server has, in
// order, edited and recalled in its place, then what was sent here and is not stored.

import type { ChatMessage } from "./chat-frames.js";
import type { Events, Frame, From, Message } from "./frames.js";

/** A message that was sent here, until the server has it. */
export interface Own {
  channel: string;
  from: From;
  key: string;
  event: string;
  data: any;
  reply?: number | undefined;
  mentions?: string[] | undefined;
  time: number;
  error?: Error | undefined;
  /** The message that is probably this one: it came before the answer. */
  seen?: number | undefined;
}

type Kept = Message & { seq: number; recalled?: boolean };

export class Timeline<E extends Events = Events> {
  #kept = new Map<number, Kept>();
  /** Those that were made from the answer, and are not as the server has them yet. */
  #made = new Set<number>();
  #keys = new Map<number, string>();
  #own: Own[] = [];
  /** Edits and recalls that came while a page was on its way, which may be older; undefined: none is. */
  #late: Frame[] | undefined;
  #list: readonly ChatMessage<E>[] | undefined;

  get list(): readonly ChatMessage<E>[] {
    return (this.#list ??= this.#make());
  }

  #make(): ChatMessage<E>[] {
    const seen = new Map(this.#own.filter(({ seen }) => seen).map(({ seen, key }) => [seen!, key]));
    const kept = [...this.#kept.values()].sort((a, b) => a.seq - b.seq).map((message) => {
      const key = this.#keys.get(message.seq) ?? seen.get(message.seq);
      return { ...message, state: "sent", ...(key !== undefined && { key }) };
    });
    const own = this.#own.filter(({ seen }) => !seen).map(({ seen, error, ...message }) => ({
      ...message, state: error ? "failed" : "pending", ...(error && { error }),
    }));
    return [...kept, ...own] as unknown as ChatMessage<E>[];
  }

  get size(): number {
    return this.#kept.size;
  }

  /** 0: there is none. */
  get oldest(): number {
    return this.#kept.size ? Math.min(...this.#kept.keys()) : 0;
  }

  /** The seq of the newest message, 0 when there is none. */
  get newest(): number {
    return this.#kept.size ? Math.max(...this.#kept.keys()) : 0;
  }

  /** A message came; false: the server's was there already. `mine`: it was sent over a connection of this client. */
  add(message: Kept, mine: boolean): boolean {
    const { seq } = message;
    const known = this.#kept.get(seq);
    const fresh = !known || this.#made.has(seq);
    // What was read from the history may be newer, and then its frame follows.
    if (!fresh && (known!.recalled || known!.edited)) return false;
    this.#kept.set(seq, message);
    this.#made.delete(seq);
    if (mine && !known) {
      const own = this.#own.find((own) => !own.error && !own.seen && own.event === message.event && same(own.data, message.data));
      if (own) own.seen = seq;
    }
    this.#list = undefined;
    return fresh;
  }

  /** An edit or a recall came; false: it is about nothing that is shown. */
  change(frame: Frame): boolean {
    this.#late?.push(frame);
    return this.#change(frame);
  }

  #change({ type, channel, seq, id, event, data }: Frame): boolean {
    const known = this.#kept.get(seq);
    if (!known || known.recalled) return false;
    const { time, from } = known;
    this.#kept.set(seq, type === "edit" ? { ...known, event, data, edited: true } : stub({ channel, id, seq, time, from }));
    this.#list = undefined;
    return true;
  }

  /** A page is asked for. */
  ask(): void {
    this.#late = [];
  }

  /** It is there, or will not be. */
  page(channel: string, messages: Kept[] = []): void {
    for (const message of messages) {
      this.#kept.set(message.seq, message.recalled ? stub({ ...message, channel }) : { ...message, channel });
      this.#made.delete(message.seq);
    }
    for (const frame of this.#late ?? []) this.#change(frame);
    this.#late = undefined;
    this.#list = undefined;
  }

  /** Forgets the oldest, until there are no more than so many. */
  trim(most: number): boolean {
    if (this.#kept.size <= most) return false;
    const seqs = [...this.#kept.keys()].sort((a, b) => a - b);
    for (const seq of seqs.slice(0, -most)) this.#drop(seq);
    this.#list = undefined;
    return true;
  }

  #drop(seq: number): void {
    this.#kept.delete(seq);
    this.#keys.delete(seq);
    this.#made.delete(seq);
  }

  /** Forgets all but what is not stored. */
  clear(): void {
    this.#kept.clear();
    this.#keys.clear();
    this.#made.clear();
    for (const own of this.#own) own.seen = undefined;
    this.#list = undefined;
  }

  /** Shows a message that is about to be sent. */
  send(own: Own): void {
    this.#own.push(own);
    this.#list = undefined;
  }

  /** It is stored. */
  sent(own: Own, id: string, seq: number): void {
    this.take(own);
    this.#keys.set(seq, own.key);
    if (!this.#kept.has(seq)) {
      const { channel, from, event, data, reply, mentions, time } = own;
      this.#kept.set(seq, { channel, id, seq, event, data, from, time, ...(reply && { reply }), ...(mentions && { mentions }) });
      this.#made.add(seq);
    }
    this.#list = undefined;
  }

  failed(own: Own, error: Error): void {
    own.error = error;
    own.seen = undefined;
    this.#list = undefined;
  }

  /** A message that was sent here by its key, unless it is stored. */
  own(key: string): Own | undefined {
    return this.#own.find((own) => own.key === key);
  }

  /** Takes away one that was refused, or answered in another way. */
  take(own: Own): void {
    const at = this.#own.indexOf(own);
    if (at >= 0) this.#own.splice(at, 1);
    this.#list = undefined;
  }
}

const stub = ({ channel, id, seq, time, from }: Pick<Kept, "channel" | "id" | "seq" | "time"> & { from?: From | undefined }): Kept =>
  ({ channel, id, seq, time, ...(from && { from }), event: "message", data: null, recalled: true });

/** Whether the application sent the one and the server gave the other back, which keeps the order of members. */
function same(a: any, b: any): boolean {
  try {
    return JSON.stringify(a) === JSON.stringify(b);
  } catch {
    return false; // integers that JSON does not know: the answer says it
  }
}
