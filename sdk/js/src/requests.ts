// Frames that are answered. Some go at once and are tried once; others, which may
// be repeated, go in order and no faster than the server takes them.

import { SkeinError } from "./error.js";
import type { Frame } from "./frames.js";

/** Called once, with an error or the answer, before the next frame is handled. */
export type Done = (error: SkeinError | undefined, ok: Frame) => void;

interface Request {
  /** The order in which they were asked; subscriptions come before all others, which may need them. */
  n: number;
  frame: Frame;
  done: Done;
  /** It may be sent again when the server says that waiting helps; with a key also after a lost connection. */
  again: boolean;
  /** Who sent it first: the key is known as this one's alone. */
  as?: string;
  size?: number;
}

/** How many frames may wait. */
const bound = 1000;
/** How many that may be repeated are on their way at most. */
const widest = 64;

const lost = () => new SkeinError("unavailable", "the connection was lost before the answer");

export class Requests {
  readonly #send: (frame: Frame) => number;
  #asked = 0;
  #ids = 0;
  #sent = new Map<number, Request>();
  #queue: Request[] = [];
  #flying = 0; // of those that may be repeated
  #width = widest;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #identity: string | undefined; // undefined: not connected
  #over: SkeinError | undefined;

  /** `send` tells how long the text of the frame is. */
  constructor(send: (frame: Frame) => number) {
    this.#send = send;
  }

  ask(frame: Frame, done: Done, again: boolean): void {
    const request: Request = { n: /sub$/.test(frame.type) ? 0 : ++this.#asked, frame, done, again };
    if (this.#over) done(this.#over, frame);
    else if (!again && this.#identity) this.#go(request);
    else if (this.#queue.length < bound) {
      this.#line(request);
      this.#pump();
    } else done(new SkeinError("unavailable", `${bound} frames wait already`), frame);
  }

  #pump(): void {
    while (this.#identity && !this.#pause && this.#flying < this.#width && this.#queue.length) this.#go(this.#queue.shift()!);
  }

  #go(request: Request): void {
    const { frame, done, again, as } = request;
    if (as && as !== this.#identity) {
      return done(lost(), frame);
    }
    const id = ++this.#ids;
    if (again) this.#flying++;
    this.#sent.set(id, request);
    request.size = this.#send({ ...frame, id });
  }

  /** Takes an answer; false: nobody waits for it. */
  answer({ id, ...frame }: Frame): boolean {
    const request = this.#sent.get(id);
    if (!request) return false;
    this.#sent.delete(id);
    const error = frame.type === "error"
      ? new SkeinError(frame.code, frame.message, frame.retry_after, frame.channel ?? request.frame.channel)
      : undefined;
    if (request.again) {
      this.#flying--;
      if (error?.retryAfter !== undefined) {
        // It was not carried out, unless the server cannot tell: then the key does.
        this.#back(request);
        this.#wait(error.retryAfter);
        return true;
      }
      this.#width = Math.min(this.#width + 1, widest);
    }
    request.done(error, frame);
    this.#pump();
    return true;
  }

  #back(request: Request): void {
    if (request.frame.key) request.as = this.#identity!;
    this.#line(request);
  }

  #line(request: Request): void {
    this.#queue.push(request);
    this.#queue.sort((a, b) => a.n - b.n);
  }

  /** Lets the server rest, and goes on with half as many at a time: all that were on their way come back refused. */
  #wait(time: number): void {
    if (this.#pause) return;
    this.#width = Math.ceil(this.#width / 2);
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#pump();
    }, time + 250 * (1 + Math.random()));
  }

  /** The connection is up, as this identity. */
  up(identity: string): void {
    this.#identity = identity;
    const queue = this.#queue.splice(0);
    for (const request of queue) if (!request.again) this.#go(request);
    this.#queue.push(...queue.filter(({ again }) => again));
    this.#pump();
  }

  /** The connection is lost, and for good with `over`. */
  down(error: SkeinError, over: boolean): void {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#flying = 0;
    if (over) {
      this.#over = error;
      sent.push(...this.#queue.splice(0));
    }
    // The server closed because a frame was too large: the largest will be it.
    // To send it again would end the next connection as well.
    const guilty = error.code === "too_large" && Math.max(...sent.map(({ size }) => size!));
    for (const request of sent) {
      if (over || request.size === guilty) request.done(error, request.frame);
      else if (request.frame.key) this.#back(request);
      else request.done(lost(), request.frame);
    }
    this.#identity = undefined;
  }
}
