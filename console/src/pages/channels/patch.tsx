// Changing a document by operations that somebody writes.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { number } from "../../format.ts";
import { format, type Json } from "../../json.ts";
import { applied, isObject, type Op } from "../../ops.ts";
import { session } from "../../session.ts";
import { t } from "../../words.ts";
import { Form } from "../../ui/dialog.tsx";
import { compare, Diff, JsonField, readJson } from "../../ui/json.tsx";
import { Check, Text, toast } from "../../ui/parts.tsx";
import { useOnce } from "../../ui/publish.tsx";
import type { Doc } from "./document.tsx";

const example: Op[] = [{ op: "inc", path: "/points", by: 1 }];

// asOps takes what looks like a list of operations; whether it is one the server says.
function asOps(value: Json | undefined): Op[] | undefined {
  return Array.isArray(value) && value.length > 0 && value.every((o) => isObject(o) && typeof o.op === "string" && typeof o.path === "string") ? (value as unknown as Op[]) : undefined;
}

export function Patch({ channel, now, onClose, done }: { channel: string; now: Doc; onClose: () => void; done: () => void }) {
  const [text, setText] = useState("");
  const [by, setBy] = useState("");
  const [only, setOnly] = useState(false);
  const key = useOnce(text, by, only);
  const read = readJson(text);
  const ops = asOps(read.value);
  const changes = ops ? compare(now.data ?? undefined, applied(now.data ?? undefined, ops)) : [];
  const run = async () => {
    const got = await call<{ version: number }>("doc.patch", { channel, ops, ...(only ? { if_version: now.version } : {}), ...(by ? { by } : {}) }, { key });
    toast(t("doc.saved", { n: number(got.version) }));
    done();
  };
  return (
    <Form title={t("doc.patch")} action={t("doc.patch.send")} onClose={onClose} run={run} disabled={!ops} wide>
      <JsonField label={t("doc.ops")} hint={t("doc.patch.hint", { example: format(example) })} value={text} onChange={setText} rows={7} error={read.value !== undefined && !ops ? t("doc.patch.list") : undefined} />
      <h3>{t("doc.patch.preview", { n: number(now.version) })}</h3>
      {changes.length > 0 ? <Diff changes={changes} /> : <p class="soft">{t("data.nochange")}</p>}
      <Text label={t("doc.by")} hint={t("doc.by.hint", { you: session.value?.user ?? "" })} value={by} onChange={setBy} />
      <Check label={t("doc.patch.only", { n: number(now.version) })} value={only} onChange={setOnly} />
    </Form>
  );
}
