// A model of the inbox of one user, as a server keeps it, and links to clients.

export interface Letter {
  id: string;
  seq: number;
  data: unknown;
  category?: string;
  collapse?: string;
}

export class Model {
  readonly messages: Letter[] = [];
  readonly acked = new Set<string>();
  readonly sent = new Set<string>();
  readonly recalled = new Set<string>();
  readonly muted = new Set<string>();
  readonly categories = ["news", "orders", "promo"];
  /** The mark. */
  read = 0;
  /** Frames of the clients. */
  heard: any[] = [];
  /** True: acknowledgements are lost on their way. */
  deaf = false;
  #links = new Set<(frame: object) => void>();

  /** Stores a message and sends it to all who are there. */
  push(data: unknown, more: { category?: string; collapse?: string; expires?: number } = {}): Letter {
    const seq = this.messages.length + 1;
    const letter: Letter = { id: `m${seq}`, seq, data, ...more };
    // What was sent to nobody yet never will be; of what was, the devices know.
    for (const old of this.open) if (replaces(letter, old) && !this.sent.has(old.id)) this.recalled.add(old.id);
    this.messages.push(letter);
    if (!this.muted.has(letter.category!)) this.#send(letter, (frame) => this.tell(frame));
    return letter;
  }

  recall({ id, seq }: Letter): void {
    if (this.acked.has(id) || this.recalled.has(id)) return;
    this.recalled.add(id);
    this.tell({ type: "recall", channel: "@inbox", seq, id });
  }

  /** What nobody has acknowledged. */
  get open(): Letter[] {
    return this.there.filter(({ id }) => !this.acked.has(id));
  }

  /** What the history shows. */
  get there(): Letter[] {
    return this.messages.filter(({ id }) => !this.recalled.has(id));
  }

  get unread(): number {
    return this.there.filter(({ seq }) => seq > this.read).length;
  }

  /** Sends everything again that was not acknowledged. */
  again(tell = (frame: object) => this.tell(frame)): void {
    for (const letter of this.open) if (!this.muted.has(letter.category!)) this.#send(letter, tell);
  }

  #send(letter: Letter, tell: (frame: object) => void): void {
    if (this.#links.size) this.sent.add(letter.id);
    tell(message(letter));
  }

  cut(): void {
    const links = [...this.#links];
    this.#links.clear();
    for (const tell of links) tell({ type: "bye", code: "going_away", message: "", reconnect: true, after: 0 });
  }

  /** To all who are there, but for one. */
  tell(frame: object, but?: (frame: object) => void): void {
    for (const tell of this.#links) if (tell !== but) tell(frame);
  }

  #ack(fits: (letter: Letter) => boolean): number {
    const ids = this.open.filter(fits).map(({ id }) => id);
    for (const id of ids) this.acked.add(id);
    return ids.length;
  }

  /** The answer to a frame; what is to follow it goes into `then`. */
  #answer(frame: any, tell: (frame: object) => void, then: object[]): object | undefined {
    const seq = this.messages.length;
    const state = () => ({ read: this.read, unread: this.unread });
    switch (frame.type) {
      case "ack":
        return this.deaf ? undefined : { acked: this.#ack(({ id, seq }) => frame.messages?.includes(id) || seq <= frame.seq) };
      case "mark": {
        const before = this.read;
        this.read = Math.max(before, Math.min(frame.read, seq));
        this.#ack(({ seq }) => seq <= this.read);
        if (this.read > before) this.tell({ type: "mark", channel: "@inbox", user: "ana", ...state() }, tell);
        return state();
      }
      case "history": {
        const { before = Infinity, after, limit = 50, unread } = frame;
        const fit = this.there.filter((m) => m.seq < before && m.seq > (after ?? 0) && (!unread || m.seq > this.read));
        const page = after === undefined ? fit.slice(-limit) : fit.slice(0, limit);
        const messages = page.map((m) => ({
          ...message(m), outcome: this.acked.has(m.id) ? "delivered" : "sent", ...(m.seq <= this.read && { read: true }),
        }));
        return { messages, more: fit.length > page.length, epoch: "e", seq, ...state() };
      }
      case "sub": {
        const { unread, last = unread ? 100 : 0 } = frame;
        const fit = this.there.filter((m) => !unread || m.seq > this.read);
        then.push(...(last ? fit.slice(-last) : []).map(message));
        return { channel: "@inbox", kind: "log", epoch: "e", seq, ...state() };
      }
      case "mute":
        if (frame.category !== undefined) {
          if (!this.categories.includes(frame.category)) return { type: "error", code: "not_found", message: "category: there is none of this name" };
          if (frame.muted) this.muted.add(frame.category);
          else this.muted.delete(frame.category);
        }
        return { muted: [...this.muted].sort() };
    }
    return undefined;
  }

  /** A WebSocket class whose server is this. */
  socket() {
    const model = this;
    return class {
      onopen = () => {};
      onmessage = (_: { data: string }) => {};
      onclose = () => {};
      #open = true;
      #tell = (frame: object) => queueMicrotask(() => this.#open && this.onmessage({ data: JSON.stringify(frame) }));

      constructor(_: string) {
        queueMicrotask(() => this.onopen());
      }

      send(text: string): void {
        const frame = JSON.parse(text);
        model.heard.push(frame);
        if (frame.type === "connect") {
          model.#links.add(this.#tell);
          this.#tell({ type: "welcome", connection: "c", user: "ana", heartbeat: 3600, session: {}, time: Date.now() });
          model.again(this.#tell);
          return;
        }
        const then: object[] = [];
        const answer = model.#answer(frame, this.#tell, then);
        if (answer) for (const next of [{ type: "ok", id: frame.id, ...answer }, ...then]) this.#tell(next);
      }

      close(): void {
        this.#open = false;
        model.#links.delete(this.#tell);
      }
    };
  }
}

/** Whether the first takes the place of the second. */
export const replaces = (letter: Letter, old: Letter): boolean =>
  old.collapse !== undefined && old.collapse === letter.collapse && old.category === letter.category && old.seq < letter.seq;

const message = (letter: Letter) => ({ type: "msg", channel: "@inbox", event: "message", time: 0, ...letter });
