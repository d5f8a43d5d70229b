// One channel: what it is, and what is in it.

import { useState } from "preact/hooks";
import { number } from "../../format.ts";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t, type Word } from "../../words.ts";
import { Badge, Button, Page, Stale, Stat, Tabs, Waiting } from "../../ui/parts.tsx";
import { Publish } from "../../ui/publish.tsx";
import { Tail } from "../../ui/tail.tsx";
import { Document } from "./document.tsx";
import { History } from "./history.tsx";
import { KindBadge, useChannel, type Facts } from "./kind.tsx";
import { Members } from "./members.tsx";
import { Messages } from "./messages.tsx";
import { Subscribers } from "./subscribers.tsx";

// tabsOf are the parts of a channel, that of its kind first.
function tabsOf(kind: Facts["kind"]): [string, Word][] {
  const own: Record<Facts["kind"], [string, Word][]> = {
    log: [["messages", "channels.messages"]],
    doc: [["document", "channels.document"], ["history", "channels.history"]],
    event: [],
  };
  const live: [string, Word][] = may("trace") ? [["live", "tail.title"]] : [];
  return [...own[kind], ...(kind === "event" ? live : []), ["subscribers", "channels.subscribers"], ...(may("members.list") ? [["members", "channels.members"] as [string, Word]] : []), ...(kind === "event" ? [] : live)];
}

export function One({ name, query }: { name: string; query: URLSearchParams }) {
  const live = useChannel(name);
  const it = live.data.value;
  const [publishing, setPublishing] = useState(false);
  const [sent, setSent] = useState(0);
  const crumbs = <><A to={path(["channels"])}>{t("nav.channels")}</A><span>/</span><span>{name}</span></>;
  const actions = it && it.kind !== "doc" && may("publish") && <Button kind="main" onClick={() => setPublishing(true)}>{t("channels.publish")}</Button>;
  return (
    <Page title={name} crumbs={crumbs} actions={actions}>
      <Stale of={live} />
      {!it ? !live.error.value && <Waiting /> : <Parts name={name} of={it} query={query} sent={sent} />}
      {publishing && <Publish to={{ channel: name }} reach={it?.subscribers ?? 0} onClose={() => setPublishing(false)} done={() => { setSent(sent + 1); void live.refresh(); }} />}
    </Page>
  );
}

const headWord = { log: "channels.head.log", doc: "channels.head.doc", event: "channels.head" } as const;

function Parts({ name, of: it, query, sent }: { name: string; of: Facts; query: URLSearchParams; sent: number }) {
  const tabs = tabsOf(it.kind);
  const asked = query.get("tab") ?? "";
  const tab = tabs.some(([id]) => id === asked) ? asked : tabs[0]![0];
  const to = (next: string) => setQuery({ tab: next === tabs[0]![0] ? undefined : next, message: undefined, version: undefined, at: undefined, edit: undefined });
  return (
    <>
      <div class="stats">
        <Stat label={t("word.kind")} value={<span class="row"><KindBadge kind={it.kind} />{it.chat !== undefined && <Badge tone="warn">{t("channels.chat")}{it.chat ? ` · ${it.chat}` : ""}</Badge>}</span>} />
        <Stat label={t("channels.subscribers")} value={number(it.subscribers)} />
        <Stat label={t("nav.users")} value={number(it.users)} />
        {it.head !== undefined && <Stat label={t(headWord[it.kind])} value={number(it.head)} />}
      </div>
      <Tabs label={t("channels.parts")} tabs={tabs.map(([id, word]) => [id, t(word)])} at={tab} onChange={to} />
      {tab === "messages" && <Messages channel={name} query={query} sent={sent} />}
      {tab === "document" && <Document channel={name} query={query} />}
      {tab === "history" && <History channel={name} query={query} />}
      {tab === "subscribers" && <Subscribers channel={name} count={it.subscribers} />}
      {tab === "members" && <Members channel={name} />}
      {tab === "live" && <Tail query={{ channel: name }} name={`channel-${name.replace(/[^\w.-]+/g, "-")}`} />}
    </>
  );
}
