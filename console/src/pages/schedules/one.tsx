// The page of one schedule.

import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { call } from "../../api.ts";
import { number, seconds } from "../../format.ts";
import type { Json } from "../../json.ts";
import { useLive } from "../../live.ts";
import { A, go, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Confirm } from "../../ui/dialog.tsx";
import { JsonView } from "../../ui/json.tsx";
import { Ago, Button, Card, Copy, ErrorNote, Facts, Page, Stale, toast, useRun, Waiting, When } from "../../ui/parts.tsx";
import { Table } from "../../ui/table.tsx";
import { Edit } from "./form.tsx";
import { plan, skips, upcoming, type Firing, type Schedule } from "./model.ts";
import { Result, State } from "./state.tsx";

interface Ran {
  id: string;
  result: Json;
}

function Plan({ of: s }: { of: Schedule }) {
  const facts: [ComponentChildren, ComponentChildren][] = [
    [t("word.state"), <State of={s} />], [t("schedules.plan"), plan(s)], [t("schedules.verb"), <A to={path(["explorer", s.verb])}><code>{s.verb}</code></A>],
  ];
  if (s.start) facts.push([t("schedules.field.start"), <When ms={Date.parse(s.start)} />]);
  facts.push([t("schedules.field.occupied"), s.while_occupied ? <A to={path(["channels", s.while_occupied])}>{s.while_occupied}</A> : t("schedules.always")]);
  facts.push([t("schedules.field.misfire"), typeof s.misfire === "object" ? `${t("schedules.misfire.all")} ${s.misfire.all}` : t(s.misfire === "skip" ? "schedules.misfire.skip" : "schedules.misfire.once")]);
  facts.push([t("schedules.field.overlap"), t(s.overlap === "queue" ? "schedules.overlap.queue" : "schedules.overlap.skip")]);
  if (s.jitter) facts.push([t("schedules.field.jitter"), s.jitter]);
  if (s.until) facts.push([t("schedules.field.until"), <When ms={Date.parse(s.until)} />]);
  facts.push([t("schedules.field.count"), s.count ? number(s.count) : t("schedules.noend")], [t("schedules.created"), <When ms={s.created} />], [t("schedules.changed"), <When ms={s.changed} />]);
  return <Card title={t("schedules.plan")}><Facts of={facts} /></Card>;
}

function Runs({ of: s }: { of: Schedule }) {
  const next = upcoming(s);
  const left = skips(s);
  return (
    <Card title={t("schedules.upcoming")}>
      {next.length === 0 ? <p class="soft">{t("schedules.upcoming.none")}</p> : <ol class="ops-times">{next.map((ms, i) => <li key={ms}><When ms={ms} />{i === 0 && <span class="soft"> · <Ago ms={ms} /></span>}</li>)}</ol>}
      <Facts of={[
        [t("schedules.runs"), `${number(s.runs)} · ${t("schedules.failures")}: ${number(s.failures)}`],
        [t("schedules.skipped"), left.length > 0 ? left.join(", ") : t("word.none")],
        [t("schedules.last"), <Result of={s.last} />],
        ...(s.last?.error ? [[t("schedules.error"), <span class="ops-bad">{s.last.error.code}: {s.last.error.message}</span>] as [string, ComponentChildren]] : []),
      ]} />
    </Card>
  );
}

function Recent({ of: s }: { of: Schedule }) {
  return (
    <Card title={t("schedules.recent")} flush={s.recent.length > 0}>
      <Table label={t("schedules.recent")} rows={s.recent} rowKey={(f: Firing) => `${f.planned} ${f.started}`} empty={t("schedules.recent.empty")} columns={[
        { name: t("schedules.planned"), cell: (f) => <When ms={f.planned} /> },
        { name: t("schedules.outcome"), cell: (f) => <Result of={f} short /> },
        { name: t("schedules.took"), cell: (f) => (f.finished > f.started ? seconds((f.finished - f.started) / 1000) : "< 1 ms"), end: true },
        { name: t("schedules.error"), cell: (f) => (f.error ? <span title={f.error.message}>{f.error.code}: {f.error.message}</span> : <span class="soft">–</span>), grow: true, wide: true },
      ]} />
    </Card>
  );
}

export function One({ name, query }: { name: string; query: URLSearchParams }) {
  const it = useLive((signal) => call<Schedule>("schedules.get", { name }, { signal }), 2000, [name]);
  const [ask, setAsk] = useState<"" | "run" | "delete">("");
  const [ran, setRan] = useState<Ran | undefined>(undefined);
  const doing = useRun();
  const s = it.data.value;
  const change = (verb: string, said: string) => doing.run(async () => {
    await call(verb, { name });
    toast(said);
    await it.refresh();
  });
  const runNow = async () => {
    setRan(undefined);
    setRan(await call<Ran>("schedules.run", { name }, { patience: 70_000 }));
    await it.refresh();
  };
  const actions = s && (
    <>
      {may("schedules.run") && <Button kind="main" onClick={() => setAsk("run")}>{t("schedules.run")}</Button>}
      {s.enabled && may("schedules.pause") && <Button busy={doing.busy} onClick={() => void change("schedules.pause", t("schedules.paused"))}>{t("do.pause")}</Button>}
      {!s.enabled && may("schedules.resume") && <Button busy={doing.busy} onClick={() => void change("schedules.resume", t("schedules.resumed"))}>{t("do.resume")}</Button>}
      {may("schedules.put") && <Button onClick={() => setQuery({ edit: "1" })}>{t("do.edit")}</Button>}
      {may("schedules.delete") && <Button kind="danger" onClick={() => setAsk("delete")}>{t("do.delete")}</Button>}
    </>
  );
  return (
    <Page title={name} crumbs={<A to={path(["schedules"])}>{t("schedules.title")}</A>} actions={actions}>
      <Stale of={it} />
      <ErrorNote error={doing.error} />
      {!s && !it.error.value && <Waiting />}
      {ran && s && <Card title={t("schedules.ran", { verb: s.verb })}><p>{t("schedules.ran.id")}: <Copy text={ran.id} /></p><JsonView value={ran.result} /></Card>}
      {s && <div class="grid"><Plan of={s} /><Runs of={s} /></div>}
      {s && <Card title={t("schedules.field.params")}><JsonView value={s.params ?? {}} label={t("schedules.field.params")} /></Card>}
      {s && <Recent of={s} />}
      {s?.last && (s.last.result !== undefined || s.last.result_omitted) && <Card title={t("schedules.result")}>{s.last.result_omitted ? <p class="soft">{t("schedules.omitted")}</p> : <JsonView value={s.last.result} label={t("schedules.result")} />}</Card>}
      {s && query.get("edit") && may("schedules.put") && <Edit of={s} onClose={() => setQuery({ edit: undefined })} onDone={() => void it.refresh()} />}
      {s && ask === "run" && <Confirm title={t("schedules.run.title", { name })} text={<>{t("schedules.run.text", { verb: s.verb })}<JsonView value={s.params ?? {}} label={t("schedules.field.params")} /></>} action={t("schedules.run")} onClose={() => setAsk("")} run={runNow} />}
      {s && ask === "delete" && <Confirm title={t("schedules.delete.title", { name })} text={t("schedules.delete.text")} action={t("do.delete")} onClose={() => setAsk("")} run={async () => {
        await call("schedules.delete", { name });
        toast(t("done.deleted"));
        go(path(["schedules"]));
      }} />}
    </Page>
  );
}
