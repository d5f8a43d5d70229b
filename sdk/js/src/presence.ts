// Who is in a channel: asked once, and followed by who comes and goes.

import type { Channel } from "./channel.js";
import type { SkeinError } from "./error.js";
import type { Crowd, Visit } from "./frames.js";
import { Handle } from "./handle.js";
import type { Skein } from "./skein.js";

/** A user in a channel, or an anonymous connection. */
export interface Member {
  user?: string;
  connections: number;
  data?: any;
}

export interface PresenceEvents {
  /** Somebody came, went or shows something else; also the first list. */
  change: Presence;
  join: Visit;
  leave: Visit;
  error: SkeinError;
}

interface Entry {
  member: Member;
  /** Connections that are known by name; the list itself has only their number. */
  known: Set<string>;
}

export class Presence extends Handle<PresenceEvents> {
  readonly channel: Channel;
  /** Who is there; the same array until it changes. Empty when the channel is large, or shows no more than counts. */
  members: readonly Member[] = [];
  connections = 0;
  users = 0;
  /** There are too many for a list: only the numbers are kept. */
  large = false;
  #entries = new Map<string, Entry>();
  #unwatch: (() => void) | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #shown: unknown; // what this client shows of itself

  /** @internal */
  constructor(skein: Skein, name: string) {
    super(skein, name);
    this.channel = skein.channel(name);
  }

  /** Shows something of oneself in the channel, again after each lost connection; null takes it back. */
  async set(data: unknown): Promise<void> {
    this.#shown = data ?? null;
    await this.open();
    await this.#ask();
  }

  /** Asks anew. Needed only where the server shows no more than counts, or the channel is not open. */
  refresh(): Promise<this> {
    return this.#ask();
  }

  /** @internal */
  _start(): void {
    if (this.#unwatch) return;
    this.#unwatch = this.channel._watch();
    this._follow(this.channel, {
      open: () => void this.#ask().catch((error) => this._fail(error, !this._skein._up)),
      join: (visit) => this.#visit("join", visit),
      leave: (visit) => this.#visit("leave", visit),
      presence: (crowd) => {
        this.#entries.clear();
        this.#count(crowd);
        if (!crowd.large) this.#soon();
      },
    });
  }

  /** @internal */
  _stop(): void {
    clearTimeout(this.#again);
    this.#unwatch?.();
    this.#unwatch = undefined;
    this._unfollow();
  }

  async #ask(): Promise<this> {
    const ok = await this._skein.request({ type: "presence", channel: this.name, data: this.#unwatch && this.#shown }, true);
    const before = this.#entries;
    this.#entries = new Map();
    for (const member of (ok.members ?? []) as Member[]) {
      const id = member.user ? `=${member.user}` : `#${this.#entries.size}`;
      this.#entries.set(id, { member, known: before.get(id)?.known ?? new Set() });
    }
    this.#count(ok as unknown as Crowd);
    this._opened();
    return this;
  }

  #count({ connections, users, large }: Crowd): void {
    this.connections = connections;
    this.users = users;
    this.large = !!large;
    this.#changed();
  }

  #visit(event: "join" | "leave", visit: Visit): void {
    const { user, connection } = visit;
    const id = user ? `=${user}` : connection;
    const { member, known } = this.#entries.get(id) ?? { member: { user, connections: 0 }, known: new Set<string>() };
    const before = member.connections;
    const unnamed = before > known.size;
    const named = known.delete(connection);
    let step = 0;
    if (event === "join") {
      known.add(connection);
      if (!named) {
        step = 1;
        // A new one, or one that the list has by number alone and that shows something else now.
        if (unnamed) this.#soon();
      }
    } else if (named || unnamed) step = -1;
    else this.#soon(); // an anonymous one of the list, but which?
    const connections = before + step;
    this.#entries.set(id, { member: { ...member, connections, ...(event === "join" && { data: visit.data }) }, known });
    if (!connections) this.#entries.delete(id);
    this.connections += step;
    if (user) this.users += +(connections > 0) - +(before > 0);
    this.#changed();
    this._emit(event, visit);
  }

  #changed(): void {
    this.members = Array.from(this.#entries.values(), ({ member }) => member);
    this._emit("change", this);
  }

  /** Asks again in a moment, once for all doubts that come up until then. */
  #soon(): void {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => void this.#ask().catch(() => {}), 500 + 500 * Math.random());
  }
}
