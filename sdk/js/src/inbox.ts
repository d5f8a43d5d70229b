// What was sent to the user for good: it comes until a device acknowledges it.

import { Emitter } from "./emitter.js";
import type { SkeinError } from "./error.js";
import type { Frame, Message, Recall } from "./frames.js";
import type { Skein } from "./skein.js";

export interface InboxEvents {
  /** The message is acknowledged when all listeners are done with it; one that fails leaves it to come again. */
  message: Message;
  recall: Recall;
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
  }

  /** Listens. A listener may return a promise: the message is acknowledged when it resolves. */
  override on<K extends keyof InboxEvents>(event: K, listener: (value: InboxEvents[K]) => unknown): () => void {
    const off = super.on(event, listener);
    if (event === "message") {
      for (const [id, frame] of this.#waiting) this.#waiting.delete(id) && this._take(frame);
    }
    return off;
  }

  /** Acknowledges all up to a seq, or some by their ids. Listeners do it by themselves. */
  async ack(which: number | string[]): Promise<void> {
    await this.#skein._request({ type: "ack", ...(typeof which === "number" ? { seq: which } : { messages: which }) });
  }

  /** @internal */
  _take(frame: Frame): void {
    const { id, type } = frame;
    if (type === "recall") this._emit("recall", frame as any);
    if (type !== "msg" || this.#busy.has(id)) return;
    const listeners = this._listeners("message");
    if (this.#done.has(id)) this.#acknowledge(id); // the first acknowledgement was lost
    else if (!listeners.length) {
      if (this.#waiting.size < remembered) this.#waiting.set(id, frame);
    } else {
      this.#busy.add(id);
      Promise.all(listeners.map(async (listener) => listener(frame))).then(() => {
        this.#done.add(id);
        for (const old of this.#done) if (this.#done.size > remembered) this.#done.delete(old);
        this.#acknowledge(id);
      }, (error) => queueMicrotask(() => { throw error; })).finally(() => this.#busy.delete(id));
    }
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
