// One message of one user: what became of it, why, and when.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, path } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { JsonView } from "../../ui/json.tsx";
import { Ago, Button, Card, Copy, Facts, Page, Stale, toast, Waiting, When } from "../../ui/parts.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { OutcomeBadge, outcomeName, perName, verdict, why } from "../../people/outcome.tsx";
import type { Campaign, Category, Explained, InboxItem, Record, RecordPage } from "../../people/types.ts";
import { contentOf } from "./contents.ts";

type Fact = [ComponentChildren, ComponentChildren];

interface Found {
  record: Record | undefined;
  content: Partial<InboxItem> | undefined;
  kept: boolean; // in the inbox
  now: Explained | undefined;
  category: Category | undefined;
}

async function look(user: string, message: string, signal: AbortSignal): Promise<Found> {
  const { items: [record] } = await call<RecordPage>("records", { user, message, limit: 1 }, { signal });
  if (!record) return { record, content: undefined, kept: false, now: undefined, category: undefined };
  const missing = (e: unknown) => {
    if (e instanceof Problem && e.code !== "offline") return undefined;
    throw e;
  };
  const [content, now, categories] = await Promise.all([
    contentOf(user, record, signal),
    record.category ? call<Explained>("explain", { user, category: record.category }, { signal }).catch(missing) : undefined,
    record.category ? call<{ items: Category[] }>("categories.list", {}, { signal }) : undefined,
  ]);
  const campaign = !content && record.campaign ? await call<Campaign>("campaigns.get", { id: record.campaign }, { signal }).catch(missing) : undefined;
  const spare = campaign && { event: campaign.event, data: campaign.data };
  return { record, content: content ?? spare, kept: content !== undefined, now, category: categories?.items.find((c) => c.name === record.category) };
}

export function MessagePage({ user, message }: { user: string; message: string }) {
  const found = useLive((signal) => look(user, message, signal), 2000, [user, message]);
  const [recalling, setRecalling] = useState(false);
  const it = found.data.value;
  const record = it?.record;
  const open = record?.outcome === "queued" || record?.outcome === "sent" || record?.outcome === "capped" || record?.outcome === "muted";
  return (
    <Page
      title={t("message.title", { user })}
      crumbs={<><A to={path(["users"])}>{t("nav.users")}</A> / <A to={path(["users", user])}>{user}</A></>}
      actions={record && may("recall") && open && <Button kind="danger" onClick={() => setRecalling(true)}>{t("message.recall")}</Button>}
    >
      <Stale of={found} />
      {!it && !found.error.value && <Waiting />}
      {it && !record && <div class="note warn" role="status">{t("message.none")}</div>}
      {it && record && <Story it={it} record={record} />}
      {recalling && (
        <Confirm title={t("message.recall")} text={t("message.recall.text")} action={t("message.recall")} word={t("message.recall.word")} onClose={() => setRecalling(false)} run={async () => {
          const { count } = await call<{ count: number }>("recall", { message });
          toast(t("message.recalled", { n: count }));
          await found.refresh();
        }} />
      )}
    </Page>
  );
}

function Story({ it, record }: { it: Found; record: Record }) {
  const { content, kept, now, category } = it;
  const tone = record.outcome === "delivered" ? "good" : record.outcome === "failed" ? "bad" : record.outcome === "queued" || record.outcome === "sent" ? "" : "warn";
  return (
    <>
      <div class={`note story ${tone}`} role="status"><span><OutcomeBadge of={record} /> <strong>{why(record)}</strong> {place(record, kept, it.category)}</span></div>
      <div class="sides">
        <div>
          <Card title={t("message.line")}><Line of={record} /></Card>
          {now && <Now now={now} record={record} category={category} />}
        </div>
        <Card title={t("message.facts")}>
          <Facts of={[
            [t("records.outcome"), outcomeName(record.outcome)],
            ...(record.rule ? [[t("message.rule"), <code>{record.rule}</code>] as Fact] : []),
            [t("word.category"), record.category ? <A to={path(["push", "categories"], { show: record.category })}>{record.category}</A> : t("message.nocategory")],
            ...(record.campaign ? [[t("message.campaign"), <A to={path(["campaigns", record.campaign])}>{record.campaign}</A>] as Fact] : []),
            [t("message.seq"), String(record.seq)],
            ...(content?.expires ? [[t("message.expires"), <When ms={content.expires} />] as Fact] : []),
            ...(content?.collapse ? [[t("message.collapse"), content.collapse] as Fact] : []),
            [t("word.id"), <Copy text={record.message} />],
          ]} />
        </Card>
      </div>
      <Card title={content?.event !== undefined ? t("message.content", { event: content.event }) : t("word.data")}>
        {content && "data" in content ? <JsonView value={content.data} label={t("word.data")} /> : <p class="soft">{t("message.gone")}</p>}
      </Card>
    </>
  );
}

function Now({ now, record, category }: { now: Explained; record: Record; category: Category | undefined }) {
  return (
    <Card title={t("message.now", { category: record.category ?? "" })} actions={<A to={path(["users", record.user], { tab: "rules" })}>{t("message.allrules")}</A>}>
      <p>{verdict(now, category).text}</p>
      {now.caps.length > 0 && <ul class="caps">{now.caps.map((c) => <li key={`${c.category} ${c.per}`}>{t("rules.cap", { category: c.category, used: c.used, max: c.max, per: perName(c.per) })}</li>)}</ul>}
    </Card>
  );
}

// place says whether the user can still read what did not come to him.
function place(record: Record, kept: boolean, category: Category | undefined): string {
  if (record.outcome !== "capped" && record.outcome !== "muted") return "";
  if (kept) return t("message.readable");
  return category?.on_cap === "drop" ? t("message.dropped") : "";
}

// Line is the life of a message: each step with its time, and those that did not happen.
function Line({ of }: { of: Record }) {
  const ended = of.ended !== undefined && of.outcome !== "delivered";
  const steps: { name: string; at?: number | undefined; note?: string; tone: string }[] = [
    { name: outcomeName("queued"), at: of.queued, tone: "done", ...(of.until && of.outcome === "queued" ? { note: t("line.until", { until: dateTime(of.until) }) } : {}) },
  ];
  const last = { name: outcomeName(of.outcome), at: of.ended, note: why(of), tone: "stop" };
  if (of.sent || !ended) steps.push({ name: outcomeName("sent"), at: of.sent, tone: of.sent ? "done" : "open" });
  if (ended) steps.push(last);
  else steps.push({ name: outcomeName("delivered"), at: of.delivered, tone: of.delivered ? "done" : "open", ...(of.device ? { note: t("line.device", { device: of.device }) } : {}) });
  if (of.read || !ended) steps.push({ name: outcomeName("read"), at: of.read, tone: of.read ? "done" : "open" });
  return (
    <ol class="lifeline">
      {steps.map((s) => (
        <li key={s.name} class={s.tone}>
          <strong>{s.name}</strong>
          {s.at ? <span><When ms={s.at} /> <span class="soft">(<Ago ms={s.at} />)</span></span> : <span class="soft">{t("line.notyet")}</span>}
          {s.note && <span class="small">{s.note}</span>}
        </li>
      ))}
    </ol>
  );
}
