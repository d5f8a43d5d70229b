// The users that are known with attributes, chosen by the beginning of their id or by a filter.

import { useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, go, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { JsonLine } from "../../ui/json.tsx";
import { Ago, Badge, Button, Empty, ErrorNote, Page, Search, Stale, Text } from "../../ui/parts.tsx";
import { Form } from "../../ui/dialog.tsx";
import { List, usePages } from "../../ui/table.tsx";
import { readWhere, Where } from "../../people/where.tsx";
import type { User } from "../../people/types.ts";

// before gives a text right before all that begin with prefix, in the order of ids.
function before(prefix: string): string {
  const points = [...prefix];
  const last = points.pop()!.codePointAt(0)!;
  const lower = last === 0xe000 ? 0xd7ff : last - 1;
  return points.join("") + (last > 1 ? String.fromCodePoint(lower) + "\u{10ffff}" : "");
}

interface Answer {
  items: User[];
  next?: string;
}

function useUsers(prefix: string, filter: object | undefined) {
  const take = (a: Answer) => {
    const items = prefix ? a.items.filter((u) => u.id.startsWith(prefix)) : a.items;
    return { items, next: items.length === a.items.length ? a.next : undefined };
  };
  // Params hold where to begin; usePages puts the cursor of a page in its place.
  const params = { ...(filter && Object.keys(filter).length > 0 ? { where: filter } : {}), ...(prefix ? { after: before(prefix) } : {}) };
  return usePages<User, Answer>("users.query", params, { take, ms: 5000, limit: 100 });
}

export function UsersPage({ query }: { query: URLSearchParams }) {
  const prefix = query.get("id") ?? "";
  const where = query.get("where") ?? "";
  const [building, setBuilding] = useState(where !== "");
  const [adding, setAdding] = useState(false);
  const { filter, error } = readWhere(where);
  const pages = useUsers(prefix, filter);
  const count = useLive((signal) => (filter && !prefix ? call<{ count: number }>("users.query", { where: filter, limit: 1, count: true }, { signal }) : Promise.resolve({ count: -1 })), 10_000, [where, prefix]);
  // Somebody who has no attributes is in no list, and found by the whole id.
  const exact = useLive(async (signal) => {
    if (!prefix) return undefined;
    return call<User>("users.get", { id: prefix }, { signal }).catch((e: unknown) => {
      if (e instanceof Problem && e.code !== "offline") return undefined;
      throw e;
    });
  }, 5000, [prefix]);
  const listed = pages.rows.some((u) => u.id === prefix);
  const rows = exact.data.value && !listed && !where ? [exact.data.value, ...pages.rows] : pages.rows;
  return (
    <Page title={t("nav.users")} lead={t("users.lead")} actions={may("users.put") && <Button onClick={() => setAdding(true)}>{t("users.new")}</Button>}>
      <div class="filters">
        <Search label={t("users.search")} value={prefix} onChange={(id) => setQuery({ id })} />
        <Button aria-expanded={building} onClick={() => { setBuilding(!building); if (building) setQuery({ where: undefined }); }}>{building ? t("users.filter.off") : t("users.filter")}</Button>
        {count.data.value && count.data.value.count >= 0 && <span class="soft" role="status">{t(where ? "users.count.found" : "users.count", { n: number(count.data.value.count) })}</span>}
        {where && may("push") && <A class="button plain" to={path(["push"], { to: "where", where })}>{t("users.push.all")}</A>}
      </div>
      {building && <div class="card"><Where value={where} onChange={(text) => { if (text !== undefined) setQuery({ where: text }); }} /></div>}
      {error && <ErrorNote error={new Problem("bad_request", error, "where")} />}
      <Stale of={count} />
      <section class="card flush">
        <UserList pages={{ ...pages, rows }} prefix={prefix} />
      </section>
      {adding && <NewUser onClose={() => setAdding(false)} />}
    </Page>
  );
}

function UserList({ pages, prefix }: { pages: ReturnType<typeof useUsers>; prefix: string }) {
  const empty = prefix ? t("users.none.id", { id: prefix }) : t("users.none");
  return (
    <List label={t("nav.users")} pages={pages} rowKey={(u) => u.id} empty={<Empty>{empty}</Empty>} columns={[
      { name: t("word.user"), cell: (u) => <A to={path(["users", u.id])}>{u.id}</A> },
      { name: t("users.online"), cell: (u) => (u.connections > 0 ? <Badge tone="good">{t("users.connections", { n: u.connections })}</Badge> : <span class="soft">{t("users.offline")}</span>) },
      { name: t("users.attributes"), cell: (u) => (u.attributes ? <JsonLine value={u.attributes} /> : <span class="soft">{t("users.noattributes")}</span>), grow: true, wide: true },
      { name: t("users.mutes"), cell: (u) => (u.muted.length > 0 ? u.muted.join(", ") : ""), wide: true },
      { name: t("users.changed"), cell: (u) => <Ago ms={u.changed ?? u.created} />, wide: true },
    ]} />
  );
}

function NewUser({ onClose }: { onClose: () => void }) {
  const [id, setID] = useState("");
  const run = async () => {
    // With merge nothing of somebody who is known already is lost.
    await call("users.put", { id, attributes: {}, merge: true });
    go(path(["users", id], { tab: "profile" }));
  };
  return <Form title={t("users.new")} action={t("do.add")} onClose={onClose} run={run} disabled={id === ""}><Text label={t("users.new.id")} value={id} onChange={setID} required /></Form>;
}
