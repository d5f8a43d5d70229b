// Who changed what in a document, and when; and taking a change back.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { changesOf, short, undone, type Version } from "../../ops.ts";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Dialog, Form } from "../../ui/dialog.tsx";
import { Fresh } from "../../ui/fresh.tsx";
import { compare, Diff, JsonView } from "../../ui/json.tsx";
import { Badge, Button, Card, Check, Empty, Facts, Stale, toast, Waiting, When } from "../../ui/parts.tsx";
import { useOnce } from "../../ui/publish.tsx";
import { List, type Column } from "../../ui/table.tsx";
import { useDoc } from "./document.tsx";
import { Sender } from "./messages.tsx";
import { useVersions } from "./versions.ts";

const wholeNumber = (text: string | null) => (text && /^\d{1,15}$/.test(text) ? Number(text) : undefined);

export function History({ channel, query }: { channel: string; query: URLSearchParams }) {
  const pages = useVersions(channel);
  const [undo, setUndo] = useState<Version | undefined>(undefined);
  const open = wholeNumber(query.get("version"));
  const columns: Column<Version>[] = [
    { name: t("doc.history.version"), end: true, cell: (v) => String(v.version) },
    { name: t("word.time"), wide: true, cell: (v) => <When ms={v.time} /> },
    { name: t("doc.history.who"), cell: (v) => <Sender from={v.from} /> },
    { name: t("doc.history.what"), grow: true, cell: (v) => <What of={v} /> },
    { name: "", cell: (v) => (
      <>
        <Button kind="quiet" aria-label={t("doc.history.show", { n: v.version })} onClick={() => setQuery({ version: String(v.version) })}>{t("do.show")}</Button>
        {may("doc.undo") && v.old && <span class="wide-only"><Button kind="quiet" aria-label={t("doc.undo.version", { n: v.version })} onClick={() => setUndo(v)}>{t("doc.undo")}</Button></span>}
      </>
    ) },
  ];
  return (
    <Card title={t("channels.history")} actions={<Fresh of={pages} />} flush>
      <List label={t("channels.history")} columns={columns} pages={pages} rowKey={(v) => String(v.version)} empty={t("doc.history.empty")} />
      {open !== undefined && !undo && <One channel={channel} version={open} onUndo={setUndo} />}
      {undo && <Undo channel={channel} of={undo} onClose={() => setUndo(undefined)} done={() => void pages.refresh()} />}
    </Card>
  );
}

function What({ of: v }: { of: Version }) {
  const changes = changesOf(v);
  return (
    <span class="one-line">
      {v.undoes !== undefined && <Badge tone="accent">{t("doc.history.undoes", { n: v.undoes })}</Badge>}
      {changes[0] ? <code class="line">{short(changes[0])}</code> : <span class="soft">{t("data.nochange")}</span>}
      {changes.length > 1 && <Badge>{t("doc.history.more", { n: number(changes.length - 1) })}</Badge>}
    </span>
  );
}

function One({ channel, version, onUndo }: { channel: string; version: number; onUndo: (v: Version) => void }) {
  const live = useLive(async (signal) => (await call<{ patches: Version[] }>("doc.history", { channel, after: version - 1, limit: 1 }, { signal })).patches.find((v) => v.version === version) ?? null, 0, [channel, version]);
  const v = live.data.value;
  return (
    <Dialog title={t("doc.version", { n: number(version) })} onClose={() => setQuery({ version: undefined })} wide>
      <Stale of={live} />
      {v === undefined ? !live.error.value && <Waiting /> : v === null ? <Empty>{t("doc.history.gone")}</Empty> : (
        <>
          <Facts of={[
            [t("word.time"), <When ms={v.time} />],
            [t("doc.history.who"), <><Sender from={v.from} />{v.from?.device && <span class="soft"> / {v.from.device}</span>}{!v.from && may("audit") && <> <A to={path(["audit"], { verb: "doc.*" })}>{t("doc.history.audit")}</A></>}</>],
            ...(v.from?.connection ? [[t("word.connection"), <A to={path(["connections", v.from.connection])}>{v.from.connection}</A>] as [string, ComponentChildren]] : []),
            ...(v.undoes !== undefined ? [[t("doc.history.undo"), t("doc.history.undoes", { n: v.undoes })] as [string, string]] : []),
          ]} />
          <h3 class="gap">{t("data.changed")}</h3>
          {changesOf(v).length > 0 ? <Diff changes={changesOf(v)} /> : <p class="soft">{t("data.nochange")}</p>}
          <details class="gap"><summary>{t("doc.ops")}</summary><JsonView value={v.ops} label={t("doc.ops")} /></details>
          {may("doc.undo") && v.old && <p class="gap"><Button kind="danger" onClick={() => onUndo(v)}>{t("doc.undo.version", { n: version })}</Button></p>}
        </>
      )}
    </Dialog>
  );
}

// Undo shows what taking a version back would change now, and does it to just that version of
// the document.
function Undo({ channel, of: v, onClose, done }: { channel: string; of: Version; onClose: () => void; done: () => void }) {
  const doc = useDoc(channel);
  const now = doc.data.value;
  const [force, setForce] = useState(false);
  const [conflict, setConflict] = useState(false);
  useEffect(() => { setConflict(false); setForce(false); }, [v.version]);
  const key = useOnce(v.version, force, now?.version);
  const changes = now ? compare(now.data ?? undefined, undone(now.data, v)) : [];
  const run = async () => {
    try {
      const got = await call<{ version: number }>("doc.undo", { channel, version: v.version, if_version: now!.version, ...(force ? { force } : {}) }, { key });
      toast(t("doc.undo.done", { version: number(v.version), n: number(got.version) }));
      done();
    } catch (e) {
      if (e instanceof Problem && e.code === "conflict") {
        if (e.field === "version") setConflict(true);
        else {
          await doc.refresh();
          throw new Problem("conflict", t("doc.undo.moved"));
        }
      }
      throw e;
    }
  };
  return (
    <Form title={t("doc.undo.title", { n: number(v.version) })} action={t(force ? "doc.undo.force.do" : "doc.undo")} danger onClose={onClose} run={run} disabled={!now || (conflict && !force)} wide>
      <Stale of={doc} />
      {!now ? !doc.error.value && <Waiting /> : (
        <>
          <p>{t("doc.undo.text", { n: number(now.version) })}</p>
          {changes.length > 0 ? <Diff changes={changes} /> : <p class="soft">{t("data.nochange")}</p>}
        </>
      )}
      {conflict && <Check label={t("doc.undo.force")} value={force} onChange={setForce} />}
    </Form>
  );
}
