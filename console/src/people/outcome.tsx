// What became of a message, in words, in a badge, and in a bar.

import type { ComponentChildren } from "preact";
import { dateTime, number } from "../format.ts";
import { has, t, type Word } from "../words.ts";
import { Badge } from "../ui/parts.tsx";
import { outcomes, type Category, type Counts, type Explained, type Fate, type Outcome } from "./types.ts";

type Tone = "good" | "bad" | "warn" | "soft" | "accent";

const tones: { [name in Outcome | "read"]: Tone } = {
  queued: "soft", sent: "accent", delivered: "good", read: "good", capped: "warn", muted: "warn", expired: "warn", recalled: "soft", failed: "bad",
};

export function outcomeName(name: string): string {
  return has(`outcome.${name}`) ? t(`outcome.${name}` as Word) : name;
}

export function OutcomeBadge({ of }: { of: Fate }) {
  const name = of.read && of.outcome === "delivered" ? "read" : of.outcome;
  return <Badge tone={tones[name] ?? "soft"}>{outcomeName(name)}</Badge>;
}

// why says in a sentence what a record says in fields.
export function why(of: Fate): string {
  const rule = of.rule ?? "";
  const until = of.until ? dateTime(of.until) : "";
  switch (of.outcome) {
    case "queued":
      if (of.until) return t(of.reason === "cap" ? "why.queued.cap" : "why.queued.quiet", { rule, until });
      return t("why.queued");
    case "sent":
      return t("why.sent");
    case "delivered":
      return of.device ? t("why.delivered.device", { device: of.device }) : t("why.delivered");
    case "capped":
      return t("why.capped", { rule });
    case "muted":
      return t(of.reason === "quiet" ? "why.muted.quiet" : "why.muted.user", { rule });
    case "expired":
      if (of.reason === "cap") return t("why.expired.cap", { rule });
      if (of.reason === "quiet") return t("why.expired.quiet", { rule });
      return t(of.reason === "full" ? "why.expired.full" : "why.expired");
    case "recalled":
      return t(of.reason === "replaced" ? "why.recalled.replaced" : "why.recalled");
    case "failed":
      return t("why.failed");
  }
}

// short is why in a few words, for a column: the rule itself where there is one.
export function short(of: Fate): string {
  if (of.rule) return of.until ? t("why.short.until", { rule: of.rule, until: dateTime(of.until) }) : of.rule;
  if (of.until) return t("why.short.until", { rule: of.reason && has(`why.reason.${of.reason}`) ? t(`why.reason.${of.reason}` as Word) : "", until: dateTime(of.until) });
  if (!of.reason && (of.outcome === "queued" || of.outcome === "sent")) return t(`why.short.${of.outcome}`);
  return of.reason ? (has(`why.reason.${of.reason}`) ? t(`why.reason.${of.reason}` as Word) : of.reason) : "";
}

// verdict says what would become of a message of a category now.
export function verdict(e: Explained, category?: Category): { text: string; name: string; tone: Tone } {
  const until = e.until ? dateTime(e.until) : "";
  const rule = e.rule ?? "";
  if (e.deliver) return { text: t(e.online ? "verdict.now" : "verdict.comes"), name: t(e.online ? "verdict.name.now" : "verdict.name.comes"), tone: "good" };
  if (e.outcome === "queued") return { text: t("verdict.waits", { rule, until }), name: t("verdict.name.waits"), tone: "warn" };
  const name = t("verdict.name.held");
  if (e.muted) return { text: t("verdict.muted"), name, tone: "warn" };
  if (e.outcome === "muted") return { text: t("verdict.quiet", { rule, until }), name, tone: "warn" };
  const drop = category?.on_cap === "drop";
  if (!e.until) return { text: t(drop ? "verdict.never.drop" : "verdict.never", { rule }), name, tone: "warn" };
  return { text: t(drop ? "verdict.capped.drop" : "verdict.capped", { rule, until }), name, tone: "warn" };
}

const order: Outcome[] = ["delivered", "sent", "queued", "capped", "muted", "expired", "recalled", "failed"];

export function total(counts: Counts): number {
  return outcomes.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
}

// perName says hour, day and week in the reader's language; other times are as they are.
export function perName(per: string): string {
  return has(`per.${per}`) ? t(`per.${per}` as Word) : per;
}

// percent never says 0 or 100 of what is not nothing or all.
export function percent(n: number, whole: number): string {
  if (whole <= 0) return "";
  const share = (n / whole) * 100;
  if (share > 0 && share < 0.1) return "< 0.1 %";
  if (share > 99.9 && share < 100) return "> 99.9 %";
  return `${number(share, share < 10 || share > 99 ? 1 : 0)} %`;
}

// OutcomeBar shows how many have which outcome: a bar, and below it the same in words.
export function OutcomeBar({ counts, audience, onPick, picked }: { counts: Counts; audience?: number | undefined; onPick?: (name: string) => void; picked?: string | undefined }) {
  const all = total(counts);
  const rest = Math.max(0, (audience ?? all) - all);
  const parts: [string, number][] = order.filter((name) => counts[name]).map((name) => [name, counts[name]!]);
  if (rest > 0) parts.push(["rest", rest]);
  const whole = all + rest;
  const share = (n: number) => percent(n, whole);
  const said = parts.map(([name, n]) => `${outcomeName(name)} ${number(n)} (${share(n)})`).join(", ");
  const line = (name: string, n: number): ComponentChildren => (
    <><span class={`dot o-${name}`} aria-hidden="true" /><span>{outcomeName(name)}</span><strong>{number(n)}</strong><span class="soft">{share(n)}</span></>
  );
  if (whole === 0) return <p class="soft">{t("bar.none")}</p>;
  return (
    <div class="outcomes">
      <div class="bar" role="img" aria-label={said}>{parts.map(([name, n]) => <span key={name} class={`o-${name}`} style={{ flexGrow: n }} />)}</div>
      <ul class="legend">
        {parts.map(([name, n]) => (
          <li key={name} data-outcome={name}>
            {onPick && name !== "rest" ? <button type="button" class="pick" aria-pressed={picked === name} onClick={() => onPick(picked === name ? "" : name)}>{line(name, n)}</button> : line(name, n)}
          </li>
        ))}
        {counts.read ? <li data-outcome="read"><span class="soft">{t("bar.read")}</span><strong>{number(counts.read)}</strong><span class="soft">{share(counts.read)}</span></li> : null}
      </ul>
    </div>
  );
}
