// The list of channels: those that somebody is subscribed to, or those that have members.
// Any other one is opened by its name.

import { useState } from "preact/hooks";
import { number } from "../../format.ts";
import { A, go, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Form } from "../../ui/dialog.tsx";
import { Fresh } from "../../ui/fresh.tsx";
import { Button, Page, Search, Tabs, Text } from "../../ui/parts.tsx";
import { List, usePages, type Column } from "../../ui/table.tsx";
import { KindBadge } from "./kind.tsx";

interface Item {
  channel: string;
  kind: string;
  subscribers: number;
  users: number;
  head?: number;
}

interface Group {
  channel: string;
  members: number;
}

const name = <T extends { channel: string }>(): Column<T> => ({ name: t("word.channel"), grow: true, cell: (c) => <A to={path(["channels", c.channel])}>{c.channel}</A> });

function Subscribed({ prefix }: { prefix: string }) {
  const pages = usePages<Item>("channels", prefix ? { prefix } : {}, { take: (a) => a, ms: 3000 });
  const columns: Column<Item>[] = [
    name<Item>(),
    { name: t("word.kind"), cell: (c) => <KindBadge kind={c.kind} /> },
    { name: t("channels.subscribers"), end: true, cell: (c) => number(c.subscribers) },
    { name: t("nav.users"), end: true, wide: true, cell: (c) => number(c.users) },
    { name: t("channels.head"), end: true, wide: true, cell: (c) => (c.kind === "event" ? <span class="soft">–</span> : number(c.head ?? 0)) },
  ];
  return (
    <section class="card flush" aria-label={t("channels.tab.subscribed")}>
      <div class="row freshness"><Fresh of={pages} /></div>
      <List label={t("channels.tab.subscribed")} columns={columns} pages={pages} rowKey={(c) => c.channel} empty={t("channels.empty")} />
    </section>
  );
}

function Groups({ prefix }: { prefix: string }) {
  const pages = usePages<Group>("members.groups", prefix ? { prefix } : {}, { take: (a) => a, ms: 5000 });
  const columns: Column<Group>[] = [name<Group>(), { name: t("channels.members"), end: true, cell: (c) => number(c.members) }];
  return (
    <section class="card flush" aria-label={t("channels.tab.groups")}>
      <div class="row freshness"><Fresh of={pages} /></div>
      <List label={t("channels.tab.groups")} columns={columns} pages={pages} rowKey={(c) => c.channel} empty={t("channels.groups.empty")} />
    </section>
  );
}

function Open({ onClose }: { onClose: () => void }) {
  const [channel, setChannel] = useState("");
  const open = async () => go(path(["channels", channel.trim()]));
  return (
    <Form title={t("channels.open.title")} action={t("channels.open")} onClose={onClose} run={open} disabled={!channel.trim()}>
      <Text label={t("channels.name")} hint={t("channels.open.hint")} value={channel} onChange={setChannel} autofocus />
    </Form>
  );
}

export function All({ query }: { query: URLSearchParams }) {
  const [open, setOpen] = useState(false);
  const prefix = query.get("prefix") ?? "";
  const tab = query.get("tab") === "groups" && may("members.groups") ? "groups" : "subscribed";
  return (
    <Page title={t("nav.channels")} actions={<Button onClick={() => setOpen(true)}>{t("channels.open")}</Button>}>
      {may("members.groups") && <Tabs label={t("nav.channels")} tabs={[["subscribed", t("channels.tab.subscribed")], ["groups", t("channels.tab.groups")]]} at={tab} onChange={(to) => setQuery({ tab: to === "groups" ? to : undefined })} />}
      <div class="filters"><Search label={t("channels.prefix")} value={prefix} onChange={(v) => setQuery({ prefix: v })} /></div>
      {tab === "groups" ? <Groups prefix={prefix} /> : <Subscribed prefix={prefix} />}
      {open && <Open onClose={() => setOpen(false)} />}
    </Page>
  );
}
