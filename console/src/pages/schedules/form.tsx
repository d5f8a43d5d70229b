// Making and changing a schedule.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { format } from "../../json.ts";
import { example, useVerbs } from "../../openapi.ts";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Form } from "../../ui/dialog.tsx";
import { JsonField, readJson } from "../../ui/json.tsx";
import { Button, Check, Select, Stale, Text, toast } from "../../ui/parts.tsx";
import { draft, wanted, type Draft, type Schedule } from "./model.ts";

type Set = (change: Partial<Draft>) => void;

function When({ d, set }: { d: Draft; set: Set }) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zones = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return (
    <div class="fields">
      <Select label={t("schedules.kind")} value={d.kind} onChange={(kind) => set({ kind: kind as Draft["kind"] })} options={[["every", t("schedules.kind.every")], ["cron", t("schedules.kind.cron")], ["at", t("schedules.kind.at")]]} />
      {d.kind === "at" && <Text label={t("schedules.field.at")} hint={t("schedules.local", { zone })} type="datetime-local" step={1} required value={d.at} onChange={(at) => set({ at })} />}
      {d.kind === "every" && <Text label={t("schedules.field.every")} hint={t("schedules.field.every.hint")} required value={d.every} onChange={(every) => set({ every })} />}
      {d.kind === "every" && <Text label={t("schedules.field.start")} hint={`${t("schedules.field.start.hint")}; ${t("schedules.local", { zone })}`} type="datetime-local" step={1} value={d.start} onChange={(start) => set({ start })} />}
      {d.kind === "cron" && <Text label={t("schedules.field.cron")} hint={t("schedules.field.cron.hint")} required value={d.cron} onChange={(cron) => set({ cron })} />}
      {d.kind === "cron" && <Text label={t("schedules.field.zone")} hint={t("schedules.field.zone.hint")} list="zones" value={d.zone} onChange={(zone) => set({ zone })} />}
      {d.kind === "cron" && <datalist id="zones">{zones.map((name) => <option key={name} value={name} />)}</datalist>}
    </div>
  );
}

function More({ d, set }: { d: Draft; set: Set }) {
  const [used] = useState(d.while_occupied !== "" || d.jitter !== "" || d.until !== "" || d.count !== "" || d.misfire === "all");
  return (
    <details class="ops-more" open={used}>
      <summary>{t("schedules.more")}</summary>
      <div class="fields">
        <Text label={t("schedules.field.occupied")} hint={t("schedules.field.occupied.hint")} value={d.while_occupied} onChange={(to) => set({ while_occupied: to, misfire: to ? "skip" : d.misfire })} />
        <Select label={t("schedules.field.misfire")} value={d.misfire || (d.while_occupied ? "skip" : "once")} onChange={(misfire) => set({ misfire })} options={[["once", t("schedules.misfire.once")], ["skip", t("schedules.misfire.skip")], ["all", t("schedules.misfire.all")]]} />
        {d.misfire === "all" && <Text label={t("schedules.field.all")} type="number" min={1} max={100} value={d.all} onChange={(all) => set({ all })} />}
        <Select label={t("schedules.field.overlap")} value={d.overlap} onChange={(overlap) => set({ overlap })} options={[["skip", t("schedules.overlap.skip")], ["queue", t("schedules.overlap.queue")]]} />
        <Text label={t("schedules.field.jitter")} hint={t("schedules.field.jitter.hint")} value={d.jitter} onChange={(jitter) => set({ jitter })} />
        <Text label={t("schedules.field.until")} type="datetime-local" step={1} value={d.until} onChange={(until) => set({ until })} />
        <Text label={t("schedules.field.count")} hint={t("schedules.field.count.hint")} type="number" min={1} value={d.count} onChange={(count) => set({ count })} />
      </div>
    </details>
  );
}

export function Edit({ of, onClose, onDone }: { of?: Schedule; onClose: () => void; onDone: (name: string) => void }) {
  const [d, change] = useState(() => draft(of));
  const set: Set = (to) => change((was) => ({ ...was, ...to }));
  const it = useVerbs();
  const verbs = (it.data.value ?? []).filter((v) => !v.name.startsWith("schedules.") && v.name !== "batch" && may(v.name));
  const names = verbs.map((v) => v.name);
  if (d.verb && !names.includes(d.verb)) names.unshift(d.verb);
  const params = readJson(d.params, {});
  const chosen = verbs.find((v) => v.name === d.verb);
  const run = async () => {
    await call("schedules.put", wanted(d, params.value ?? {}, of));
    toast(t("done.saved"));
    onDone(d.name);
  };
  return (
    <Form title={of ? t("schedules.edit.title", { name: of.name }) : t("schedules.new")} action={t("do.save")} onClose={onClose} run={run} disabled={!d.name || !d.verb || params.value === undefined} wide>
      <Stale of={it} />
      <div class="fields">
        <Text label={t("schedules.name")} value={d.name} required autofocus={of === undefined} disabled={of !== undefined} onChange={(name) => set({ name })} />
        <Select label={t("schedules.verb")} hint={chosen?.summary} value={d.verb} onChange={(verb) => set({ verb })} options={[["", t("schedules.choose")], ...names.map((name): [string, string] => [name, name])]} />
      </div>
      <When d={d} set={set} />
      <div>
        <JsonField label={t("schedules.field.params")} value={d.params} onChange={(text) => set({ params: text })} rows={7} />
        {chosen && <Button kind="quiet" onClick={() => set({ params: format(example(chosen.params), 2) })}>{t("schedules.field.params.example")}</Button>}
      </div>
      <More d={d} set={set} />
      <Check label={t("schedules.field.enabled")} value={d.enabled} onChange={(enabled) => set({ enabled })} />
    </Form>
  );
}
