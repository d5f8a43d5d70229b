// Runs a verb and shows what comes back, whatever it is.

import { effect, signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { attempt, type Answer } from "../../api.ts";
import { number } from "../../format.ts";
import { format, type Json } from "../../json.ts";
import { example, type Verb } from "../../openapi.ts";
import { may, session } from "../../session.ts";
import { t } from "../../words.ts";
import { Confirm } from "../../ui/dialog.tsx";
import { JsonField, JsonView, readJson } from "../../ui/json.tsx";
import { Badge, Button, Card, Copy, ErrorNote, Select, Text, useRun } from "../../ui/parts.tsx";

// The key is nowhere but here, and gone with the page or the session.
const apiKey = signal("");
const withKey = signal(false);
let whose = "";
effect(() => {
  const user = session.value?.user ?? "";
  if (user === whose) return;
  whose = user;
  apiKey.value = "";
  withKey.value = false;
});

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

// curl is the same call for a shell; the key is a variable of it.
export function curl(verb: string, body: Json, idempotency: string): string {
  return [
    `curl -sS ${quoted(`${location.origin}/api/v1/${verb}`)}`, `-H "Authorization: Bearer $SKEIN_KEY"`, `-H 'Content-Type: application/json'`,
    ...(idempotency ? [`-H ${quoted(`Idempotency-Key: ${idempotency}`)}`] : []), `--data-raw ${quoted(format(body))}`,
  ].join(" \\\n  ");
}

function Outcome({ of }: { of: Answer }) {
  return (
    <div class="ops-answer" role="status">
      <p class="ops-answer-head">
        <Badge tone={of.status < 400 ? "good" : "bad"}>{t("explorer.status", { status: of.status })}</Badge>
        <span class="soft">{t("explorer.took", { ms: number(of.took, of.took < 10 ? 1 : 0) })}</span>
      </p>
      {of.body !== undefined ? <JsonView value={of.body} label={t("explorer.answer")} /> : <><p class="soft">{t("explorer.notjson")}</p><pre class="code">{of.text.slice(0, 20_000)}</pre></>}
    </div>
  );
}

function Caller({ verb, mine }: { verb: string; mine: boolean }) {
  const it = session.value!;
  const options: [string, string][] = [...(mine ? [["me", t("explorer.as.me", { user: it.user, role: t(`shell.role.${it.role}`) })] as [string, string]] : []), ["key", t("explorer.as.key")]];
  return (
    <>
      {!mine && <p class="note warn">{t("explorer.denied.long", { verb })}</p>}
      <div class="fields">
        <Select label={t("explorer.as")} value={withKey.value || !mine ? "key" : "me"} options={options} onChange={(to) => { withKey.value = to === "key"; }} />
        {(withKey.value || !mine) && <Text label={t("explorer.key")} hint={t("explorer.key.hint")} type="password" value={apiKey.value} onChange={(key) => { apiKey.value = key; }} />}
      </div>
    </>
  );
}

export function Try({ of }: { of: Verb }) {
  const first = () => format(example(of.params), 2);
  const [text, setText] = useState(first);
  const [idempotency, setIdempotency] = useState("");
  const [answer, setAnswer] = useState<Answer | undefined>(undefined);
  const [asking, setAsking] = useState(false);
  const it = useRun();
  // Several verbs in one go are run as what they are, each with the role's own rights.
  const mine = of.name === "batch" || may(of.name);
  const asKey = withKey.value || !mine;
  const body = readJson(text, {});
  const ready = body.value !== undefined && (!asKey || apiKey.value !== "");
  const send = async () => {
    setAnswer(undefined);
    setAnswer(await attempt(of.name, body.value, { ...(asKey ? { apiKey: apiKey.value } : {}), ...(idempotency ? { key: idempotency } : {}) }));
  };
  const run = () => {
    if (of.kind !== "read" && !asKey) setAsking(true);
    else void it.run(send);
  };
  return (
    <Card title={t("explorer.try")}>
      <form class="form" onSubmit={(e) => { e.preventDefault(); if (ready) run(); }}>
        <JsonField label={t("explorer.body")} value={text} onChange={setText} rows={Math.min(16, Math.max(5, text.split("\n").length + 1))} />
        <Caller verb={of.name} mine={mine} />
        {of.keyed && <Text label={t("explorer.idempotency")} hint={t("explorer.idempotency.hint")} value={idempotency} onChange={setIdempotency} />}
        <div class="actions">
          <Button type="submit" kind="main" busy={it.busy} disabled={!ready}>{t("explorer.run")}</Button>
          <Button kind="quiet" onClick={() => setText(first())}>{t("explorer.example")}</Button>
        </div>
        <ErrorNote error={it.error} />
      </form>
      {answer && <Outcome of={answer} />}
      {body.value !== undefined && <details class="ops-curl"><summary>{t("explorer.curl")}</summary><pre class="code" tabIndex={0}>{curl(of.name, body.value, idempotency)}</pre><Copy text={curl(of.name, body.value, idempotency)} short="curl …" /></details>}
      {asking && (
        <Confirm title={t("explorer.run.title", { verb: of.name })} text={t("explorer.run.text")} action={t("explorer.run")} onClose={() => setAsking(false)}
          run={send} {...(of.name === "users.delete" ? { word: of.name } : {})} />
      )}
    </Card>
  );
}
