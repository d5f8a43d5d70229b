// Making and changing a category.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { setQuery } from "../../router.tsx";
import { t } from "../../words.ts";
import { Button, Check, Field, Select, Text, toast } from "../../ui/parts.tsx";
import { Form } from "../../ui/dialog.tsx";
import type { Category } from "../../people/types.ts";

interface Cap {
  max: string;
  per: string;
}

interface Fields {
  name: string;
  caps: Cap[];
  parent: string;
  from: string;
  to: string;
  on_cap: string;
  on_quiet: string;
  priority: string;
  ttl: string;
  bypass: boolean;
  counts: boolean;
  mutable: boolean;
  escalate: string;
}

function fieldsOf(c: Category | undefined): Fields {
  return {
    name: c?.name ?? "", caps: (c?.caps ?? []).map((cap) => ({ max: String(cap.max), per: cap.per })), parent: c?.parent ?? "",
    from: c?.quiet?.from ?? "", to: c?.quiet?.to ?? "", on_cap: c?.on_cap ?? "inbox", on_quiet: c?.on_quiet ?? "defer",
    priority: String(c?.priority ?? 5), ttl: c?.ttl ?? "", bypass: c?.bypass ?? false, counts: c?.counts ?? false, mutable: c?.mutable ?? true, escalate: c?.escalate ?? "",
  };
}

function paramsOf(f: Fields): object {
  return {
    name: f.name, on_cap: f.on_cap, on_quiet: f.on_quiet, mutable: f.mutable, priority: Number(f.priority),
    ...(f.caps.length > 0 ? { caps: f.caps.map((c) => ({ per: c.per.trim(), max: c.max === "" ? "" : Number(c.max) })) } : {}),
    ...(f.parent ? { parent: f.parent } : {}), ...(f.ttl ? { ttl: f.ttl } : {}), ...(f.escalate ? { escalate: f.escalate } : {}),
    ...(!f.bypass && (f.from || f.to) ? { quiet: { from: f.from, to: f.to } } : {}),
    ...(f.bypass ? { bypass: true, ...(f.counts ? { counts: true } : {}) } : {}),
  };
}

export function CategoryDialog({ of, all, onClose, after }: { of?: Category; all: Category[]; onClose: () => void; after: () => Promise<void> }) {
  const [f, setFields] = useState(() => fieldsOf(of));
  const set = (change: Partial<Fields>) => setFields({ ...f, ...change });
  const cap = (i: number, change: Partial<Cap>) => set({ caps: f.caps.map((c, j) => (j === i ? { ...c, ...change } : c)) });
  const run = async () => {
    await call("categories.put", paramsOf(f));
    toast(t("done.saved"));
    await after();
    setQuery({ show: f.name });
  };
  const parents = all.filter((c) => c.name !== f.name).map((c): [string, string] => [c.name, c.name]);
  return (
    <Form title={of ? t("category.edit", { name: of.name }) : t("categories.new")} action={t("do.save")} wide onClose={onClose} run={run} disabled={!f.name}>
      <div class="fields">
        {!of && <Text label={t("word.name")} hint={t("category.name.hint")} value={f.name} onChange={(name) => set({ name })} required />}
        <Select label={t("category.parent")} hint={t("category.parent.hint")} value={f.parent} onChange={(parent) => set({ parent })} options={[["", t("word.none")], ...parents]} />
        <Text label={t("category.priority")} hint={t("category.priority.hint")} type="number" min={0} max={9} value={f.priority} onChange={(priority) => set({ priority })} />
      </div>
      <fieldset class="where">
        <legend>{t("category.caps")}</legend>
        {f.caps.map((c, i) => (
          <div class="where-row" key={i} role="group" aria-label={t("category.cap", { n: i + 1 })}>
            <input class="short" type="number" min={0} max={1000} aria-label={t("category.max")} value={c.max} required onInput={(e) => cap(i, { max: e.currentTarget.value })} />
            <span class="where-word">{t("category.per")}</span>
            <input class="grow" aria-label={t("category.per.label")} list="caps-per" value={c.per} required spellcheck={false} autocomplete="off" onInput={(e) => cap(i, { per: e.currentTarget.value })} />
            <button type="button" class="icon" aria-label={t("category.cap.remove", { n: i + 1 })} onClick={() => set({ caps: f.caps.filter((_, j) => j !== i) })}>✕</button>
          </div>
        ))}
        <datalist id="caps-per">{["hour", "day", "week", "90m", "24h"].map((p) => <option key={p} value={p} />)}</datalist>
        <p class="field-note">{t("category.caps.hint")}</p>
        {f.caps.length < 8 && <div class="where-add"><Button onClick={() => set({ caps: [...f.caps, { max: "3", per: "day" }] })}>{t("category.cap.add")}</Button></div>}
        <Select label={t("category.on_cap")} value={f.on_cap} onChange={(on_cap) => set({ on_cap })} options={[["inbox", t("category.on_cap.inbox")], ["drop", t("category.on_cap.drop")], ["defer", t("category.on_cap.defer")]]} />
      </fieldset>
      <fieldset class="where">
        <legend>{t("category.quiet")}</legend>
        <div class="fields">
          <Field label={t("category.quiet.from")}>{(ids) => <input {...ids} type="time" value={f.from} disabled={f.bypass} onInput={(e) => set({ from: e.currentTarget.value })} />}</Field>
          <Field label={t("category.quiet.to")} hint={t("category.quiet.hint")}>{(ids) => <input {...ids} type="time" value={f.to} disabled={f.bypass} onInput={(e) => set({ to: e.currentTarget.value })} />}</Field>
          <Select label={t("category.on_quiet")} value={f.on_quiet} onChange={(on_quiet) => set({ on_quiet })} options={[["defer", t("category.on_quiet.defer")], ["inbox", t("category.on_quiet.inbox")], ["ignore", t("category.on_quiet.ignore")]]} />
        </div>
      </fieldset>
      <div class="fields">
        <Text label={t("category.ttl")} hint={t("category.ttl.hint")} placeholder="72h" value={f.ttl} onChange={(ttl) => set({ ttl })} />
        <Text label={t("category.escalate")} hint={t("category.escalate.hint")} placeholder="10m" value={f.escalate} onChange={(escalate) => set({ escalate })} />
      </div>
      <div class="checks">
        <Check label={t("category.bypass.label")} value={f.bypass} onChange={(bypass) => set({ bypass, counts: bypass && f.counts, mutable: !bypass })} />
        {f.bypass && <Check label={t("category.counts.label")} value={f.counts} onChange={(counts) => set({ counts })} />}
        <Check label={t("category.mutable")} value={f.mutable} onChange={(mutable) => set({ mutable })} />
      </div>
    </Form>
  );
}
