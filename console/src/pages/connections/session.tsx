// The session of a connection: what the application keeps with it.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { format, type Json } from "../../json.ts";
import { useLive } from "../../live.ts";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Form } from "../../ui/dialog.tsx";
import { compare, Diff, JsonField, JsonView, readJson } from "../../ui/json.tsx";
import { Button, Card, Empty, Stale, toast, Waiting } from "../../ui/parts.tsx";
import { merged } from "../../ops.ts";

interface Session {
  data: Json;
}

export function SessionCard({ id }: { id: string }) {
  const live = useLive((signal) => call<Session>("session.get", { connection: id }, { signal }), 3000, [id]);
  const [edit, setEdit] = useState<"set" | "merge" | undefined>(undefined);
  const data = live.data.value?.data;
  const empty = data !== undefined && format(data) === "{}";
  const actions = data !== undefined && (
    <>
      {may("session.merge") && <Button onClick={() => setEdit("merge")}>{t("connections.session.merge")}</Button>}
      {may("session.set") && <Button onClick={() => setEdit("set")}>{t("do.edit")}</Button>}
    </>
  );
  return (
    <Card title={t("connections.session")} actions={actions}>
      <Stale of={live} />
      {data === undefined ? !live.error.value && <Waiting /> : empty ? <Empty>{t("connections.session.empty")}</Empty> : <JsonView value={data} label={t("connections.session")} />}
      {edit && data !== undefined && <Edit id={id} how={edit} now={data} onClose={() => setEdit(undefined)} done={() => void live.refresh()} />}
    </Card>
  );
}

// Edit replaces the session, or merges into it, and shows what that would change. now is
// what the session is at this moment, also when it changes meanwhile.
function Edit({ id, how, now, onClose, done }: { id: string; how: "set" | "merge"; now: Json; onClose: () => void; done: () => void }) {
  const [text, setText] = useState(how === "set" ? format(now, 2) : "");
  const read = readJson(text);
  const after = read.value === undefined ? undefined : how === "set" ? read.value : merged(now, read.value);
  const changes = after === undefined ? [] : compare(now, after);
  const run = async () => {
    await call(`session.${how}`, { connection: id, data: read.value });
    toast(t("done.saved"));
    done();
  };
  return (
    <Form title={t(how === "set" ? "connections.session.edit" : "connections.session.merge")} action={t("do.save")} onClose={onClose} run={run} disabled={changes.length === 0} wide>
      <JsonField label={t(how === "set" ? "connections.session" : "connections.session.patch")} hint={t(how === "set" ? "connections.session.set.hint" : "connections.session.merge.hint")} value={text} onChange={setText} rows={10} />
      <h3>{t("data.changes")}</h3>
      {changes.length > 0 ? <Diff changes={changes} /> : <p class="soft">{t("data.nochange")}</p>}
    </Form>
  );
}
