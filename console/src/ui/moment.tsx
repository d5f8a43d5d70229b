// Fields for a moment, in the time zone of whoever sits before the page, and files that
// the page hands out.

import type { ComponentChildren } from "preact";
import { Text } from "./parts.tsx";

const two = (n: number) => String(n).padStart(2, "0");

// localText writes a moment as a field of the browser wants it; localTime reads it.
export function localText(ms: number | undefined): string {
  if (ms === undefined || Number.isNaN(ms)) return "";
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function localTime(text: string): number | undefined {
  const ms = text ? new Date(text).getTime() : NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

// Moment is a field for a moment in Unix milliseconds.
export function Moment({ label, hint, value, onChange, error }: { label: ComponentChildren; hint?: ComponentChildren; error?: string; value: number | undefined; onChange: (ms: number | undefined) => void }) {
  return <Text label={label} hint={hint} error={error} type="datetime-local" step={1} value={localText(value)} onChange={(text) => onChange(localTime(text))} />;
}

// download hands a text out as a file.
export function download(name: string, text: string, type = "application/x-ndjson"): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const a = document.createElement("a");
  a.href = address;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
