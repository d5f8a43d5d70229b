// What is wrong right now, in a sentence each, with a way to where one can do something.

import { call } from "../../api.ts";
import { bytes, number, seconds } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, path } from "../../router.tsx";
import { pages } from "../../pages.tsx";
import { may } from "../../session.ts";
import { has, t, type Word } from "../../words.ts";
import { Ago, Badge, Card, Stale, Waiting } from "../../ui/parts.tsx";

export interface Problem {
  code: string;
  severity: "error" | "warning";
  since: number;
  text: string;
  values?: Record<string, unknown> | null;
}

// shown writes a value of a problem: the names tell what it measures.
function shown(name: string, value: unknown): string {
  if (typeof value !== "number") return String(value);
  if (name === "p99") return seconds(value);
  if (name === "free" || name === "total") return bytes(value);
  return number(value);
}

// sentence is the problem in the language of the page, if all that it names was given;
// otherwise what the server says.
export function sentence(p: Problem): string {
  const word = `problem.${p.code}`;
  if (!has(word)) return p.text;
  const values = Object.fromEntries(Object.entries(p.values ?? {}).map(([name, value]) => [name, shown(name, value)]));
  const named = [...t(word).matchAll(/\{(\w+)\}/g)].map((m) => m[1]!);
  return named.every((name) => Object.hasOwn(values, name)) ? t(word, values) : p.text;
}

// way is where one can do something about it.
function way(p: Problem): { to: string; page: string; word: Word } | undefined {
  const named = (page: string, name: unknown, word: Word) => ({ to: path(typeof name === "string" ? [page, name] : [page]), page, word });
  switch (p.code) {
    case "hooks_open":
    case "hooks_dropping": return named("hooks", undefined, "overview.go.hooks");
    case "schedule_failed": return named("schedules", p.values?.["name"], "overview.go.schedule");
    case "campaign_failing": return named("campaigns", p.values?.["id"], "overview.go.campaign");
    case "messages_dropped":
    case "publishers_refused":
    case "connections_lost":
    case "connections_full": return named("connections", undefined, "overview.go.connections");
    case "store_failing":
    case "store_slow":
    case "disk_low":
    case "descriptors_low":
    case "dev": return named("settings", undefined, "overview.go.settings");
    case "audit_failing": return named("audit", undefined, "overview.go.audit");
  }
  return undefined;
}

function Line({ p }: { p: Problem }) {
  const go = way(p);
  const needs = go && pages[go.page]?.needs;
  return (
    <li class="ops-problem" data-code={p.code}>
      <Badge tone={p.severity === "error" ? "bad" : "warn"}>{t(p.severity === "error" ? "overview.error" : "overview.warning")}</Badge>
      <span class="ops-problem-text">{sentence(p)}</span>
      {p.since > 0 && <span class="soft small ops-problem-since"><Ago ms={p.since} /></span>}
      {go && pages[go.page] && (!needs || may(needs)) && <A to={go.to} class="ops-problem-go">{t(go.word)}</A>}
    </li>
  );
}

export function Problems() {
  const it = useLive((signal) => call<{ problems: Problem[] }>("problems", {}, { signal }), 3000);
  const found = it.data.value?.problems;
  return (
    <Card title={t("overview.problems")} id="problems">
      <Stale of={it} />
      {!found && !it.error.value && <Waiting />}
      {found && found.length === 0 && <p class="ops-well"><Badge tone="good">✓</Badge> {t("overview.well")}</p>}
      {found && found.length > 0 && <ul class="ops-problems">{found.map((p, i) => <Line key={`${p.code} ${i}`} p={p} />)}</ul>}
    </Card>
  );
}
