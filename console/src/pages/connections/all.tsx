// The list of connections.

import { bytes, number } from "../../format.ts";
import { A, path, setQuery } from "../../router.tsx";
import { t } from "../../words.ts";
import { Ago, Badge, Page, Search } from "../../ui/parts.tsx";
import { List, usePages, type Column } from "../../ui/table.tsx";
import { Fresh } from "../../ui/fresh.tsx";
import type { Connection, ConnectionsPage } from "./types.ts";

const columns = (): Column<Connection>[] => [
  { name: t("word.connection"), cell: (c) => <A to={path(["connections", c.id])} title={c.id}><code>{c.id.slice(-8)}</code></A> },
  { name: t("word.user"), cell: (c) => (c.user !== undefined ? <A to={path(["users", c.user])}>{c.user}</A> : <span class="soft">{t("connections.anonymous")}</span>) },
  { name: t("word.device"), wide: true, cell: (c) => c.device ?? <span class="soft">–</span> },
  { name: t("connections.transport"), cell: (c) => <Badge>{c.transport}</Badge> },
  { name: t("connections.address"), wide: true, cell: (c) => <code>{c.address}</code> },
  { name: t("connections.since"), wide: true, cell: (c) => <Ago ms={c.since} /> },
  { name: t("nav.channels"), wide: true, end: true, cell: (c) => <span title={c.channels.slice(0, 20).join("\n")}>{number(c.channels.length)}</span> },
  { name: t("connections.sent"), wide: true, end: true, cell: (c) => bytes(c.bytes) },
  { name: t("connections.queued"), end: true, cell: (c) => (c.queued > 0 || c.behind ? <Badge tone="warn">{c.queued > 0 ? bytes(c.queued) : t("connections.catching")}</Badge> : "0") },
];

const filters = ["user", "channel", "connection"] as const;

export function All({ query }: { query: URLSearchParams }) {
  const params = Object.fromEntries(filters.map((f) => [f, query.get(f) ?? ""]).filter(([, v]) => v));
  const pages = usePages<Connection, ConnectionsPage>("connections", params, { take: (a) => a, ms: 3000 });
  return (
    <Page title={t("nav.connections")} actions={<Fresh of={pages} />}>
      <div class="filters">
        {filters.map((f) => <Search key={f} label={t(`connections.filter.${f}`)} value={query.get(f) ?? ""} onChange={(v) => setQuery({ [f]: v })} />)}
      </div>
      <section class="card flush" aria-label={t("nav.connections")}>
        <List label={t("nav.connections")} columns={columns()} pages={pages} rowKey={(c) => c.id} empty={t("connections.empty")} />
      </section>
    </Page>
  );
}
