// The list of conversations as far as it is known: pages that were asked for, and
// frames that came at any time before, between and after them. It asks nothing itself.
//
// A page is what the server had at one moment between the question and the answer;
// frames that came in that time may be older or newer than it. So everything that a
// frame has said since the question counts more than the answer: if the answer is the
// newer one, the frame of what it has seen is still to come.
//
// `unread` and `count` of all are said by the first page, and carried on by what frames
// say of the conversations that it had: of those it is known what the page has counted.
// After anything else they are `stale`, and whoever asks the questions asks for the first
// page anew; a conversation in which something was said is on it then.

import type { Entry, Peer } from "./chat-frames.js";
import type { Events, Frame } from "./frames.js";

/** What frames have said of a channel. */
interface Note {
  /** When it was, counted in frames. */
  at: number;
  /** When all members were told, or that it is gone. */
  all: number;
  gone: boolean;
}

/** A page of the list, as the server gives it. */
export interface ListPage {
  conversations: Entry[];
  count: number;
  unread: number;
  next?: string;
}

const unread = ({ seq, read }: Entry): number => Math.max(0, seq - read);

export class Entries<E extends Events = Events, G = any> {
  /** Of all conversations. */
  count = 0;
  /** `count` and `unread` are not sure, or a conversation is missing: the first page has to be asked for. */
  stale = false;
  /** Where the next page begins; undefined: there is none. */
  next: string | undefined;
  /** Channels of which something was heard, and that are not known. */
  readonly strange = new Set<string>();
  #known = new Map<string, Entry>();
  /** Entries that pages of this turn have had: others may be gone, and were not counted. */
  #fresh = new Set<string>();
  /** Those that the first page had. */
  #counted = new Set<string>();
  /** `time` of the last one of all pages; undefined: none was there yet. */
  #floor: number | undefined;
  #total = 0;
  #wanted = new Map<string, number>(); // read here, and not confirmed
  #notes = new Map<string, Note>();
  #online = new Map<string, { at: number; online: boolean }>();
  #clock = 0;
  #turn = 0; // the clock when the present turn began
  #asking = 0;
  #list: readonly Entry<E, G>[] | undefined;

  /** What is shown: down to where pages were asked for, the newest first. */
  get list(): readonly Entry<E, G>[] {
    return (this.#list ??= [...this.#known.values()]
      .filter(({ time }) => this.next === undefined || time >= this.#floor!)
      .sort((a, b) => b.time - a.time || (a.channel < b.channel ? -1 : 1))
      .map((entry) => this.#shown(entry)) as Entry<E, G>[]);
  }

  /** Of all conversations. */
  get unread(): number {
    let sum = this.#total;
    for (const channel of this.#wanted.keys()) {
      const entry = this.#known.get(channel);
      if (entry) sum -= unread(entry) - this.#shown(entry).unread;
    }
    return Math.max(0, sum);
  }

  get(channel: string): Entry<E, G> | undefined {
    const entry = this.#known.get(channel);
    return entry && this.#shown(entry) as Entry<E, G>;
  }

  /** It without what was read here and is not confirmed. */
  known(channel: string): Entry | undefined {
    return this.#known.get(channel);
  }

  #shown(entry: Entry): Entry {
    const wanted = this.#wanted.get(entry.channel) ?? 0;
    if (wanted <= entry.read) return entry;
    const read = Math.min(wanted, entry.seq);
    return { ...entry, read, delivered: Math.max(entry.delivered, read), unread: entry.seq - read };
  }

  /** A question is asked: gives what `page`, `first` and `one` want to know about it. */
  ask(): number {
    this.#asking++;
    return this.#clock;
  }

  /** It was answered, or never will be. */
  asked(): void {
    if (--this.#asking) return;
    this.#notes.clear();
    this.#online.clear();
  }

  /** All pages are asked for anew. Until `settle` nothing that is shown is taken away. */
  begin(): void {
    this.#fresh.clear();
    this.#counted.clear();
    this.strange.clear();
    this.#turn = this.#clock;
  }

  /** Whether the pages of this turn reach as far down as those before. */
  covers(page: ListPage): boolean {
    const last = page.conversations.at(-1);
    return page.next === undefined || !last || this.#floor === undefined || last.time < this.#floor;
  }

  /**
   * The pages of this turn are there, `last` is the last of them. What none of them
   * had is no conversation of the user any more, unless a frame has told of it
   * meanwhile or somebody wants to keep it: then it is to be asked for.
   */
  settle(last: ListPage, keep: (channel: string) => boolean): void {
    this.#down(last);
    for (const channel of [...this.#known.keys()]) {
      if (this.#fresh.has(channel)) continue;
      if (this.#notes.get(channel)?.at! > this.#turn || keep(channel)) this.strange.add(channel);
      else this.#forget(channel);
    }
  }

  /** The first page. */
  first(page: ListPage, asked: number): void {
    this.count = page.count;
    this.#total = page.unread;
    this.stale = false;
    this.#list = undefined;
    this.#counted.clear();
    for (const entry of page.conversations) {
      const merged = this.#merge(entry, asked);
      if (merged) {
        if (!this.strange.has(entry.channel)) this.#counted.add(entry.channel);
        this.#total += unread(merged) - unread(entry); // a frame was faster
      } else {
        this.count--; // it is gone since
        this.#total -= unread(entry);
      }
    }
    // What else has come meanwhile may be in the numbers, or not.
    for (const [channel, { at }] of this.#notes) if (at > asked && !this.#counted.has(channel)) this.stale = true;
  }

  /** A page that is not the first one. */
  page(page: ListPage, asked: number): void {
    for (const entry of page.conversations) this.#merge(entry, asked);
  }

  /** `page` was asked for because somebody wants to see more. */
  more(page: ListPage, asked: number): void {
    this.page(page, asked);
    this.#down(page);
  }

  #down(page: ListPage): void {
    this.next = page.next;
    this.#floor = page.conversations.at(-1)?.time ?? this.#floor;
    this.#list = undefined;
  }

  /** One entry that was asked for. */
  one(entry: Entry, asked: number): void {
    this.#merge(entry, asked);
  }

  /** It is no conversation of the user, unless a frame has said so meanwhile. */
  none(channel: string, asked = Infinity): void {
    this.strange.delete(channel);
    if (!(this.#notes.get(channel)?.at! > asked)) this.#forget(channel);
  }

  #forget(channel: string): void {
    this.#known.delete(channel);
    this.#fresh.delete(channel);
    this.#counted.delete(channel);
    this.#wanted.delete(channel);
    this.#list = undefined;
  }

  /** Joins an answer with what frames have said since it was asked for; undefined: it is gone. */
  #merge(given: Entry, asked: number): Entry | undefined {
    const { channel } = given;
    const note = this.#notes.get(channel);
    const told = note !== undefined && note.at > asked;
    if (told && note.gone) return undefined;
    const known = this.#known.get(channel);
    // What a frame said of one that was not known is lost: it has to be asked for once more.
    if (told && !known) this.strange.add(channel);
    else this.strange.delete(channel);
    this.#fresh.add(channel);
    let entry: Entry = { ...given };
    if (known && known.epoch === entry.epoch) {
      if (told && note.all > asked) entry = { ...known, seq: given.seq, time: given.time, last: given.last };
      if (known.seq > given.seq || (told && known.seq === given.seq)) entry = newest(entry, known);
      entry.read = Math.max(known.read, given.read);
      entry.delivered = Math.max(known.delivered, given.delivered);
      entry.peer = peer(given.peer && { ...given.peer, ...(told && note.all > asked && { blocked: known.peer?.blocked }) }, known.peer);
    }
    const online = entry.peer && this.#online.get(entry.peer.user);
    if (online && online.at > asked) entry.peer = { ...entry.peer!, online: online.online };
    return this.#put(entry);
  }

  #put(entry: Entry): Entry {
    entry.unread = unread(entry);
    for (const name of ["last", "peer", "data", "join"] as const) if (entry[name] === undefined) delete entry[name];
    if (entry.peer && entry.peer.blocked === undefined) delete entry.peer.blocked;
    if (this.#wanted.get(entry.channel)! <= entry.read) this.#wanted.delete(entry.channel);
    this.#known.set(entry.channel, entry);
    this.#list = undefined;
    return entry;
  }

  /** An entry after a frame: the sum goes with it where it is known to have counted it. */
  #step(known: Entry, entry: Entry): void {
    const by = unread(this.#put(entry)) - unread(known);
    if (this.#counted.has(entry.channel)) this.#total += by;
    else this.stale = true;
  }

  #note(channel: string, all: boolean, gone = false): void {
    const at = ++this.#clock;
    if (this.#asking) this.#notes.set(channel, { at, all: all ? at : this.#notes.get(channel)?.all ?? 0, gone });
  }

  /** Takes a `conversation` frame. `me` is the user. Tells whether something has changed. */
  conversation(frame: Frame, me: string | undefined): boolean {
    const { channel } = frame;
    const known = this.#known.get(channel);
    if (frame.gone) {
      this.#note(channel, true, true);
      this.strange.delete(channel);
      if (known && this.#counted.has(channel)) {
        this.#total -= unread(known);
        this.count--;
      } else this.stale = true;
      this.#forget(channel);
      return true;
    }
    const { type, ...entry } = frame as unknown as Entry & { type: string };
    const all = entry.role !== undefined;
    this.#note(channel, all);
    if (!known) {
      this.stale = true;
      if (all) this.#put(entry);
      else this.strange.add(channel);
      return all;
    }
    // A channel that has begun anew counts from the beginning.
    const same = entry.epoch === undefined || entry.epoch === known.epoch;
    if (same && entry.seq < known.seq) {
      if (!all) return false;
      Object.assign(entry, { seq: known.seq, time: known.time, last: known.last });
    }
    let next: Entry = { ...known, members: entry.members ?? known.members };
    if (all) next = { ...entry };
    else if (!same || entry.seq > known.hidden) {
      Object.assign(next, { seq: entry.seq, time: entry.time ?? known.time, last: entry.last, epoch: entry.epoch ?? known.epoch });
    }
    if (same) {
      next.read = Math.max(known.read, next.read);
      next.delivered = Math.max(known.delivered, next.delivered);
      next.peer = peer(next.peer, known.peer);
    }
    // Who writes has read what is before.
    const { user } = next.last?.from ?? {};
    if (user !== undefined && user === me) next = marked(next, next.last!.seq, next.last!.seq);
    else if (next.peer && user === next.peer.user) next.peer = peer(next.peer, { user, read: next.last!.seq, delivered: next.last!.seq });
    this.#step(known, next);
    return true;
  }

  /** Takes a `mark` frame, or the answer to one's own. Tells whether something has changed. */
  mark({ channel, user, read = 0, delivered = 0 }: { channel: string; user: string; read?: number; delivered?: number }, me: string | undefined): boolean {
    const known = this.#known.get(channel);
    if (user === me) {
      this.#note(channel, false);
      if (!known) this.stale = true;
      else this.#step(known, marked(known, read, delivered));
      return known !== undefined;
    }
    if (!known) this.#note(channel, false);
    if (known?.peer?.user !== user) return false;
    this.#put({ ...known, peer: peer(known.peer, { user, read, delivered }) } as Entry);
    return true;
  }

  /** Takes an `online` frame. */
  online({ user, online }: { user: string; online: boolean }): boolean {
    if (this.#asking) this.#online.set(user, { at: ++this.#clock, online });
    let changed = false;
    for (const entry of [...this.#known.values()]) {
      if (entry.peer?.user !== user) continue;
      this.#put({ ...entry, peer: { ...entry.peer, online } });
      changed = true;
    }
    return changed;
  }

  /** The user has blocked somebody here, or no longer does. */
  block(user: string, blocked: boolean): void {
    for (const entry of [...this.#known.values()]) {
      if (entry.peer?.user === user) this.#put({ ...entry, peer: { ...entry.peer, blocked: blocked || undefined } as Peer });
    }
  }

  /** The user has read up to here; it is shown at once. */
  want(channel: string, read: number): void {
    if (!(this.#wanted.get(channel)! >= read)) this.#wanted.set(channel, read);
    this.#list = undefined;
  }

  /** That was refused. */
  unwant(channel: string): void {
    this.#wanted.delete(channel);
    this.#list = undefined;
  }
}

/** An entry with what another one knows of the newest message. */
const newest = (entry: Entry, { seq, time, last }: Entry): Entry => ({ ...entry, seq, time, last } as Entry);

const marked = (entry: Entry, read: number, delivered: number): Entry => {
  const most = Math.max(entry.read, read);
  return { ...entry, read: most, delivered: Math.max(entry.delivered, delivered, most) };
};

/** Marks only grow. */
const peer = (given: Peer | undefined, known: Peer | undefined): Peer | undefined =>
  given && (known?.user === given.user ? { ...given, read: Math.max(given.read, known.read), delivered: Math.max(given.delivered, known.delivered) } : given);
