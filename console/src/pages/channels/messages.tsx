// The messages of a log channel.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../../api.ts";
import { clock, number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Confirm, Dialog } from "../../ui/dialog.tsx";
import { Fresh } from "../../ui/fresh.tsx";
import { JsonLine, JsonView } from "../../ui/json.tsx";
import { Badge, Button, Copy, Empty, Facts, Search, Stale, toast, Waiting, When } from "../../ui/parts.tsx";
import { List, type Column } from "../../ui/table.tsx";
import { newest, useLog, type Message, type Page } from "./log.ts";

const recallable = (m: Message) => may("recall") && !m.recalled;

export function Sender({ from }: { from: Message["from"] }) {
  if (!from) return <span class="soft">{t("channels.server")}</span>;
  return from.user !== undefined ? <A to={path(["users", from.user])}>{from.user}</A> : <span class="soft">{t("connections.anonymous")}</span>;
}

const wholeNumber = (text: string | null) => (text && /^\d{1,15}$/.test(text) ? Number(text) : undefined);

export function Messages({ channel, query, sent }: { channel: string; query: URLSearchParams; sent: number }) {
  const at = wholeNumber(query.get("at"));
  const pages = useLog(channel, at);
  const [recall, setRecall] = useState<Message | undefined>(undefined);
  useEffect(() => { if (sent > 0) void pages.refresh(); }, [sent]);
  const open = wholeNumber(query.get("message"));
  const columns: Column<Message>[] = [
    { name: t("channels.seq"), end: true, cell: (m) => String(m.seq) },
    { name: t("word.time"), cell: (m) => <When ms={m.time} />, wide: true },
    { name: t("channels.from"), cell: (m) => <Sender from={m.from} /> },
    { name: t("word.event"), wide: true, cell: (m) => m.event ?? "" },
    { name: t("word.data"), grow: true, cell: (m) => <Content of={m} /> },
    { name: "", cell: (m) => (
      <>
        <Button kind="quiet" aria-label={t("channels.message.show", { seq: m.seq })} onClick={() => setQuery({ message: String(m.seq) })}>{t("do.show")}</Button>
        {recallable(m) && <span class="wide-only"><Button kind="quiet" aria-label={t("channels.message.recall", { seq: m.seq })} onClick={() => setRecall(m)}>{t("channels.recall")}</Button></span>}
      </>
    ) },
  ];
  return (
    <>
      <div class="filters">
        <Search label={t("channels.at")} value={query.get("at") ?? ""} onChange={(v) => setQuery({ at: v })} />
        <Fresh of={pages} />
      </div>
      {pages.error && pages.at > 0 && <div class="note warn" role="status">{t("error.stale", { at: clock(pages.at) })}</div>}
      <section class="card flush" aria-label={t("channels.messages")}>
        <List label={t("channels.messages")} columns={columns} pages={pages} rowKey={(m) => String(m.seq)} empty={t("channels.nomessages")} />
        {at === undefined && pages.rows.length > newest && <p class="soft small centred">{t("channels.checked", { n: number(newest) })}</p>}
      </section>
      {open !== undefined && !recall && <One channel={channel} seq={open} onRecall={setRecall} />}
      {recall && <Recall channel={channel} of={recall} onClose={() => setRecall(undefined)} done={() => void pages.refresh()} />}
    </>
  );
}

function Content({ of: m }: { of: Message }) {
  if (m.recalled) return <Badge tone="warn">{t("channels.recalled")}</Badge>;
  return <span class="one-line">{m.edited && <Badge>{t("channels.edited")}</Badge>}<JsonLine value={m.data} /></span>;
}

function Recall({ channel, of: m, onClose, done }: { channel: string; of: Message; onClose: () => void; done: () => void }) {
  const run = async () => {
    const got = await call<{ recalled: boolean }>("recall", { channel, seq: m.seq });
    toast(t(got.recalled ? "channels.recall.done" : "channels.recall.before"));
    done();
  };
  return <Confirm title={t("channels.recall.title", { seq: m.seq })} text={<>{t("channels.recall.text")}<br /><Content of={m} /></>} action={t("channels.recall")} onClose={onClose} run={run} />;
}

function One({ channel, seq, onRecall }: { channel: string; seq: number; onRecall: (m: Message) => void }) {
  const live = useLive(async (signal) => (await call<Page>("history", { channel, after: seq - 1, limit: 1 }, { signal })).messages.find((m) => m.seq === seq) ?? null, 3000, [channel, seq]);
  const m = live.data.value;
  return (
    <Dialog title={t("channels.message.title", { seq })} onClose={() => setQuery({ message: undefined })} wide>
      <Stale of={live} />
      {m === undefined ? !live.error.value && <Waiting /> : m === null ? <Empty>{t("channels.message.gone")}</Empty> : (
        <>
          <Facts of={[
            [t("word.id"), <Copy text={m.id} />], [t("word.time"), <When ms={m.time} />],
            [t("channels.from"), <><Sender from={m.from} />{m.from?.device && <span class="soft"> / {m.from.device}</span>}</>],
            ...(m.from?.connection ? [[t("word.connection"), <A to={path(["connections", m.from.connection])}>{m.from.connection}</A>] as [string, ComponentChildren]] : []),
            ...(m.event ? [[t("word.event"), m.event] as [string, string]] : []),
            ...(m.reply ? [[t("channels.reply"), String(m.reply)] as [string, string]] : []),
            ...(m.mentions ? [[t("channels.mentions"), m.mentions.join(", ")] as [string, string]] : []),
          ]} />
          {m.recalled ? <p><Content of={m} /></p> : <JsonView value={m.data} label={t("word.data")} />}
          {recallable(m) && <p class="gap"><Button kind="danger" onClick={() => onRecall(m)}>{t("channels.recall")}</Button></p>}
        </>
      )}
    </Dialog>
  );
}
