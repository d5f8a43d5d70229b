// What was sent to the user for good: it comes until a device acknowledges it.

import { Emitter } from "./emitter.js";
import type { SkeinError } from "./error.js";
import type { Frame, Held, InboxHead, InboxMessage, InboxPage, InboxQuery, InboxState, Recall } from "./frames.js";
import type { Skein } from "./skein.js";

export interface InboxEvents {
  /** The message is acknowledged when all listeners are done with it; one that fails leaves it to come again. */
  message: InboxMessage;
  recall: Recall;
  /** Another device of the user has read further. */
  mark: InboxState;
  /** After a connect: so many messages wait to be read that may not come by themselves. */
  held: Held;
  error: SkeinError;
}

/** How many handled messages are remembered, for those that come again. */
const remembered = 1000;

export class Inbox extends Emitter<InboxEvents> {
  readonly #skein: Skein;
  #waiting = new Map<string, Frame>(); // came before anybody listened
  #busy = new Set<string>();
  #done = new Set<string>();
  #acks: string[] = [];

  /** @internal */
  constructor(skein: Skein) {
    super();
    this.#skein = skein;
    skein.on("welcome", () => this.#waiting.clear()); // it comes again, unless it was recalled or another device has had it
  }

  /** Listens. A listener may return a promise: the message is acknowledged when it resolves. */
  override on<K extends keyof InboxEvents>(event: K, listener: (value: InboxEvents[K]) => unknown): () => void {
    const off = super.on(event, listener);
    if (event === "message") {
      for (const frame of this.#waiting.values()) this.#waiting.delete(frame.id) && this._take(frame);
    }
    return off;
  }

  /** Acknowledges all up to a seq, or some by their ids. Listeners do it by themselves. */
  async ack(which: number | string[]): Promise<void> {
    await this.#ask("ack", typeof which === "number" ? { seq: which } : { messages: which });
  }

  /** Marks everything up to a seq as read, on all devices: what was read is acknowledged, too. The mark never goes back. */
  read(seq: number): Promise<InboxState> {
    return this.#ask("mark", { read: seq });
  }

  /** A page of the inbox, as of a log channel; with `unread` only what was not read. It acknowledges nothing. */
  history(query?: InboxQuery): Promise<InboxPage> {
    return this.#ask("history", query);
  }

  /**
   * Asks for the newest so many messages (at most 500), whatever became of them; with `unread` for those that were not read.
   * They come to the listeners, but for what this client has handed out before.
   */
  latest(last: number, options?: { unread?: boolean }): Promise<InboxHead> {
    return this.#ask("sub", { last, ...options });
  }

  /** Lets messages of a category no longer come by themselves, on any device, or come again. Resolves with all that are muted. */
  async mute(category: string, muted = true): Promise<string[]> {
    return (await this.#ask("mute", { category, muted })).muted;
  }

  /** The categories that the user has muted. */
  async muted(): Promise<string[]> {
    return (await this.#ask("mute")).muted;
  }

  #ask(type: string, frame?: object): Promise<any> {
    return this.#skein.request({ type, channel: "@inbox", ...frame }, true);
  }

  /** @internal */
  _take(frame: Frame): void {
    const { id, type } = frame;
    if (type !== "msg") {
      this.#waiting.delete(id); // of a recall
      return void (type === "notice" ? this._emit(frame.event, frame.data) : this._emit(type as "mark", frame as any));
    }
    if (this.#busy.has(id)) return;
    const listeners = this._listeners("message");
    if (this.#done.has(id)) this.#acknowledge(id); // the first acknowledgement was lost
    else if (!listeners.length) {
      for (const old of this.#waiting.values()) {
        // What this one takes the place of is done with: it must not come again after it.
        if (old.seq < frame.seq && old.collapse && old.collapse === frame.collapse && old.category === frame.category) {
          this.#finish(old.id);
        }
      }
      if (this.#waiting.size < remembered) this.#waiting.set(id, frame);
    } else {
      this.#busy.add(id);
      Promise.all(listeners.map(async (listener) => listener(frame)))
        .then(() => this.#finish(id), (error) => queueMicrotask(() => { throw error; }))
        .finally(() => this.#busy.delete(id));
    }
  }

  #finish(id: string): void {
    this.#waiting.delete(id);
    this.#done.add(id);
    if (this.#done.size > remembered) this.#done.delete(this.#done.values().next().value!);
    this.#acknowledge(id);
  }

  /** Acknowledgements of a moment go together: there is a limit of frames. */
  #acknowledge(id: string): void {
    if (this.#acks.push(id) > 1) return;
    setTimeout(() => {
      const ids = this.#acks.splice(0);
      // What is not acknowledged comes again, and is known then.
      if (this.#skein._up) this.ack(ids).catch((error) => this._emit("error", error) || this.#skein._emit("error", error));
    }, 50);
  }
}
