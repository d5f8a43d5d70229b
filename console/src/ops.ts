// Operations on documents, as the server carries them out: what an edit amounts to, what a
// version has changed, and what taking it back would change.

import { equal, Exact, format, parse, type Json } from "./json.ts";

export interface Op {
  op: "set" | "remove" | "inc" | "append" | "merge" | "test";
  path: string;
  value?: Json;
  by?: Json;
}

export interface Old {
  op: number; // the place in ops
  path: string;
  value?: Json; // undefined: nothing was there
  index?: number; // of an element that was appended
}

export interface Version {
  version: number;
  time: number;
  from?: { user?: string; device?: string; connection?: string };
  ops: Op[];
  old?: Old[];
  undoes?: number;
}

export interface Change {
  path: string; // RFC 6901
  before?: Json | undefined; // undefined: it was not there
  after?: Json | undefined;
}

type Members = { [key: string]: Json };

export const isObject = (v: Json | undefined): v is Members => typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Exact);

export function steps(path: string): string[] {
  return path === "" ? [] : path.slice(1).split("/").map((s) => s.replaceAll("~1", "/").replaceAll("~0", "~"));
}

export function pointer(names: string[]): string {
  return names.map((n) => "/" + n.replaceAll("~", "~0").replaceAll("/", "~1")).join("");
}

const member = (v: Members, name: string) => (Object.hasOwn(v, name) ? v[name] : undefined);

// at gives what is at a place; undefined: nothing.
export function at(value: Json | undefined, path: string): Json | undefined {
  let v = value;
  for (const name of steps(path)) v = isObject(v) ? member(v, name) : undefined;
  return v;
}

// put gives the value with something else at a place; undefined removes it. What was given
// stays as it is.
export function put(value: Json | undefined, path: string, what: Json | undefined): Json | undefined {
  const [first, ...rest] = steps(path);
  if (first === undefined) return what;
  const object = isObject(value) ? value : {};
  const inner = put(member(object, first), pointer(rest), what);
  const others = Object.entries(object).filter(([name]) => name !== first);
  if (inner === undefined) return isObject(value) ? Object.fromEntries(others) : value;
  return Object.hasOwn(object, first)
    ? Object.fromEntries(Object.entries(object).map(([name, v]) => [name, name === first ? inner : v]))
    : Object.fromEntries([...others, [first, inner]]);
}

// merged is a merge as RFC 7396 says.
export function merged(value: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const out = new Map(Object.entries(isObject(value) ? value : {}));
  for (const [name, v] of Object.entries(patch)) {
    if (v === null) out.delete(name);
    else out.set(name, merged(out.get(name), v));
  }
  return Object.fromEntries(out);
}

const mostOps = 1000;

// operations are those that make one value of another; arrays are set as a whole.
export function operations(before: Json, after: Json): Op[] {
  const ops: Op[] = [];
  const go = (a: Json | undefined, b: Json | undefined, names: string[]) => {
    if (a !== undefined && b !== undefined && equal(a, b)) return;
    if (isObject(a) && isObject(b)) {
      for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) go(member(a, name), member(b, name), [...names, name]);
    } else if (b === undefined) ops.push({ op: "remove", path: pointer(names) });
    else ops.push({ op: "set", path: pointer(names), value: b });
  };
  go(before, after, []);
  return ops.length > mostOps ? [{ op: "set", path: "", value: after }] : ops;
}

const whole = /^-?\d+$/;
const text = (v: Json) => (v instanceof Exact ? v.text : String(v));
const isNumber = (v: Json | undefined): v is number | Exact => typeof v === "number" || v instanceof Exact;

// sum adds two numbers: exactly, when both are whole.
export function sum(a: number | Exact, b: number | Exact, sign: 1 | -1 = 1): Json {
  const [x, y] = [text(a), text(b)];
  if (whole.test(x) && whole.test(y)) return parse(String(BigInt(x) + BigInt(sign) * BigInt(y)));
  return parse(String(Number(x) + sign * Number(y)));
}

// applied carries operations out, for a preview. What the server would refuse it leaves
// out: the server says so when it is asked.
export function applied(value: Json | undefined, ops: Op[]): Json | undefined {
  for (const o of ops) {
    const there = at(value, o.path);
    if (o.op === "set") value = put(value, o.path, o.value ?? null);
    else if (o.op === "remove") value = put(value, o.path, undefined);
    else if (o.op === "merge") value = put(value, o.path, merged(there, o.value ?? null));
    else if (o.op === "append" && (there === undefined || Array.isArray(there))) value = put(value, o.path, [...(there ?? []), o.value ?? null]);
    else if (o.op === "inc" && isNumber(o.by) && (there === undefined || isNumber(there))) value = put(value, o.path, sum(there ?? 0, o.by));
  }
  return value;
}

// place is what an operation was about: old may name an object that was made on the way there.
const place = (old: Old, op: Op | undefined) => (op && steps(op.path).length > steps(old.path).length ? op.path : old.path);

// changesOf lists what a version has changed, place by place.
export function changesOf(v: Version): Change[] {
  if (!v.old) return v.ops.map((o) => ({ path: o.path, after: o.op === "remove" ? undefined : o.op === "inc" ? o.value ?? o.by : o.value }));
  return v.old.map((old) => {
    const op = v.ops[old.op];
    const path = place(old, op);
    if (!op || op.op === "remove") return { path, before: old.value };
    if (op.op === "append") return { path: `${path}/${old.index ?? 0}`, after: op.value };
    if (op.op === "merge") {
      // The place is that of the merge, or below it.
      const below = pointer(steps(path).slice(steps(op.path).length));
      const now = at(op.value, below);
      return { path, before: old.value, after: now === null && below !== "" ? undefined : now };
    }
    return { path, before: old.value, after: op.value };
  });
}

// undone is what the document would be if a version was taken back now, as far as can be
// said here.
export function undone(now: Json, v: Version): Json | undefined {
  let value: Json | undefined = now;
  for (const old of (v.old ?? []).slice().reverse()) {
    const op = v.ops[old.op];
    const path = place(old, op);
    const there = at(value, path);
    if (op?.op === "inc" && isNumber(there) && isNumber(op.by)) {
      const alone = op.value !== undefined && equal(there, op.value);
      value = alone && old.value === undefined ? without(value, path, old.path) : put(value, path, sum(there, op.by, -1));
    } else if (op?.op === "append" && Array.isArray(there)) {
      const list = there.slice();
      const i = old.index !== undefined && equal(list[old.index], op.value) ? old.index : list.findLastIndex((e) => equal(e, op.value));
      if (i >= 0) list.splice(i, 1);
      value = list.length === 0 && old.index === undefined ? without(value, path, old.path) : put(value, path, list);
    } else value = old.value === undefined ? without(value, path, old.path) : put(value, path, old.value);
  }
  return value;
}

// without removes a place, and the objects above it, down to top, that were made for it and
// hold nothing else.
function without(value: Json | undefined, path: string, top: string): Json | undefined {
  const names = steps(path);
  const least = steps(top).length;
  while (names.length > least) {
    const above = at(value, pointer(names.slice(0, -1)));
    if (!isObject(above) || Object.keys(above).length > 1) break;
    names.pop();
  }
  return put(value, pointer(names), undefined);
}

// short writes a change in a few words: /hp 3 → 5.
export function short(c: Change): string {
  const cut = (v: Json | undefined) => {
    if (v === undefined) return "–";
    const s = format(v);
    return s.length > 60 ? s.slice(0, 60) + "…" : s;
  };
  return `${c.path || "/"}: ${cut(c.before)} → ${cut(c.after)}`;
}
