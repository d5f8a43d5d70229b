// The patterns of the vectors, and what is filled in (spec/vectors/README.md).

import { createHmac } from "node:crypto";

export type Memory = Map<string, any>;

const isObject = (v: any): v is Record<string, any> => typeof v === "object" && v !== null && !Array.isArray(v);
const isNumber = (v: any) => typeof v === "number" || typeof v === "bigint";
export const show = (v: any) => {
  const text = JSON.stringify(v, (_, x) => (typeof x === "bigint" ? String(x) : x)) ?? "undefined";
  return text.length > 400 ? text.slice(0, 400) + "…" : text;
};
const differ = (at: string, want: string, got: any) => `${at} is ${show(got)}, want ${want}`;

/** Where a value differs from a pattern; "" when it does not. */
export function match(memory: Memory, at: string, pattern: any, got: any): string {
  if (typeof pattern === "string") return matchString(memory, at, pattern, got);
  if (Array.isArray(pattern)) {
    if (!Array.isArray(got) || got.length !== pattern.length) return differ(at, `a list of ${pattern.length}`, got);
    for (const [i, p] of pattern.entries()) {
      const why = match(memory, `${at}[${i}]`, p, got[i]);
      if (why) return why;
    }
    return "";
  }
  if (isObject(pattern)) {
    if (Array.isArray(pattern.$unordered)) return matchUnordered(memory, at, pattern.$unordered, got);
    if (isObject(pattern.$only)) return matchObject(memory, at, pattern.$only, got, true);
    return matchObject(memory, at, pattern, got, false);
  }
  if (isNumber(pattern) ? isNumber(got) && pattern == got : pattern === got) return "";
  return differ(at, show(pattern), got);
}

function matchObject(memory: Memory, at: string, pattern: Record<string, any>, got: any, exact: boolean): string {
  if (!isObject(got)) return differ(at, "an object", got);
  for (const [name, value] of Object.entries(pattern)) {
    const filled = fillString(memory, name);
    const where = `${at}.${filled}`;
    const there = Object.hasOwn(got, filled);
    if (value === "$absent") {
      if (there) return differ(where, "no such member", got[filled]);
    } else if (!there) return `${where} is absent in ${show(got)}`;
    else {
      const why = match(memory, where, value, got[filled]);
      if (why) return why;
    }
  }
  const more = exact && Object.keys(got).find((name) => !Object.hasOwn(pattern, name));
  return more ? differ(`${at}.${more}`, "no such member", got[more]) : "";
}

function matchUnordered(memory: Memory, at: string, patterns: any[], got: any): string {
  if (!Array.isArray(got) || got.length !== patterns.length) return differ(at, `a list of ${patterns.length}`, got);
  const left = [...got];
  for (const p of patterns) {
    const i = left.findIndex((v) => match(memory, at, p, v) === "");
    if (i < 0) return differ(at, `an element like ${show(p)}`, got);
    left.splice(i, 1);
  }
  return "";
}

function matchString(memory: Memory, at: string, pattern: string, got: any): string {
  if (!pattern.startsWith("$")) return got === pattern ? "" : differ(at, show(pattern), got);
  const [kind, ...more] = pattern.slice(1).split(":");
  const arg = more.join(":");
  const fits = () => {
    switch (kind) {
      case "any": return true;
      case "string": return typeof got === "string" && got !== "";
      case "bool": return typeof got === "boolean";
      case "object": return isObject(got);
      case "int": return typeof got === "bigint" || Number.isInteger(got);
      case "time": return Number.isInteger(got) && Math.abs(got - Date.now()) < 60_000;
      case "future": return Number.isInteger(got) && got > Date.now();
      case "contains": return typeof got === "string" && got.includes(fillString(memory, arg));
      case "save":
        memory.set(`value:${arg}`, got);
        return got !== null && got !== undefined;
      default: return undefined;
    }
  };
  if (kind === "value" || kind === "connection") {
    return memory.has(pattern.slice(1)) ? match(memory, at, memory.get(pattern.slice(1)), got) : `${at}: nothing is known as ${pattern}`;
  }
  const fit = fits();
  if (fit === undefined) return `${at}: ${pattern} is not a pattern`;
  return fit ? "" : differ(at, pattern, got);
}

/** Makes a value ready to be sent. */
export function fill(memory: Memory, v: any): any {
  if (typeof v === "string") return fillString(memory, v);
  if (Array.isArray(v)) return v.map((x) => fill(memory, x));
  if (!isObject(v)) return v;
  const names = Object.keys(v);
  if (names.length === 1 && isObject(v.jwt)) return token(v.jwt);
  if (names.length === 1 && "bearer" in v) return `Bearer ${fill(memory, v.bearer)}`;
  if (Array.isArray(v.$join)) return v.$join.map((part: any) => (typeof part === "string" ? part : part.$repeat[0].repeat(part.$repeat[1]))).join("");
  return Object.fromEntries(names.map((name) => [fillString(memory, name), fill(memory, v[name])]));
}

// What is not known stays, so that it is seen.
const fillString = (memory: Memory, s: string): string =>
  s.replace(/\$((?:connection|value):[^ ]*)/g, (all, name) => (memory.has(name) ? String(memory.get(name)) : all));

function token({ secret, alg, exp_in_s, ...claims }: Record<string, any>): string {
  const part = (v: object) => Buffer.from(JSON.stringify(v)).toString("base64url");
  if (exp_in_s !== undefined) claims.exp = Math.floor(Date.now() / 1000) + exp_in_s;
  const unsigned = `${part({ alg: alg ?? "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${unsigned}.${alg === undefined ? createHmac("sha256", secret).update(unsigned).digest("base64url") : ""}`;
}

/** A token of the tests. */
export const jwt = token;
