// A schedule as the server gives it, and as a form holds it.

import { number } from "../../format.ts";
import { format, type Exact, type Json } from "../../json.ts";
import { localText } from "../../ui/moment.tsx";
import { t } from "../../words.ts";

export interface Firing {
  planned: number;
  started: number;
  finished: number;
  ok: boolean;
  error?: { code: string; message: string };
  result?: Json;
  result_omitted?: boolean;
}

export interface Schedule {
  name: string;
  at?: string;
  every?: string;
  start?: string;
  cron?: string;
  zone?: string;
  verb: string;
  params?: { [key: string]: Json };
  while_occupied?: string;
  misfire?: string | { all: number };
  overlap?: string;
  jitter?: string;
  until?: string;
  count?: number | Exact;
  enabled: boolean;
  state: "active" | "paused" | "done";
  next?: number;
  last?: Firing;
  recent: Firing[];
  runs: number;
  failures: number;
  skipped: { misfire?: number; overlap?: number; vacant?: number };
  created: number;
  changed: number;
}

// plan says in a few words when it runs.
export function plan(s: Schedule): string {
  if (s.at) return t("schedules.at", { at: moment(s.at) });
  if (s.every) return t("schedules.every", { every: s.every });
  return t("schedules.cron", { cron: s.cron ?? "", zone: s.zone || "UTC" });
}

function moment(text: string): string {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : new Date(ms).toLocaleString();
}

// length reads a length of time as Go writes it: 1h30m0s.
export function length(text: string): number {
  let ms = 0;
  for (const [, n, unit] of text.matchAll(/([\d.]+)(ms|h|m|s)/g)) ms += Number(n) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit as "ms"]!;
  return ms;
}

// upcoming are the next planned times as far as they follow from the interval. Those of a
// cron line only the server knows, which tells the first.
export function upcoming(s: Schedule, most = 5): number[] {
  if (s.state !== "active" || !s.next) return [];
  const step = s.every ? length(s.every) : 0;
  const until = s.until ? Date.parse(s.until) : Infinity;
  const all: number[] = [];
  for (let at = s.next; all.length < most && at <= until; at += step) {
    all.push(at);
    if (step <= 0) break;
  }
  return all;
}

export interface Draft {
  name: string;
  kind: "at" | "every" | "cron";
  at: string; // moments as fields of the browser hold them
  every: string;
  start: string;
  cron: string;
  zone: string;
  verb: string;
  params: string;
  while_occupied: string;
  misfire: string;
  all: string;
  overlap: string;
  jitter: string;
  until: string;
  count: string;
  enabled: boolean;
}

const local = (text: string | undefined) => (text ? localText(Date.parse(text)) : "");

export function draft(s?: Schedule): Draft {
  const all = typeof s?.misfire === "object" ? s.misfire.all : undefined;
  return {
    name: s?.name ?? "", kind: s?.at ? "at" : s?.cron ? "cron" : "every", at: local(s?.at), every: s?.every ?? "1m", start: local(s?.start), cron: s?.cron ?? "", zone: s?.zone ?? "",
    verb: s?.verb ?? "", params: format(s?.params ?? {}, 2), while_occupied: s?.while_occupied ?? "", misfire: all !== undefined ? "all" : typeof s?.misfire === "string" ? s.misfire : "", all: String(all ?? 3),
    overlap: s?.overlap ?? "skip", jitter: s?.jitter ?? "", until: local(s?.until), count: s?.count ? String(s.count) : "", enabled: s?.enabled ?? true,
  };
}

// rfc writes a moment of the form. What was not touched stays as it was written.
function rfc(text: string, was: string | undefined): string | undefined {
  if (!text) return undefined;
  if (was && local(was) === text) return was;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : new Date(ms).toISOString();
}

// wanted makes the params of schedules.put of a form.
export function wanted(d: Draft, params: Json, was?: Schedule): object {
  return {
    name: d.name, verb: d.verb, params,
    ...(d.kind === "at" ? { at: rfc(d.at, was?.at) ?? "" } : {}),
    ...(d.kind === "every" ? { every: d.every.trim(), start: rfc(d.start, was?.start) } : {}),
    ...(d.kind === "cron" ? { cron: d.cron.trim(), zone: d.zone.trim() || undefined } : {}),
    while_occupied: d.while_occupied || undefined, misfire: d.misfire === "all" ? { all: Number(d.all) } : d.misfire || undefined, overlap: d.overlap || undefined,
    jitter: d.jitter.trim() || undefined, until: rfc(d.until, was?.until), count: d.count ? Number(d.count) : undefined, enabled: d.enabled,
  };
}

export const skips = (s: Schedule): string[] => (["misfire", "overlap", "vacant"] as const).filter((why) => s.skipped[why]).map((why) => t(`schedules.skipped.${why}`, { n: number(s.skipped[why]) }));
