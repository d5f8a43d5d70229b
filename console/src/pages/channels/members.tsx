// The members of a channel: users whose connections follow it whenever they are there.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, path } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Confirm, Form } from "../../ui/dialog.tsx";
import { Fresh } from "../../ui/fresh.tsx";
import { Ago, Area, Button, Card, Stale, toast } from "../../ui/parts.tsx";
import { names } from "../../ui/publish.tsx";
import { List, usePages, type Column } from "../../ui/table.tsx";

interface Member {
  user: string;
  since: number;
}

interface Changed {
  count: number;
  connections: number;
  members: number;
}

export function Members({ channel }: { channel: string }) {
  const pages = usePages<Member>("members.list", { channel }, { take: (a) => a, ms: 3000 });
  const count = useLive((signal) => call<{ count: number }>("members.count", { channel }, { signal }), 3000, [channel]);
  const [doing, setDoing] = useState<"add" | "all" | { user: string } | undefined>(undefined);
  const close = () => setDoing(undefined);
  const refresh = () => {
    void pages.refresh();
    void count.refresh();
  };
  const remove = async (params: object) => {
    const got = await call<Changed>("members.remove", { channel, ...params });
    toast(t("channels.members.removed", { n: number(got.count) }));
    refresh();
  };
  const columns: Column<Member>[] = [
    { name: t("word.user"), grow: true, cell: (m) => <A to={path(["users", m.user])}>{m.user}</A> },
    { name: t("channels.members.since"), cell: (m) => <Ago ms={m.since} /> },
    ...(may("members.remove") ? [{ name: "", cell: (m: Member) => <Button kind="quiet" aria-label={`${t("channels.members.remove")}: ${m.user}`} onClick={() => setDoing({ user: m.user })}>{t("channels.members.remove")}</Button> }] : []),
  ];
  const n = count.data.value?.count;
  const actions = (
    <>
      <Fresh of={pages} />
      {may("members.add") && <Button onClick={() => setDoing("add")}>{t("channels.members.add")}</Button>}
      {may("members.remove") && n !== undefined && n > 0 && <Button kind="danger" onClick={() => setDoing("all")}>{t("channels.members.removeall")}</Button>}
    </>
  );
  return (
    <Card title={n === undefined ? t("channels.members") : t("channels.members.n", { n: number(n) })} actions={actions} flush>
      {count.error.value && !pages.error && <Stale of={count} />}
      <List label={t("channels.members")} columns={columns} pages={pages} rowKey={(m) => m.user} empty={t("channels.nomembers")} />
      {doing === "add" && <Add channel={channel} onClose={close} done={refresh} />}
      {doing === "all" && <Confirm title={t("channels.members.removeall")} text={t("channels.members.removeall.text", { n: number(n) })} action={t("channels.members.removeall")} word={channel} onClose={close} run={() => remove({ all: true })} />}
      {typeof doing === "object" && <Confirm title={t("channels.members.remove")} text={t("channels.members.remove.text", { user: doing.user })} action={t("channels.members.remove")} onClose={close} run={() => remove({ users: [doing.user] })} />}
    </Card>
  );
}

function Add({ channel, onClose, done }: { channel: string; onClose: () => void; done: () => void }) {
  const [text, setText] = useState("");
  const users = names(text);
  const run = async () => {
    const got = await call<Changed>("members.add", { channel, users });
    toast(t("channels.members.added", { n: number(got.count), connections: number(got.connections) }));
    done();
  };
  return (
    <Form title={t("channels.members.add")} action={users.length > 0 ? t("channels.members.add.n", { n: number(users.length) }) : t("do.add")} onClose={onClose} run={run} disabled={users.length === 0}>
      <Area label={t("nav.users")} hint={t("channels.oneperline")} value={text} onChange={setText} rows={6} />
    </Form>
  );
}
