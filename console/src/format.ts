// Numbers, times and sizes for people, in their language.

import { Exact } from "./json.ts";
import { locale, t } from "./words.ts";

export function number(n: number | Exact | undefined, digits = 0): string {
  if (n === undefined) return "–";
  if (n instanceof Exact) return n.text;
  return n.toLocaleString(locale.value, { maximumFractionDigits: digits });
}

// compact: 1,234,567 → 1.2M, for charts and tiles.
export function compact(n: number): string {
  return Math.abs(n) < 10_000 ? number(n, Math.abs(n) < 10 ? 1 : 0) : n.toLocaleString(locale.value, { notation: "compact", maximumFractionDigits: 1 });
}

export function bytes(n: number): string {
  let unit = 0;
  while (Math.abs(n) >= 1024 && unit < 4) {
    n /= 1024;
    unit++;
  }
  return `${n.toLocaleString(locale.value, { maximumFractionDigits: n < 10 && unit > 0 ? 1 : 0 })} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

// seconds writes a length of time: 0.0012 → 1.2 ms, 90 → 1 min 30 s.
export function seconds(s: number): string {
  if (s === 0) return "0";
  if (s < 0.001) return `${number(s * 1e6)} µs`;
  if (s < 1) return `${number(s * 1e3, s < 0.01 ? 1 : 0)} ms`;
  if (s < 60) return `${number(s, s < 10 ? 1 : 0)} s`;
  const parts: [number, string][] = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "min"], [Math.floor(s) % 60, "s"]];
  const first = parts.findIndex(([n]) => n > 0);
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(" ");
}

// forms are made once: tables write hundreds of times while one scrolls.
const forms = new Map<string, Intl.DateTimeFormat>();

function form(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${name} ${locale.value}`;
  let it = forms.get(key);
  if (!it) forms.set(key, it = new Intl.DateTimeFormat(locale.value, options));
  return it;
}

export function dateTime(ms: number): string {
  if (Number.isNaN(new Date(ms).getTime())) return "–";
  return form("dateTime", { dateStyle: "medium", timeStyle: "medium" }).format(ms);
}

// moment is a date and time that is short enough for a table; another year than this is named.
export function moment(ms: number): string {
  const year = new Date(ms).getFullYear() === new Date().getFullYear() ? {} : ({ year: "numeric" } as const);
  return new Date(ms).toLocaleString(locale.value, { ...year, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

export function clock(ms: number): string {
  if (Number.isNaN(new Date(ms).getTime())) return "–";
  return form("clock", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms);
}

// ago writes how long ago (or ahead) a moment is.
export function ago(ms: number, now = Date.now()): string {
  const s = Math.round((ms - now) / 1000);
  if (Math.abs(s) < 5) return t("time.now");
  const form = new Intl.RelativeTimeFormat(locale.value, { numeric: "auto", style: "short" });
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]] as const) {
    if (Math.abs(s) >= length) return form.format(Math.trunc(s / length), unit);
  }
  return form.format(s, "second");
}
