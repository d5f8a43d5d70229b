// Filters of users: rows that people fill in, and the JSON that the server takes. Both say
// the same; what no row can say is a row that holds its JSON.

import { Exact, format, parse, type Json } from "../json.ts";
import type { Filter } from "./types.ts";

export const operators = ["eq", "in", "gt", "gte", "lt", "lte", "prefix", "exists"] as const;
export type Operator = (typeof operators)[number];
export type Kind = "text" | "number" | "bool" | "json";

export interface Leaf {
  id: number;
  is: "field" | "tag" | "json";
  not: boolean;
  field: string;
  op: Operator;
  kind: Kind;
  value: string; // of a list: parted by commas
}

export interface Group {
  id: number;
  is: "group";
  not: boolean;
  mode: "all" | "any";
  items: Row[];
}

export type Row = Leaf | Group;

let last = 0;

export function leaf(change: Partial<Leaf> = {}): Leaf {
  return { is: "field", not: false, field: "", op: "eq", kind: "text", value: "", ...change, id: ++last };
}

export function group(change: Partial<Group> = {}): Group {
  return { is: "group", not: false, mode: "all", items: [], ...change, id: ++last };
}

const isObject = (v: Json | undefined): v is Filter => typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Exact);
const kindOf = (v: Json): Kind => (typeof v === "string" ? "text" : typeof v === "number" || v instanceof Exact ? "number" : typeof v === "boolean" ? "bool" : "json");

function conditionOf(field: string, op: Operator, value: Json): Leaf | undefined {
  if (op === "exists") return typeof value === "boolean" ? leaf({ field, op, kind: "bool", value: String(value) }) : undefined;
  if (op === "in") {
    if (!Array.isArray(value) || value.length === 0) return undefined;
    const kind = kindOf(value[0]!);
    const plain = kind !== "json" && value.every((v) => kindOf(v) === kind && !(typeof v === "string" && (v.includes(",") || v.trim() !== v || v === "")));
    return plain ? leaf({ field, op, kind, value: value.map(String).join(", ") }) : undefined;
  }
  const kind = kindOf(value);
  return kind === "json" ? undefined : leaf({ field, op, kind, value: String(value) });
}

function rowOf(filter: Json, not = false): Row {
  const raw = () => leaf({ is: "json", not, kind: "json", value: format(filter) });
  if (!isObject(filter)) return raw();
  const names = Object.keys(filter);
  if (names.length === 1) {
    const [name] = names;
    const value = filter[name!]!;
    if (name === "not" && !not) return rowOf(value, true);
    if (name === "tag" && typeof value === "string") return leaf({ is: "tag", not, value });
    if ((name === "all" || name === "any") && Array.isArray(value)) return group({ not, mode: name, items: value.map((v) => rowOf(v)) });
  }
  const { field, ...conditions } = filter;
  if (typeof field !== "string") return raw();
  const made = Object.entries(conditions).map(([op, value]) => ((operators as readonly string[]).includes(op) ? conditionOf(field, op as Operator, value) : undefined));
  if (made.length === 0 || made.some((m) => !m)) return raw();
  if (made.length === 1) return { ...made[0]!, not };
  return group({ not, items: made as Leaf[] });
}

// fromFilter makes rows of a filter.
export function fromFilter(filter: Json): Group {
  if (isObject(filter) && Object.keys(filter).length === 0) return group();
  const row = rowOf(filter);
  return row.is === "group" && !row.not ? row : group({ items: [row] });
}

function scalar(kind: Kind, text: string): Json | undefined {
  if (kind === "text") return text;
  if (kind === "bool") return text === "true" ? true : text === "false" ? false : undefined;
  try {
    const value = parse(text.trim());
    return kind === "number" && kindOf(value) !== "number" ? undefined : value;
  } catch {
    return undefined;
  }
}

// pointer makes a place of what people write: city and /city are the same.
const pointer = (field: string) => (field.startsWith("/") ? field : `/${field}`);

function filterOf(row: Row): Filter | undefined {
  let made: Filter | undefined;
  if (row.is === "group") {
    const items = row.items.map(filterOf);
    if (items.length === 0 || items.some((i) => !i)) return undefined;
    made = { [row.mode]: items as Filter[] };
  } else if (row.is === "tag") {
    made = row.value.trim() ? { tag: row.value.trim() } : undefined;
  } else if (row.is === "json") {
    const value = scalar("json", row.value);
    made = isObject(value) ? value : undefined;
  } else if (row.field.trim()) {
    const values = row.op === "in" ? row.value.split(",").map((v) => v.trim()).filter(Boolean).map((v) => scalar(row.kind, v)) : [scalar(row.op === "exists" ? "bool" : row.kind, row.value)];
    const empty = row.op !== "eq" && row.op !== "exists" && row.value.trim() === "";
    if (!empty && values.length > 0 && values.every((v) => v !== undefined)) {
      made = { field: pointer(row.field.trim()), [row.op]: row.op === "in" ? (values as Json[]) : values[0]! };
    }
  }
  return made && row.not ? { not: made } : made;
}

// toFilter makes the filter that rows say; undefined while a row is not complete: what is
// left out would choose others than those who are meant.
export function toFilter(rows: Group): Filter | undefined {
  if (rows.items.length === 0) return {};
  if (rows.items.length === 1 && !rows.not) return filterOf(rows.items[0]!);
  return filterOf(rows);
}
