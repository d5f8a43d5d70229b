// One document: the server's value, and over it what this client has changed and
// the server has not answered yet.

import type { Channel } from "./channel.js";
import { SkeinError } from "./error.js";
import type { Frame, From } from "./frames.js";
import { Handle } from "./handle.js";
import { apply, reuse, type Op } from "./ops.js";
import { key } from "./random.js";
import type { Skein } from "./skein.js";

/** How a document has come to its present value. */
export interface Change<T = any> {
  value: T | undefined;
  /** The server's version below; undefined: it has not come yet. */
  version: number | undefined;
  /** Who made the version; absent after a snapshot and for what the server did. */
  from?: From;
  /** What was done; absent after a snapshot and when a patch was taken back. */
  ops?: Op[];
  /** This client's own patch, or its end. */
  local: boolean;
}

export interface DocumentEvents<T = any> {
  change: Change<T>;
  error: SkeinError;
}

interface Pending {
  ops: Op[];
  key: string;
  resolve: (version: number) => void;
  version?: number; // the answer
}

export class Document<T = any> extends Handle<DocumentEvents<T>> {
  /** The channel below: notices, and who is there. */
  readonly channel: Channel;
  /** What the application sees: the server's value and what is pending. Never change it in place. Undefined until it has come. */
  value: T | undefined;
  /** The server's value. */
  base: T | undefined;
  /** The server's version. */
  version: number | undefined;
  #epoch: string | undefined;
  #pending: Pending[] = [];
  #following = false;
  #torn = false; // a new snapshot was asked for

  /** @internal */
  constructor(skein: Skein, name: string) {
    super(skein, name);
    this.channel = skein.channel(name);
  }

  /** How many patches the server has not answered, or not shown in a version yet. */
  get pending(): number {
    return this.#pending.length;
  }

  /**
   * Changes the document: all operations or none. The value changes at once;
   * the promise resolves with the version, or is rejected with the refusal after
   * the change was taken back. `ifVersion`: only if this is the version.
   */
  patch(ops: Op[], options: { ifVersion?: number } = {}): Promise<number> {
    return new Promise((resolve, reject) => {
      const { _options: { stringify = JSON.stringify, parse = JSON.parse }, state, error } = this._skein;
      if (state === "closed") return reject(error);
      // A copy: the caller may go on to change its objects.
      const patch: Pending = { ops: parse(stringify(ops)), key: key(), resolve };
      let { value } = this;
      try {
        if (!ops.length) throw new SkeinError("bad_request", "ops: are none");
        value = apply(value, patch.ops);
      } catch (error) {
        if ((error as SkeinError).code === "bad_request") return reject(error);
        // It does not fit here; the server may know better.
      }
      this.#pending.push(patch);
      if (this.version !== undefined) this.#show(value, { local: true, ops: patch.ops });
      this._skein._ask({ type: "patch", channel: this.name, ops: patch.ops, key: patch.key, if_version: options.ifVersion }, (error, ok) => {
        if (!error) this.#accepted(patch, ok.version);
        else if (!patch.version) { // else its own frame came before the connection was lost
          this.#end(patch);
          reject(error);
        }
      }, true);
    });
  }

  set(path: string, value: unknown): Promise<number> {
    return this.patch([{ op: "set", path, value }]);
  }

  remove(path: string): Promise<number> {
    return this.patch([{ op: "remove", path }]);
  }

  /** Adds to a number; what would leave the bounds is refused. */
  inc(path: string, by: number | bigint = 1, bounds: { min?: number; max?: number } = {}): Promise<number> {
    return this.patch([{ op: "inc", path, by, ...bounds }]);
  }

  append(path: string, value: unknown): Promise<number> {
    return this.patch([{ op: "append", path, value }]);
  }

  /** Merges as RFC 7396 says. */
  merge(path: string, value: unknown): Promise<number> {
    return this.patch([{ op: "merge", path, value }]);
  }

  /** Resolves when the server has this value there; rejects with `conflict` when it has another. */
  test(path: string, value: unknown): Promise<number> {
    return this.patch([{ op: "test", path, value }]);
  }

  /** @internal */
  _start(): void {
    if (this.#following) return;
    this.#following = true;
    this.channel._anew(); // somebody may have the channel already, and its snapshot has gone by
    this._follow(this.channel, {
      open: ({ epoch }) => {
        this.#torn = false;
        this.#era(epoch);
      },
      snapshot: (frame) => this.#snapshot(frame),
      patch: (frame) => this.#patched(frame),
    });
  }

  /** @internal */
  _stop(): void {
    this._unfollow();
    this.#following = false;
    this.base = this.value = this.version = undefined;
    this.#settle();
  }

  #snapshot(frame: Frame): void {
    this.#era(frame.epoch ?? this.#epoch);
    this.#advance(frame.version, reuse(this.base, frame.data), { local: false });
    this._opened();
  }

  /** In another epoch the versions that are known mean nothing. */
  #era(epoch: string | undefined): void {
    if (epoch !== this.#epoch) this.#settle();
    this.#epoch = epoch;
  }

  #patched({ version, ops, from, key }: Frame): void {
    if (this.#torn || this.version === undefined || version <= this.version) return;
    let { base } = this;
    try {
      if (version !== this.version + 1) throw version;
      base = apply(base, ops);
    } catch {
      // It cannot be: something is missing. The whole value puts it right.
      this.#torn = true;
      return this.channel._anew();
    }
    const own = this.#pending.find((patch) => patch.key === key);
    if (own) this.#done(own, version);
    this.#advance(version, base, { from, ops, local: !!own });
  }

  /** Takes a value of the server, and carries out over it what is still pending. */
  #advance(version: number, base: any, how: Omit<Change<T>, "value" | "version">): void {
    this.version = version;
    this.base = base;
    this.channel._place = { version, epoch: this.#epoch };
    this.#settle(version);
    this.#render(how);
  }

  /** Forgets patches that are in a version up to this one, or in any. */
  #settle(version = Infinity): void {
    this.#pending = this.#pending.filter((patch) => !(patch.version! <= version));
  }

  #render(how: Omit<Change<T>, "value" | "version">): void {
    let value: any = this.base;
    for (const { ops } of this.#pending) {
      try {
        value = apply(value, ops);
      } catch {
        // It does not fit any more: not shown, but the server has the last word.
      }
    }
    this.#show(value, how);
  }

  #show(value: any, how: Omit<Change<T>, "value" | "version">): void {
    this.value = reuse(this.value, value);
    if (!this.#pending.length) this.base = this.value; // one object, not two that are equal
    this._emit("change", { value: this.value, version: this.version, ...how });
  }

  #done(patch: Pending, version: number): void {
    patch.version = version;
    patch.resolve(version);
  }

  #accepted(patch: Pending, version: number): void {
    this.#done(patch, version);
    // It stays in the value until the version that has it is there, if one will come.
    if (!this.channel._ready || !this._uses.size || this.version! >= version) this.#end(patch);
  }

  #end(patch: Pending): void {
    const i = this.#pending.indexOf(patch);
    if (i < 0) return;
    this.#pending.splice(i, 1);
    if (this.version !== undefined) this.#render({ local: true });
  }
}
