// The small parts that pages are made of.

import { signal } from "@preact/signals";
import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { link, Problem } from "../api.ts";
import { ago, clock, dateTime } from "../format.ts";
import type { Live } from "../live.ts";
import { t } from "../words.ts";

// Page is the frame of every page: a heading, what can be done, and the rest.
export function Page({ title, actions, children, lead, crumbs }: { title: ComponentChildren; actions?: ComponentChildren; lead?: ComponentChildren; crumbs?: ComponentChildren; children: ComponentChildren }) {
  useEffect(() => { document.title = `${typeof title === "string" ? title : "Skein"} · Skein`; }, [title]);
  return (
    <div class="page">
      {crumbs && <nav class="crumbs" aria-label="breadcrumb">{crumbs}</nav>}
      <header class="page-head">
        <h1>{title}</h1>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {lead && <p class="lead">{lead}</p>}
      {children}
    </div>
  );
}

export function Card({ title, actions, children, wide, flush, id }: { title?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; wide?: boolean; flush?: boolean; id?: string }) {
  return (
    <section class={`card${wide ? " wide" : ""}${flush ? " flush" : ""}`} id={id}>
      {(title || actions) && <header class="card-head">{title && <h2>{title}</h2>}{actions && <div class="actions">{actions}</div>}</header>}
      {children}
    </section>
  );
}

type Tone = "good" | "bad" | "warn" | "soft" | "accent";

export function Badge({ tone = "soft", children, title }: { tone?: Tone; children: ComponentChildren; title?: string }) {
  return <span class={`badge ${tone}`} title={title}>{children}</span>;
}

export function Button({ kind = "plain", busy, children, ...rest }: { kind?: "plain" | "main" | "danger" | "quiet"; busy?: boolean | undefined; children: ComponentChildren } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return <button type="button" class={`button ${kind}`} aria-busy={busy || undefined} {...rest} disabled={busy || rest.disabled}>{children}</button>;
}

// now ticks each second for everything that shows how long ago something was.
const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 1000);

// Ago shows how long ago (or ahead) a moment is; the tip has the moment itself.
export function Ago({ ms }: { ms: number | undefined }) {
  if (!ms) return <span class="soft">{t("time.never")}</span>;
  return <time dateTime={new Date(ms).toISOString()} title={dateTime(ms)}>{ago(ms, now.value)}</time>;
}

export function When({ ms }: { ms: number | undefined }) {
  if (!ms) return <span class="soft">–</span>;
  return <time dateTime={new Date(ms).toISOString()}>{dateTime(ms)}</time>;
}

// ErrorNote shows what went wrong where it went wrong.
export function ErrorNote({ error, retry }: { error: Problem | undefined; retry?: () => void }) {
  if (!error) return null;
  return (
    <div class="note bad" role="alert">
      <span><strong>{t("error.title")}.</strong> {error.field ? t("error.field", { field: error.field, message: error.message }) : error.message}</span>
      {retry && <Button onClick={retry}>{t("do.retry")}</Button>}
    </div>
  );
}

// Stale says that what is shown is old, while it is: the last try failed, or the server is away.
export function Stale({ of }: { of: Live<unknown> }) {
  if (!of.at.value) return of.error.value ? <ErrorNote error={of.error.value} retry={() => void of.refresh()} /> : null;
  if (!of.error.value && link.value === "live") return null;
  return <div class="note warn" role="status">{t("error.stale", { at: clock(of.at.value) })} {of.error.value?.message}</div>;
}

// Waiting stands where something will be.
export function Waiting() {
  return <p class="waiting" role="status">{t("table.loading")}</p>;
}

export function Empty({ children }: { children?: ComponentChildren }) {
  return <p class="empty">{children ?? t("table.empty")}</p>;
}

// Facts is a list of names and values.
export function Facts({ of }: { of: [ComponentChildren, ComponentChildren][] }) {
  return <dl class="facts">{of.map(([name, value], i) => <div key={i}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

// Stat is one figure of a row of figures.
export function Stat({ label, value, note, tone }: { label: ComponentChildren; value: ComponentChildren; note?: ComponentChildren; tone?: Tone | undefined }) {
  return <div class={`stat ${tone ?? ""}`}><span class="stat-label">{label}</span><span class="stat-value">{value}</span>{note && <span class="stat-note">{note}</span>}</div>;
}

// Tabs shows one of several parts; which one is the caller's to keep (in the address).
export function Tabs({ tabs, at, onChange, label }: { tabs: [string, ComponentChildren][]; at: string; onChange: (tab: string) => void; label: string }) {
  const arrow = (e: KeyboardEvent) => {
    const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    e.preventDefault();
    const i = (tabs.findIndex(([id]) => id === at) + step + tabs.length) % tabs.length;
    onChange(tabs[i]![0]);
    ((e.currentTarget as HTMLElement).children[i] as HTMLElement).focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={arrow}>
      {tabs.map(([id, name]) => (
        <button key={id} type="button" role="tab" aria-selected={id === at} tabIndex={id === at ? 0 : -1} onClick={() => onChange(id)}>{name}</button>
      ))}
    </div>
  );
}

// Copy shows a text in a fixed font with a button that copies it.
export function Copy({ text, short }: { text: string; short?: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return <span class="copy"><code title={text}>{short ?? text}</code><button type="button" class="icon" onClick={copy} aria-label={`${t("do.copy")}: ${text}`} title={done ? t("do.copied") : t("do.copy")}><svg viewBox="0 0 18 18" width="15" height="15" aria-hidden="true"><path d={done ? "M4 9l4 4 7-8" : "M7 6h8v9H7zM11 6V3H3v9h4"} fill="none" stroke="currentColor" stroke-width="1.5" /></svg></button></span>;
}

// toasts are short words about what was done; they go by themselves.
const toasts = signal<{ id: number; text: string; bad: boolean }[]>([]);
let toastID = 0;

export function toast(text: string, bad = false): void {
  const id = ++toastID;
  toasts.value = [...toasts.value, { id, text, bad }].slice(-4);
  setTimeout(() => { toasts.value = toasts.value.filter((it) => it.id !== id); }, bad ? 8000 : 4000);
}

export function Toasts() {
  return <div class="toasts" role="status" aria-live="polite">{toasts.value.map((it) => <div key={it.id} class={it.bad ? "toast bad" : "toast"}>{it.text}</div>)}</div>;
}

// useRun runs something that may fail, and keeps whether it runs and how it failed. A
// second call while one runs does nothing, so that a double click sends once.
export function useRun(): { busy: boolean; error: Problem | undefined; run: (what: () => Promise<void>) => Promise<boolean>; clear: () => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Problem | undefined>(undefined);
  const run = async (what: () => Promise<void>) => {
    if (busy) return false;
    setBusy(true);
    setError(undefined);
    try {
      await what();
      return true;
    } catch (e) {
      setError(e instanceof Problem ? e : new Problem("internal", e instanceof Error ? e.message : String(e)));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run, clear: () => setError(undefined) };
}

// Field gives a control a label, a hint and the server's word about it.
export function Field({ label, hint, error, children }: { label: ComponentChildren; hint?: ComponentChildren; error?: string | undefined; children: (ids: { id: string; "aria-describedby"?: string; "aria-invalid"?: boolean }) => ComponentChildren }) {
  const id = useId();
  const told = hint || error ? { "aria-describedby": `${id}-note` } : {};
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, ...told, ...(error ? { "aria-invalid": true } : {}) })}
      {(hint || error) && <div id={`${id}-note`} class={error ? "field-note bad" : "field-note"}>{error ?? hint}</div>}
    </div>
  );
}

type Input = { label: ComponentChildren; hint?: ComponentChildren; error?: string | undefined; value: string; onChange: (value: string) => void };

interface Line {
  type?: "text" | "password" | "number" | "datetime-local" | "time" | "date";
  placeholder?: string;
  required?: boolean;
  disabled?: boolean;
  autofocus?: boolean;
  autocomplete?: "off" | "username" | "current-password";
  min?: number | string;
  max?: number | string;
  step?: number | string;
  list?: string; // id of a datalist
}

export function Text({ label, hint, error, value, onChange, ...rest }: Input & Line) {
  return <Field label={label} hint={hint} error={error}>{(ids) => <input {...(rest as object)} {...ids} value={value} spellcheck={false} autocomplete={rest.autocomplete ?? "off"} onInput={(e) => onChange(e.currentTarget.value)} />}</Field>;
}

export function Area({ label, hint, error, value, onChange, rows = 6 }: Input & { rows?: number }) {
  return <Field label={label} hint={hint} error={error}>{(ids) => <textarea {...ids} class="code" rows={rows} value={value} spellcheck={false} onInput={(e) => onChange(e.currentTarget.value)} />}</Field>;
}

export function Select({ label, hint, error, value, onChange, options }: Input & { options: [string, string][] }) {
  return <Field label={label} hint={hint} error={error}>{(ids) => <select {...ids} value={value} onChange={(e) => onChange(e.currentTarget.value)}>{options.map(([id, name]) => <option key={id} value={id}>{name}</option>)}</select>}</Field>;
}

export function Check({ label, value, onChange }: { label: ComponentChildren; value: boolean; onChange: (value: boolean) => void }) {
  return <label class="check"><input type="checkbox" checked={value} onChange={(e) => onChange(e.currentTarget.checked)} /> <span>{label}</span></label>;
}

// Search is a filter that is applied when one stops typing.
export function Search({ label, value, onChange, placeholder }: { label: string; value: string; onChange: (value: string) => void; placeholder?: string }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text.trim()), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return <input type="search" class="search" aria-label={label} placeholder={placeholder ?? label} value={text} spellcheck={false} autocomplete="off" onInput={(e) => setText(e.currentTarget.value)} />;
}
