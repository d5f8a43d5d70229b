// Who is subscribed to a channel.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { number } from "../../format.ts";
import type { Json } from "../../json.ts";
import { A, path } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Confirm, Form } from "../../ui/dialog.tsx";
import { Fresh } from "../../ui/fresh.tsx";
import { JsonLine } from "../../ui/json.tsx";
import { Button, Card, Text, toast } from "../../ui/parts.tsx";
import { List, usePages, type Column } from "../../ui/table.tsx";

interface Subscriber {
  user?: string;
  connections: number;
  data?: Json;
}

interface Answer {
  members: Subscriber[];
  next?: string;
}

export function Subscribers({ channel, count }: { channel: string; count: number }) {
  const pages = usePages<Subscriber, Answer>("presence", { channel }, { take: (a) => ({ items: a.members, next: a.next }), ms: 3000 });
  const [doing, setDoing] = useState<"add" | "all" | { user: string } | undefined>(undefined);
  const close = () => setDoing(undefined);
  const remove = async (params: object) => {
    const got = await call<{ connections: number }>("unsubscribe", { channel, ...params });
    toast(t("channels.unsubscribed", { n: number(got.connections) }));
    void pages.refresh();
  };
  const columns: Column<Subscriber>[] = [
    { name: t("word.user"), cell: (s) => (s.user !== undefined ? <A to={path(["users", s.user])}>{s.user}</A> : <span class="soft">{t("connections.anonymous")}</span>) },
    { name: t("nav.connections"), end: true, cell: (s) => <A to={path(["connections"], { channel, user: s.user })}>{number(s.connections)}</A> },
    { name: t("channels.presence"), grow: true, cell: (s) => (s.data === undefined ? <span class="soft">–</span> : <JsonLine value={s.data} />) },
    ...(may("unsubscribe") ? [{ name: "", cell: (s: Subscriber) => s.user !== undefined && <Button kind="quiet" aria-label={`${t("connections.unsubscribe")}: ${s.user}`} onClick={() => setDoing({ user: s.user! })}>{t("connections.unsubscribe")}</Button> }] : []),
  ];
  const actions = (
    <>
      <Fresh of={pages} />
      {may("subscribe") && <Button onClick={() => setDoing("add")}>{t("channels.subscribe.user")}</Button>}
      {may("unsubscribe") && count > 0 && <Button kind="danger" onClick={() => setDoing("all")}>{t("channels.unsubscribe.all")}</Button>}
    </>
  );
  return (
    <Card title={t("channels.subscribers")} actions={actions} flush>
      <List label={t("channels.subscribers")} columns={columns} pages={pages} rowKey={(s) => s.user ?? `\n${pages.rows.indexOf(s)}`} empty={t("channels.nosubscribers")} />
      {doing === "add" && <Add channel={channel} onClose={close} done={() => void pages.refresh()} />}
      {doing === "all" && <Confirm title={t("channels.unsubscribe.all")} text={t("channels.unsubscribe.all.text", { n: number(count) })} action={t("channels.unsubscribe.all")} word={channel} onClose={close} run={() => remove({ all: true })} />}
      {typeof doing === "object" && <Confirm title={t("connections.unsubscribe.title")} text={t("channels.unsubscribe.text", { user: doing.user })} action={t("connections.unsubscribe")} onClose={close} run={() => remove({ user: doing.user })} />}
    </Card>
  );
}

function Add({ channel, onClose, done }: { channel: string; onClose: () => void; done: () => void }) {
  const [user, setUser] = useState("");
  const run = async () => {
    const got = await call<{ connections: number }>("subscribe", { channel, user });
    toast(t("channels.subscribed", { n: number(got.connections) }));
    done();
  };
  return (
    <Form title={t("channels.subscribe.user")} action={t("connections.subscribe")} onClose={onClose} run={run} disabled={!user}>
      <Text label={t("word.user")} hint={t("channels.subscribe.hint")} value={user} onChange={setUser} autofocus />
    </Form>
  );
}
