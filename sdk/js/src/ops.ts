// The operations of documents, on plain JSON values. Nothing is changed in place:
// what an operation does not touch is the same object before and after.

import { SkeinError } from "./error.js";

/** An operation of a patch; `path` is a JSON Pointer into objects. */
export type Op =
  | { op: "set" | "append" | "merge" | "test"; path: string; value: any }
  | { op: "remove"; path: string }
  | { op: "inc"; path: string; by: number | bigint; min?: number | bigint; max?: number | bigint;
      /** In patches of the server: the result. */ value?: any };

type Json = any;

/** Makes a JSON Pointer of names: `path("players", id, "hp")`. */
export const path = (...names: (string | number)[]): string =>
  names.map((name) => "/" + String(name).replace(/~/g, "~0").replace(/\//g, "~1")).join("");

/**
 * The value after the operations. `undefined` and a `null` at the top are both
 * the document that is not there. Throws a `conflict` when one does not fit, a
 * `bad_request` when it never could; nothing is changed then.
 */
export const apply = (value: Json, ops: Op[]): Json =>
  ops.reduce((value, op, i) => step(value ?? undefined, op, `ops[${i}]`) ?? null, value);

const hasMembers = (value: Json): boolean => typeof value === "object" && value !== null;
const isObject = (value: Json): boolean => hasMembers(value) && !Array.isArray(value);
const isNumber = (value: Json): boolean => typeof value === "number" || typeof value === "bigint";
/** The server says what exactly does not fit, should it think so too. */
const fit = (fits: boolean): void => {
  if (!fits) throw new SkeinError("conflict", "it does not fit the value");
};

function step(root: Json, op: Op, name: string): Json {
  const { op: kind, path, value, by, min, max } = op as Record<string, Json>;
  const check = (fine: boolean, what: string): void => {
    if (!fine) throw new SkeinError("bad_request", `${name}.${what}: is wrong`);
  };
  check(typeof path === "string" && /^(\/([^~]|~[01])*)?$/s.test(path), "path");
  const at = (change: (old: Json) => Json) =>
    put(root, path.split("/").slice(1).map((name: string) => name.replace(/~1/g, "/").replace(/~0/g, "~")), 0, change);
  if (kind === "remove") return at((old) => fit(old !== undefined)); // nothing comes to be there
  if (kind === "inc") {
    check([by, min ?? 0, max ?? 0].every(isNumber), "by");
    return at((old) => {
      // The server says what came out, so that nobody rounds differently.
      if (value !== undefined) return value;
      fit(isNumber(old ?? 0));
      const result = sum(old ?? 0, by);
      fit((typeof result === "bigint" || Number.isFinite(result)) && result >= (min ?? -Infinity) && result <= (max ?? Infinity));
      return result;
    });
  }
  check(value !== undefined, "value");
  if (kind === "set") return at(() => value);
  if (kind === "merge") return at((old) => merge(old, value));
  if (kind === "append") {
    return at((old) => {
      const list = old ?? [];
      fit(Array.isArray(list));
      return [...list, value];
    });
  }
  check(kind === "test", "op");
  at((old = null) => {
    fit(reuse(old, value) === old);
    return old;
  });
  return root;
}

/** The node after a change below it. Objects on the way are made when something comes to be in them. */
function put(node: Json, names: string[], i: number, change: (old: Json) => Json): Json {
  if (i === names.length) return change(node);
  fit(node === undefined || isObject(node));
  const name = names[i]!;
  const old = member(node, name);
  const value = put(old, names, i + 1, change);
  if (value === old) return node;
  // A computed name is a member of its own, even __proto__.
  const { [name]: _, ...rest } = node ?? {};
  return value === undefined ? rest : { ...node, [name]: value };
}

const member = (node: Json, name: string): Json => (node && Object.hasOwn(node, name) ? node[name] : undefined);

/** Exact beyond 2^53 where the reader gives bigints for integers. */
function sum(a: Json, b: Json): Json {
  if (typeof a === typeof b) return a + b;
  try {
    return BigInt(a) + BigInt(b);
  } catch {
    return Number(a) + Number(b); // one of them is a fraction
  }
}

/** RFC 7396; undefined: nothing is there, or should be. */
function merge(old: Json, patch: Json): Json {
  if (!isObject(patch)) return patch ?? undefined;
  const base = isObject(old) ? old : {};
  let result = base;
  for (const name of Object.keys(patch)) result = put(result, [name], 0, (was) => merge(was, patch[name]));
  return result === base && !isObject(old) ? {} : result;
}

/**
 * The second value, made of the first one's objects where they are equal: what
 * looks the same is the same, and a page need not draw it again. By value:
 * numbers whatever their type, objects without regard to order.
 */
export function reuse(old: Json, value: Json): Json {
  if (isNumber(old) && isNumber(value) && old == value) return old;
  if (old === value || !hasMembers(old) || !hasMembers(value) || isObject(old) !== isObject(value)) return value;
  const names = Object.keys(value);
  let same = Object.keys(old).length === names.length;
  let result = value;
  for (const name of names) {
    const was = member(old, name);
    const now = reuse(was, value[name]);
    if (was !== now) same = false;
    if (now === value[name]) continue;
    if (result === value) result = isObject(value) ? { ...value } : [...value];
    result[name] = now;
  }
  return same ? old : result;
}
