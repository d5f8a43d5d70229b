// Editing a document as text. What is sent are the operations that the edit amounts to, for
// the version that it began with; when there is a newer one by then, nothing is written, and
// one's own changes stay.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { number } from "../../format.ts";
import { format, type Json } from "../../json.ts";
import { applied, at, operations, type Change, type Op } from "../../ops.ts";
import { session } from "../../session.ts";
import { useUnsaved } from "../../router.tsx";
import { t } from "../../words.ts";
import { Form } from "../../ui/dialog.tsx";
import { compare, Diff, JsonField, JsonView, readJson } from "../../ui/json.tsx";
import { Button, Card, Text, toast } from "../../ui/parts.tsx";
import { useOnce } from "../../ui/publish.tsx";
import type { Doc } from "./document.tsx";

// places shows what operations change: what is there now, and what is there then.
export function places(now: Json | undefined, ops: Op[]): Change[] {
  return ops.map((o) => ({ path: o.path, before: o.path === "" ? now ?? undefined : at(now, o.path), after: o.op === "remove" ? undefined : o.value }));
}

export function Editor({ channel, now, refresh, onClose }: { channel: string; now: Doc; refresh: () => Promise<void>; onClose: () => void }) {
  const base = useRef(now); // what the edit began with
  const [text, setText] = useState(() => format(now.data, 2));
  const [review, setReview] = useState(false);
  const read = readJson(text);
  const ops = useMemo(() => (read.value === undefined ? [] : operations(base.current.data, read.value)), [text, base.current]);
  const newer = now.version !== base.current.version || now.epoch !== base.current.epoch;
  const [, draw] = useState(0);
  const saved = useUnsaved(read.value === undefined || ops.length > 0);
  // Takes the own changes over to the newer value.
  const rebase = () => {
    const mine = applied(now.data, ops) ?? null;
    base.current = now;
    setText(format(mine, 2));
    setReview(false);
  };
  const discard = () => {
    base.current = now;
    setText(format(now.data, 2));
    draw((n) => n + 1);
  };
  // Who has changed nothing yet goes on with the newer value.
  useEffect(() => { if (newer && read.value !== undefined && ops.length === 0 && !review) discard(); }, [now.version, now.epoch]);
  return (
    <>
      {newer && <Newer base={base.current} now={now} ops={ops} rebase={rebase} discard={discard} />}
      <Card title={t("doc.edit.title", { n: number(base.current.version) })} actions={<><Button onClick={onClose}>{t("do.cancel")}</Button><Button kind="main" disabled={ops.length === 0} onClick={() => setReview(true)}>{t("doc.review")}</Button></>}>
        <div class="editor"><JsonField label={t("channels.document")} value={text} onChange={setText} rows={20} error={text.trim() ? undefined : t("doc.edit.empty")} /></div>
        <p class="soft small" role="status">{read.value === undefined ? "" : ops.length === 0 ? t("data.nochange") : t("doc.edit.count", { n: number(ops.length) })}</p>
      </Card>
      {review && <Review channel={channel} base={base.current} ops={ops} onConflict={refresh} onClose={() => setReview(false)} done={async () => { saved(); await refresh(); onClose(); }} />}
    </>
  );
}

function Newer({ base, now, ops, rebase, discard }: { base: Doc; now: Doc; ops: Op[]; rebase: () => void; discard: () => void }) {
  return (
    <div class="card newer" role="status">
      <header class="card-head"><h2>{t("doc.newer", { n: number(now.version), base: number(base.version) })}</h2>
        <div class="actions">
          <Button onClick={discard}>{t("doc.newer.discard")}</Button>
          {ops.length > 0 && <Button kind="main" onClick={rebase}>{t("doc.newer.rebase")}</Button>}
        </div>
      </header>
      <h3>{t("doc.newer.theirs")}</h3>
      <Diff changes={compare(base.data, now.data)} />
      {ops.length > 0 && <><h3>{t("doc.newer.mine")}</h3><Diff changes={places(now.data, ops)} /></>}
    </div>
  );
}

function Review({ channel, base, ops, onConflict, onClose, done }: { channel: string; base: Doc; ops: Op[]; onConflict: () => Promise<void>; onClose: () => void; done: () => Promise<void> }) {
  const [by, setBy] = useState("");
  const key = useOnce(ops, by, base);
  const run = async () => {
    try {
      const got = await call<{ version: number }>("doc.patch", { channel, ops, if_version: base.version, ...(by ? { by } : {}) }, { key });
      toast(t("doc.saved", { n: number(got.version) }));
    } catch (e) {
      if (e instanceof Problem && e.code === "conflict") {
        await onConflict();
        throw new Problem("conflict", t("doc.conflict", { message: e.message }));
      }
      throw e;
    }
    await done();
  };
  return (
    <Form title={t("doc.review.title")} action={t("doc.send", { n: number(ops.length) })} onClose={onClose} run={run} wide>
      <Diff changes={places(base.data, ops)} />
      <details><summary>{t("doc.ops")}</summary><JsonView value={ops} label={t("doc.ops")} /></details>
      <Text label={t("doc.by")} hint={t("doc.by.hint", { you: session.value?.user ?? "" })} value={by} onChange={setBy} />
    </Form>
  );
}
