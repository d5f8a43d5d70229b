// JSON for people: shown, edited, compared.

import { useMemo, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { equal, Exact, format, JsonError, parse, type Json } from "../json.ts";
import { t } from "../words.ts";
import { Button, Field } from "./parts.tsx";

const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)/g;

// colour marks names, strings, numbers and words. It makes text nodes: what is in a
// string is never taken for markup.
function colour(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let last = 0;
  for (const m of text.matchAll(tokens)) {
    if (m.index > last) out.push(text.slice(last, m.index));
    const kind = m[2] !== undefined ? "j-name" : m[1] !== undefined ? "j-text" : m[3] !== undefined ? "j-word" : "j-number";
    out.push(<span class={kind}>{m[1] ?? m[0]}</span>);
    if (m[2]) out.push(m[2]);
    last = m.index + m[0].length;
  }
  out.push(text.slice(last));
  return out;
}

const shownAtOnce = 20_000;

// JsonView shows a value over several lines.
export function JsonView({ value, label }: { value: unknown; label?: string }) {
  const [all, setAll] = useState(false);
  const text = useMemo(() => format(value, 2), [value]);
  const long = text.length > shownAtOnce;
  return (
    <div class="json">
      <pre class="code" tabIndex={0} role="region" aria-label={label ?? "JSON"}>{long ? (all ? text : text.slice(0, shownAtOnce) + " …") : colour(text)}</pre>
      {long && !all && <Button onClick={() => setAll(true)}>{t("do.show")}</Button>}
    </div>
  );
}

// JsonLine shows a value in one line, cut where there is no more room.
export function JsonLine({ value }: { value: unknown }) {
  const text = format(value);
  return <code class="line" title={text.length < 2000 ? text : undefined}>{text.length > 400 ? text.slice(0, 400) + "…" : text}</code>;
}

export interface JsonText {
  text: string;
  value: Json | undefined; // undefined: it is not JSON
  error: string | undefined;
}

// readJson reads what somebody types; an empty text is an error unless empty says what it is.
export function readJson(text: string, empty?: Json): JsonText {
  if (!text.trim() && empty !== undefined) return { text, value: empty, error: undefined };
  try {
    return { text, value: parse(text), error: undefined };
  } catch (e) {
    if (!(e instanceof JsonError)) throw e;
    return { text, value: undefined, error: t("json.bad", { line: e.line, column: e.column, reason: e.message }) };
  }
}

// JsonField is a text field for JSON that tells where it is none.
export function JsonField({ label, hint, value, onChange, rows = 8, error }: { label: ComponentChildren; hint?: ComponentChildren; value: string; onChange: (text: string) => void; rows?: number; error?: string | undefined }) {
  const wrong = value.trim() ? readJson(value).error : undefined;
  return <Field label={label} hint={hint} error={wrong ?? error}>{(ids) => <textarea {...ids} class="code" rows={rows} value={value} spellcheck={false} onInput={(e) => onChange(e.currentTarget.value)} />}</Field>;
}

export interface Change {
  path: string; // RFC 6901
  before?: Json | undefined; // undefined: it was not there
  after?: Json | undefined;
}

const isObject = (v: Json | undefined): v is { [key: string]: Json } => typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Exact);

// compare lists what differs between two values, by place.
export function compare(before: Json | undefined, after: Json | undefined, path = "", out: Change[] = []): Change[] {
  if (before !== undefined && after !== undefined && equal(before, after)) return out;
  if (isObject(before) && isObject(after)) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const step = `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      compare(Object.hasOwn(before, name) ? before[name] : undefined, Object.hasOwn(after, name) ? after[name] : undefined, step, out);
    }
    return out;
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    for (let i = 0; i < Math.max(before.length, after.length); i++) compare(before[i], after[i], `${path}/${i}`, out);
    return out;
  }
  out.push({ path, before, after });
  return out;
}

// Diff shows changes by place: what was there, and what is there then.
export function Diff({ changes }: { changes: Change[] }) {
  return (
    <div class="table-frame">
      <table class="diff">
        <tbody>
          {changes.map((c) => (
            <tr key={c.path}>
              <th scope="row"><code>{c.path || "/"}</code></th>
              <td>{c.before !== undefined && <del><JsonLine value={c.before} /></del>}</td>
              <td>{c.after !== undefined && <ins><JsonLine value={c.after} /></ins>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
