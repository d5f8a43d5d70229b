// What the server says of its verbs: /api/v1/openapi.json.

import { get } from "./api.ts";
import type { Json } from "./json.ts";
import { useLive, type Live } from "./live.ts";

export interface Schema {
  type?: string | string[];
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  oneOf?: Schema[];
  anyOf?: Schema[];
  enum?: Json[];
  const?: Json;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  not?: Schema;
}

export interface Verb {
  name: string;
  summary: string;
  kind: "read" | "write" | "traffic"; // what is not known to read changes something
  keyed: boolean; // takes an idempotency key
  params: Schema;
  result: Schema;
}

interface Content {
  content?: { "application/json"?: { schema?: Schema } };
}

interface Post {
  summary?: string;
  "x-class"?: string;
  parameters?: { name?: string }[];
  requestBody?: Content;
  responses?: Record<string, Content>;
}

const prefix = "/api/v1/";

function verbs(doc: { paths?: Record<string, { post?: Post }> }): Verb[] {
  const found: Verb[] = [];
  for (const [at, { post }] of Object.entries(doc.paths ?? {})) {
    if (!post || !at.startsWith(prefix)) continue;
    const kind = post["x-class"];
    found.push({
      name: at.slice(prefix.length), summary: post.summary ?? "", kind: kind === "read" || kind === "traffic" ? kind : "write",
      keyed: post.parameters?.some((p) => p.name === "Idempotency-Key") ?? false,
      params: post.requestBody?.content?.["application/json"]?.schema ?? {}, result: post.responses?.["200"]?.content?.["application/json"]?.schema ?? {},
    });
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

// useVerbs reads the description once for each page that wants it.
export function useVerbs(): Live<Verb[]> {
  return useLive(async (signal) => verbs(await get(`${prefix}openapi.json`, { signal })), 0);
}

const types = (s: Schema): string[] => (s.type === undefined ? [] : [s.type].flat());
const isNothing = (s: Schema): boolean => types(s).join() === "null";

// Names under which an example says more than an empty text.
const telling: Record<string, Json> = { channel: "room:1", user: "42", event: "hello", category: "news", device: "phone", limit: 100, every: "1m", verb: "info" };

// example makes params that fit a schema as far as it tells: what is required, and of
// several forms the first.
export function example(s: Schema, name = "", depth = 0): Json {
  if (s.const !== undefined) return s.const;
  if (s.enum?.length) return s.enum[0]!;
  const either = s.oneOf ?? s.anyOf;
  if (either?.length) return depth > 6 ? null : example(either.find((one) => !isNothing(one)) ?? {}, name, depth + 1);
  const kinds = types(s).filter((kind) => kind !== "null");
  const kind = kinds[0] ?? (s.properties ? "object" : "");
  if (Object.hasOwn(telling, name) && (kinds.length === 0 || kinds.includes(typeof telling[name]) || (kinds.includes("integer") && typeof telling[name] === "number"))) return telling[name]!;
  switch (kind) {
    case "object": return Object.fromEntries(Object.entries(s.properties ?? {}).filter(([key]) => depth <= 6 && s.required?.includes(key)).map(([key, of]) => [key, example(of, key, depth + 1)]));
    case "array": return s.items && depth <= 6 && !(types(s).includes("null")) ? [example(s.items, name.replace(/s$/, ""), depth + 1)] : [];
    case "string": return "";
    case "integer":
    case "number": return s.minimum ?? 0;
    case "boolean": return false;
  }
  return {};
}

export interface Param {
  path: string; // to.channel, users[]
  depth: number;
  type: string;
  required: boolean | "either"; // either: of several, one
  text: string;
}

export interface Names {
  any: string;
  either: string;
  list: (of: string) => string;
}

// typeName writes the type of a value in a few words.
export function typeName(s: Schema, names: Names): string {
  if (s.const !== undefined) return JSON.stringify(s.const);
  if (s.enum?.length) return s.enum.map((v) => JSON.stringify(v)).join(" | ");
  const either = s.oneOf ?? s.anyOf;
  if (either?.length) return [...new Set(either.filter((one) => !isNothing(one)).map((one) => typeName(one, names)))].join(` ${names.either} `);
  const kinds = types(s).filter((kind) => kind !== "null");
  if (kinds.length === 0) return s.properties ? "object" : names.any;
  return kinds.map((kind) => (kind === "array" ? names.list(s.items ? typeName(s.items, names) : names.any) : kind)).join(` ${names.either} `);
}

const deepest = 5;

// params lists what a schema takes, what is inside of a value below it.
export function params(s: Schema, names: Names, path = "", depth = 0, out: Param[] = [], either = false): Param[] {
  if (depth > deepest) return out;
  const forms = s.oneOf ?? s.anyOf ?? [];
  const whole = forms.some((one) => one.properties || one.oneOf); // then a list of the same needs no lines of its own
  for (const one of forms) if (!whole || !types(one).includes("array")) params(one, names, path, depth, out, either || forms.filter((f) => f.properties).length > 1);
  if (s.items) params(s.items, names, `${path}[]`, depth, out);
  if (typeof s.additionalProperties === "object" && !s.additionalProperties.not) params(s.additionalProperties, names, `${path}.*`, depth, out);
  for (const [key, of] of Object.entries(s.properties ?? {})) {
    const at = path ? `${path}.${key}` : key;
    if (out.some((p) => p.path === at)) continue; // in another form of the same
    const bounds = [of.minimum !== undefined ? `≥ ${of.minimum}` : "", of.maximum !== undefined ? `≤ ${of.maximum}` : ""].filter(Boolean).join(", ");
    out.push({ path: at, depth, type: typeName(of, names) + (bounds ? ` (${bounds})` : ""), required: s.required?.includes(key) ? (either ? "either" : true) : false, text: of.description ?? "" });
    params(of, names, at, depth + 1, out);
  }
  return out;
}
