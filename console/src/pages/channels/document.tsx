// The value of a document: shown, edited with a look at what would change, or changed by
// operations.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { number } from "../../format.ts";
import { format, type Json } from "../../json.ts";
import { useLive, type Live } from "../../live.ts";
import { setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Form } from "../../ui/dialog.tsx";
import { JsonView } from "../../ui/json.tsx";
import { Button, Card, Check, Empty, Stale, Text, toast, Waiting } from "../../ui/parts.tsx";
import { Editor } from "./editor.tsx";
import { Patch } from "./patch.tsx";

export interface Doc {
  version: number;
  epoch: string;
  data: Json;
}

export const read = (channel: string, signal?: AbortSignal) => call<Doc>("doc.get", { channel }, signal ? { signal } : {});

// useDoc asks for a document each 2 s, and for its whole value when there is another version.
export function useDoc(channel: string): Live<Doc> {
  const live: Live<Doc> = useLive(async (signal) => {
    const was = live.data.peek();
    if (was) {
      const now = await call<Doc>("doc.get", { channel, path: "/-" }, { signal }); // a place that costs nothing
      if (now.version === was.version && now.epoch === was.epoch) return was;
    }
    return read(channel, signal);
  }, 2000, [channel]);
  return live;
}

export function Document({ channel, query }: { channel: string; query: URLSearchParams }) {
  const live = useDoc(channel);
  const doc = live.data.value;
  const [doing, setDoing] = useState<"patch" | "delete" | undefined>(undefined);
  const editing = query.get("edit") === "1" && may("doc.patch");
  const edit = (on: boolean) => setQuery({ edit: on ? "1" : undefined });
  const refresh = () => void live.refresh();
  if (!doc) return <><Stale of={live} />{!live.error.value && <Waiting />}</>;
  if (editing) return <><Stale of={live} /><Editor channel={channel} now={doc} refresh={live.refresh} onClose={() => edit(false)} /></>;
  const actions = (
    <>
      {may("doc.patch") && <Button onClick={() => setDoing("patch")}>{t("doc.patch")}</Button>}
      {may("doc.delete") && doc.version > 0 && <Button kind="danger" onClick={() => setDoing("delete")}>{t("do.delete")}</Button>}
      {may("doc.patch") && <Button kind="main" onClick={() => edit(true)}>{t("do.edit")}</Button>}
    </>
  );
  return (
    <>
      <Stale of={live} />
      <Card title={t("doc.version", { n: number(doc.version) })} actions={actions}>
        {doc.data === null ? <Empty>{t(doc.version === 0 ? "doc.never" : "doc.nothing")}</Empty> : <JsonView value={doc.data} label={t("channels.document")} />}
        <p class="soft small">{t("doc.size", { n: number(format(doc.data).length) })}</p>
      </Card>
      {doing === "patch" && <Patch channel={channel} now={doc} onClose={() => setDoing(undefined)} done={refresh} />}
      {doing === "delete" && <Delete channel={channel} onClose={() => setDoing(undefined)} done={refresh} />}
    </>
  );
}

function Delete({ channel, onClose, done }: { channel: string; onClose: () => void; done: () => void }) {
  const [typed, setTyped] = useState("");
  const [forget, setForget] = useState(false);
  const run = async () => {
    await call("doc.delete", { channel, ...(forget ? { forget } : {}) });
    toast(t("done.deleted"));
    done();
  };
  return (
    <Form title={t("doc.delete")} action={t("do.delete")} danger onClose={onClose} run={run} disabled={typed !== channel}>
      <p>{t(forget ? "doc.delete.forget.text" : "doc.delete.text")}</p>
      <Check label={t("doc.delete.forget")} value={forget} onChange={setForget} />
      <Text label={t("confirm.type", { word: channel })} value={typed} onChange={setTyped} />
    </Form>
  );
}
