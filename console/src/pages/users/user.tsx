// One user: whether he is there, what came to him, what holds messages back, and what is
// known of him.

import { useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { dateTime, number } from "../../format.ts";
import { useLive, type Live } from "../../live.ts";
import { A, go, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Ago, Badge, Button, Facts, Page, Select, Stale, Tabs, Text, toast } from "../../ui/parts.tsx";
import { Confirm, Form } from "../../ui/dialog.tsx";
import type { InboxPage, Online, User } from "../../people/types.ts";
import { Connections } from "./connections.tsx";
import { Inbox } from "./inbox.tsx";
import { Profile } from "./profile.tsx";
import { Rules } from "./rules.tsx";

interface Denial {
  blocked: boolean;
  reason?: string;
  since?: number;
  until?: number;
}

export interface Known {
  user: User | undefined; // undefined: nothing is known of him
  online: Online;
  denial: Denial;
  unread: number;
}

const tabs = ["inbox", "rules", "connections", "profile"] as const;

async function look(id: string, signal: AbortSignal): Promise<Known> {
  const [user, online, blocked, inbox] = await Promise.all([
    call<User>("users.get", { id }, { signal }).catch((e: unknown) => {
      if (e instanceof Problem && e.code === "not_found") return undefined;
      throw e;
    }),
    call<{ [id: string]: Online }>("online", { users: [id], seen: true }, { signal }),
    call<{ users: { [id: string]: Denial } }>("users.blocked", { users: [id] }, { signal }),
    call<InboxPage>("inbox.list", { user: id, limit: 1 }, { signal }),
  ]);
  return { user, online: online[id]!, denial: blocked.users[id] ?? { blocked: false }, unread: inbox.unread };
}

export function UserPage({ id, query }: { id: string; query: URLSearchParams }) {
  const known = useLive((signal) => look(id, signal), 4000, [id]);
  const said = query.get("tab") ?? "inbox";
  const tab = (tabs as readonly string[]).includes(said) ? said : "inbox";
  return (
    <Page title={id} crumbs={<A to={path(["users"])}>{t("nav.users")}</A>} actions={<Actions id={id} known={known} />}>
      <Stale of={known} />
      <Strip known={known.data.value} />
      <Tabs label={t("user.tabs")} at={tab} onChange={(to) => setQuery({ tab: to === "inbox" ? undefined : to })} tabs={tabs.map((name) => [name, t(`user.tab.${name}`)])} />
      {tab === "inbox" && <Inbox user={id} query={query} />}
      {tab === "rules" && <Rules user={id} query={query} />}
      {tab === "connections" && <Connections user={id} />}
      {tab === "profile" && <Profile id={id} known={known} />}
    </Page>
  );
}

function Strip({ known }: { known: Known | undefined }) {
  if (!known) return null;
  const { user, online, denial, unread } = known;
  const zone = typeof user?.attributes?.tz === "string" ? user.attributes.tz : "";
  return (
    <>
      {denial.blocked && (
        <div class="note bad" role="status">
          <span><strong>{t("user.blocked")}</strong> {denial.until ? t("user.blocked.until", { until: dateTime(denial.until) }) : t("user.blocked.forever")} {denial.reason && t("user.blocked.reason", { reason: denial.reason })}</span>
        </div>
      )}
      {!user && <div class="note" role="status">{t("user.unknown")}</div>}
      <div class="card strip">
        <Facts of={[
          [t("users.online"), online.online ? <Badge tone="good">{t("users.connections", { n: online.connections })}</Badge> : <Badge>{t("users.offline")}</Badge>],
          [t("user.devices"), online.devices.length > 0 ? online.devices.join(", ") : "–"],
          [t("user.seen"), online.online ? t("time.now") : <Ago ms={online.seen} />],
          [t("user.unread"), unread >= 1000 ? "1000+" : number(unread)],
          [t("user.zone"), zone || <span class="soft">{t("user.zone.default")}</span>],
          [t("user.muted"), user && user.muted.length > 0 ? user.muted.join(", ") : t("word.none")],
        ]} />
      </div>
    </>
  );
}

function Actions({ id, known }: { id: string; known: Live<Known> }) {
  const [asking, setAsking] = useState<"" | "block" | "unblock" | "delete">("");
  const blocked = known.data.value?.denial.blocked;
  const done = () => setAsking("");
  return (
    <>
      {may("push") && <A class="button main" to={path(["push"], { to: "users", users: id })}>{t("user.push")}</A>}
      {may("users.block") && blocked === false && <Button onClick={() => setAsking("block")}>{t("user.block")}</Button>}
      {may("users.unblock") && blocked === true && <Button onClick={() => setAsking("unblock")}>{t("user.unblock")}</Button>}
      {may("users.delete") && <Button kind="danger" onClick={() => setAsking("delete")}>{t("user.delete")}</Button>}
      {asking === "block" && <Block id={id} onClose={done} after={known.refresh} />}
      {asking === "unblock" && <Confirm title={t("user.unblock")} text={t("user.unblock.text", { user: id })} action={t("user.unblock")} onClose={done} run={async () => {
        await call("users.unblock", { user: id });
        await known.refresh();
      }} />}
      {asking === "delete" && <Confirm title={t("user.delete")} text={t("user.delete.text", { user: id })} action={t("do.delete")} word={id} onClose={done} run={async () => {
        await call("users.delete", { id });
        toast(t("done.deleted"));
        go(path(["users"]));
      }} />}
    </>
  );
}

function Block({ id, onClose, after }: { id: string; onClose: () => void; after: () => Promise<void> }) {
  const [reason, setReason] = useState("");
  const [length, setLength] = useState("24h");
  const run = async () => {
    await call("users.block", { user: id, ...(reason ? { reason } : {}), ...(length ? { for: length } : {}) });
    await after();
  };
  return (
    <Form title={t("user.block")} action={t("user.block")} danger onClose={onClose} run={run}>
      <p>{t("user.block.text", { user: id })}</p>
      <Text label={t("user.block.reason")} hint={t("user.block.reason.hint")} value={reason} onChange={setReason} />
      <Select label={t("user.block.for")} value={length} onChange={setLength} options={[["1h", t("user.block.1h")], ["24h", t("user.block.24h")], ["168h", t("user.block.7d")], ["", t("user.block.forever")]]} />
    </Form>
  );
}
