// One connection: what it is, what it follows, and what can be done with it.

import { useRef, useState } from "preact/hooks";
import { call } from "../../api.ts";
import { bytes, clock, number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Ago, Badge, Button, Card, Copy, Facts, Page, Stale, Tabs, Waiting, When } from "../../ui/parts.tsx";
import { Publish } from "../../ui/publish.tsx";
import { Table, type Column } from "../../ui/table.tsx";
import { Tail } from "../../ui/tail.tsx";
import { Bind, Disconnect, Subscribe, Unbind, Unsubscribe } from "./actions.tsx";
import { SessionCard } from "./session.tsx";
import type { Connection, ConnectionsPage } from "./types.ts";

export function One({ id, query }: { id: string; query: URLSearchParams }) {
  const live = useLive((signal) => call<ConnectionsPage>("connections", { connection: id }, { signal }), 2000, [id]);
  const last = useRef<Connection | undefined>(undefined);
  const now = live.data.value?.items[0];
  if (now) last.current = now;
  const c = now ?? last.current;
  const gone = live.data.value !== undefined && !now;
  const tab = query.get("tab") === "live" && may("trace") ? "live" : "facts";
  const crumbs = <><A to={path(["connections"])}>{t("nav.connections")}</A><span>/</span><span>{id.slice(-8)}</span></>;
  return (
    <Page title={t("connections.one", { id: id.slice(-8) })} crumbs={crumbs} actions={now && <Actions of={now} refresh={() => void live.refresh()} />}>
      <Stale of={live} />
      {gone && (
        <div class="note warn" role="status">
          <span>{t("connections.gone")} {c ? t("connections.gone.at", { at: clock(live.at.value) }) : ""}</span>
          {c?.user !== undefined && <A to={path(["connections"], { user: c.user })}>{t("connections.others")}</A>}
        </div>
      )}
      {may("trace") && (c || tab === "live") && <Tabs label={t("connections.parts")} tabs={[["facts", t("connections.facts")], ["live", t("tail.title")]]} at={tab} onChange={(to) => setQuery({ tab: to === "facts" ? undefined : to })} />}
      {tab === "live" ? <Tail query={{ connection: id }} name={`connection-${id}`} /> : c ? <Parts of={c} gone={gone} refresh={() => void live.refresh()} /> : !live.data.value && !live.error.value && <Waiting />}
    </Page>
  );
}

function Parts({ of: c, gone, refresh }: { of: Connection; gone: boolean; refresh: () => void }) {
  return (
    <>
      <div class="grid">
        <Card title={t("connections.facts")}>
          <Facts of={[
            [t("word.id"), <Copy text={c.id} />],
            [t("word.user"), c.user !== undefined ? <A to={path(["users", c.user])}>{c.user}</A> : <span class="soft">{t("connections.anonymous")}</span>],
            [t("word.device"), c.device ?? <span class="soft">–</span>],
            [t("connections.transport"), <Badge>{c.transport}</Badge>],
            [t("connections.address"), <code>{c.address}</code>],
            [t("connections.since"), <><When ms={c.since} /> <span class="soft">(<Ago ms={c.since} />)</span></>],
            [t("connections.sent"), bytes(c.bytes)],
            [t("connections.queued"), c.queued > 0 ? <Badge tone="warn">{bytes(c.queued)}</Badge> : bytes(0)],
          ]} />
        </Card>
        {!gone && may("session.get") && <SessionCard id={c.id} />}
      </div>
      <Subscriptions of={c} gone={gone} refresh={refresh} />
    </>
  );
}

interface Subscription {
  channel: string;
  behind: number | undefined;
}

function Subscriptions({ of: c, gone, refresh }: { of: Connection; gone: boolean; refresh: () => void }) {
  const [leave, setLeave] = useState<string | undefined>(undefined);
  const behind = new Map((c.behind ?? []).map((b) => [b.channel, b.messages]));
  const rows: Subscription[] = c.channels.slice().sort().map((channel) => ({ channel, behind: behind.get(channel) }));
  const columns: Column<Subscription>[] = [
    { name: t("word.channel"), grow: true, cell: (s) => <A to={path(["channels", s.channel])}>{s.channel}</A> },
    { name: t("connections.behind"), end: true, cell: (s) => (s.behind === undefined ? <span class="soft">{t("connections.uptodate")}</span> : <Badge tone="warn">{t("connections.lacks", { n: number(s.behind) })}</Badge>) },
    ...(may("unsubscribe") && !gone ? [{ name: "", cell: (s: Subscription) => <Button kind="quiet" aria-label={`${t("connections.unsubscribe")}: ${s.channel}`} onClick={() => setLeave(s.channel)}>{t("connections.unsubscribe")}</Button> }] : []),
  ];
  return (
    <Card title={t("connections.subscriptions", { n: number(rows.length) })} flush>
      <Table label={t("connections.subscriptions", { n: number(rows.length) })} columns={columns} rows={rows} rowKey={(s) => s.channel} empty={t("connections.nosubscriptions")} />
      {leave !== undefined && <Unsubscribe id={c.id} channel={leave} onClose={() => setLeave(undefined)} done={refresh} />}
    </Card>
  );
}

type Doing = "subscribe" | "message" | "bind" | "unbind" | "disconnect";

function Actions({ of: c, refresh }: { of: Connection; refresh: () => void }) {
  const [doing, setDoing] = useState<Doing | undefined>(undefined);
  const props = { id: c.id, onClose: () => setDoing(undefined), done: refresh };
  return (
    <>
      {may("publish") && <Button onClick={() => setDoing("message")}>{t("connections.send")}</Button>}
      {may("subscribe") && <Button onClick={() => setDoing("subscribe")}>{t("connections.subscribe")}</Button>}
      {may("bind") && <Button onClick={() => setDoing("bind")}>{t("connections.bind")}</Button>}
      {may("unbind") && c.user !== undefined && <Button onClick={() => setDoing("unbind")}>{t("connections.unbind")}</Button>}
      {may("disconnect") && <Button kind="danger" onClick={() => setDoing("disconnect")}>{t("connections.disconnect")}</Button>}
      {doing === "message" && <Publish to={{ connection: c.id }} onClose={props.onClose} />}
      {doing === "subscribe" && <Subscribe {...props} />}
      {doing === "bind" && <Bind {...props} user={c.user ?? ""} device={c.device ?? ""} />}
      {doing === "unbind" && <Unbind {...props} user={c.user ?? ""} />}
      {doing === "disconnect" && <Disconnect {...props} />}
    </>
  );
}
