// A model of the server for documents: a pure function from a state and a frame
// to a state and answers, and links whose frames the test delivers when it likes.

import { SkeinError } from "../../src/error.js";

/** The operations as the specification says them, on a copy; not the client's code. */
export function carryOut(value: any, ops: any[]): { value: any; told: any[] } {
  const box = { "": structuredClone(value ?? undefined) as any };
  const told: any[] = [];
  const bad = (why: string): never => { throw new SkeinError("conflict", why); };
  const isObject = (v: any) => typeof v === "object" && v !== null && !Array.isArray(v);
  const merge = (target: any, patch: any): any => {
    if (!isObject(patch)) return patch;
    const out = isObject(target) ? { ...target } : {};
    for (const [k, v] of Object.entries(patch)) {
      if (v === null) delete out[k];
      else out[k] = merge(out[k], v);
    }
    return out;
  };
  for (const op of ops) {
    const names = ["", ...op.path.split("/").slice(1)];
    const last = names.pop()!;
    // What is missing on the way is made, and taken away again where nothing came to be in it.
    let at: any = box;
    const makes = op.op === "set" || op.op === "inc" || op.op === "append" || (op.op === "merge" && op.value !== null);
    let missing = false;
    for (const name of names) {
      if (missing) break;
      if (at[name] === undefined || (at === box && at[name] === null)) {
        if (makes) at[name] = {};
        else missing = true;
      } else if (!isObject(at[name])) bad("not an object");
      at = at[name];
    }
    const old = missing ? undefined : at[last];
    if (op.op === "set") at[last] = structuredClone(op.value);
    else if (op.op === "remove") {
      if (old === undefined || (old === null && names.length === 0)) bad("missing");
      delete at[last];
    } else if (op.op === "inc") {
      if (typeof (old ?? 0) !== "number") bad("not a number");
      const sum = (old ?? 0) + op.by;
      if ((op.min !== undefined && sum < op.min) || (op.max !== undefined && sum > op.max)) bad("out of bounds");
      at[last] = sum;
      told.push({ op: "inc", path: op.path, by: op.by, value: sum });
      continue;
    } else if (op.op === "append") {
      if (!Array.isArray(old ?? [])) bad("not an array");
      at[last] = [...(old ?? []), op.value];
    } else if (op.op === "merge") {
      if (op.value === null) {
        if (!missing) delete at[last];
      } else at[last] = merge(old, structuredClone(op.value));
    } else if (op.op === "test") {
      if (JSON.stringify(old ?? null) !== JSON.stringify(op.value)) bad("differs");
      continue;
    }
    told.push(op);
  }
  return { value: box[""] ?? null, told };
}

export interface State {
  epoch: string;
  /** Of each version: the value, what was done, who did it with which key. Version 0 is the first. */
  versions: { value: any; ops: any[]; user: string; key: string | undefined }[];
}

export const empty: State = { epoch: "e1", versions: [{ value: null, ops: [], user: "", key: undefined }] };

export const head = (state: State) => state.versions.length - 1;

/** A patch: the new state and its version, or throws the refusal. */
export function patch(state: State, user: string, ops: any[], key?: string, ifVersion?: number): { state: State; version: number; duplicate: boolean } {
  const known = key === undefined ? -1 : state.versions.findIndex((v) => v.key === key && v.user === user);
  if (known >= 0) return { state, version: known, duplicate: true };
  if (ifVersion !== undefined && ifVersion !== head(state)) throw new SkeinError("conflict", "if_version");
  const { value, told } = carryOut(state.versions.at(-1)!.value, ops);
  if (!told.length) return { state, version: head(state), duplicate: false };
  return { state: { ...state, versions: [...state.versions, { value, ops: told, user, key }] }, version: head(state) + 1, duplicate: false };
}

/** The server, with links to one client. What the test does not deliver stays on its way. */
export class Model {
  state = empty;
  /** What was before each reset. */
  past: State[] = [];
  /** The link of the client, while there is one. */
  link: ModelSocket | undefined;
  /** Refuses the next patches with these codes. */
  refusals: string[] = [];
  #links = 0;

  /** For the option `WebSocket`. */
  socket(): new (url: string) => ModelSocket {
    const model = this;
    return class extends ModelSocket {
      constructor() {
        super(model);
      }
    };
  }

  /** Another client's patch; false: it did not fit. */
  other(ops: any[]): boolean {
    try {
      const done = patch(this.state, "ben", ops);
      if (done.state !== this.state) this.#publish(done.state);
      return true;
    } catch {
      return false;
    }
  }

  /** The reader was too slow: it gets the whole value next. */
  snapshot(): void {
    const { link } = this;
    if (!link?.subscribed) return;
    link.down = link.down.filter((text) => !/^\{"type":"patch"/.test(text));
    this.#tell({ type: "snapshot", channel: "doc:x", version: head(this.state), data: this.state.versions.at(-1)!.value });
  }

  /** The link breaks: what is on its way is lost, both ways. */
  cut(): void {
    const { link } = this;
    this.link = undefined;
    if (link) link.onmessage({ data: JSON.stringify({ type: "bye", code: "going_away", message: "", reconnect: true, after: 0 }) });
  }

  /** The history is lost: the document begins anew in another epoch. */
  reset(): void {
    this.cut();
    this.past.push(this.state);
    this.state = { ...empty, epoch: `e${this.past.length + 1}` };
  }

  /** Takes frames of the client off the way; false: there are none. */
  up(): boolean {
    const text = this.link?.up.shift();
    if (text === undefined) return false;
    this.#answer(JSON.parse(text));
    return true;
  }

  /** Brings a frame to the client; false: there is none. */
  down(): boolean {
    const text = this.link?.down.shift();
    if (text === undefined) return false;
    this.link!.onmessage({ data: text });
    return true;
  }

  #tell(frame: any): void {
    this.link!.down.push(JSON.stringify(frame));
  }

  #answer(frame: any): void {
    const { link } = this;
    const id = frame.id;
    if (frame.type === "connect") {
      this.#tell({ type: "welcome", connection: `c${++this.#links}`, user: "ana", heartbeat: 3600, session: {}, time: Date.now() });
    } else if (frame.type === "sub") {
      const version = head(this.state);
      const { since } = frame;
      const recovered = since && since.version <= version && since.epoch === this.state.epoch;
      this.#tell({ type: "ok", id, channel: "doc:x", kind: "doc", epoch: this.state.epoch, version, recovered: since ? Boolean(recovered) : undefined });
      link!.subscribed = true;
      if (recovered) for (let v = since.version + 1; v <= version; v++) this.#show(v);
      else this.snapshot();
    } else if (frame.type === "patch") {
      try {
        const refusal = this.refusals.shift();
        if (refusal) throw new SkeinError(refusal, "no");
        const { state, version, duplicate } = patch(this.state, "ana", frame.ops, frame.key, frame.if_version);
        const answer = { type: "ok", id, version, duplicate: duplicate || undefined };
        // The answer may come before or after the frame.
        if (version % 2) this.#tell(answer);
        if (state !== this.state) this.#publish(state);
        if (!(version % 2)) this.#tell(answer);
      } catch (e) {
        this.#tell({ type: "error", id, code: (e as SkeinError).code, message: (e as Error).message });
      }
    } else this.#tell({ type: "ok", id });
  }

  #publish(state: State): void {
    this.state = state;
    if (this.link?.subscribed) this.#show(head(state));
  }

  #show(version: number): void {
    const { ops, user, key } = this.state.versions[version]!;
    this.#tell({ type: "patch", channel: "doc:x", version, ops, from: { user }, key: user === "ana" ? key : undefined, time: 0 });
  }
}

/** One link, as a WebSocket for the client. */
class ModelSocket {
  readonly up: string[] = [];
  down: string[] = [];
  subscribed = false;
  onopen = () => {};
  onmessage = (_: { data: string }) => {};
  onclose = (_: { code: number }) => {};
  readonly #model: Model;

  constructor(model: Model) {
    this.#model = model;
    queueMicrotask(() => {
      model.link = this;
      this.onopen();
    });
  }

  send(text: string): void {
    this.up.push(text);
  }

  close(): void {
    if (this.#model.link === this) this.#model.link = undefined;
  }
}
