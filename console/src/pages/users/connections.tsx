// The live connections of a user, and the channels of which the user is a member.

import { bytes } from "../../format.ts";
import { A, path } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Ago, Card, Empty } from "../../ui/parts.tsx";
import { List, usePages } from "../../ui/table.tsx";
import type { Connection } from "../../people/types.ts";

interface Membership {
  channel: string;
  since: number;
}

export function Connections({ user }: { user: string }) {
  const pages = usePages<Connection>("connections", { user }, { take: (a) => a, ms: 3000 });
  return (
    <>
      <Card title={t("user.connections")} flush>
        <List label={t("user.connections")} pages={pages} rowKey={(c) => c.id} empty={<Empty>{t("user.connections.none")}</Empty>} columns={[
          { name: t("word.connection"), cell: (c) => <A to={path(["connections", c.id])}>{c.id}</A> },
          { name: t("word.device"), cell: (c) => c.device ?? <span class="soft">–</span> },
          { name: t("user.transport"), cell: (c) => c.transport },
          { name: t("user.address"), cell: (c) => c.address, wide: true },
          { name: t("user.since"), cell: (c) => <Ago ms={c.since} />, wide: true },
          { name: t("nav.channels"), cell: (c) => <span title={c.channels.join("\n")}>{c.channels.length}</span>, end: true, wide: true },
          { name: t("user.bytes"), cell: (c) => bytes(c.bytes), end: true, wide: true },
        ]} />
      </Card>
      {may("members.list") && <Memberships user={user} />}
    </>
  );
}

function Memberships({ user }: { user: string }) {
  const pages = usePages<Membership>("members.list", { user }, { take: (a) => a, ms: 10_000 });
  return (
    <Card title={t("user.memberships")} flush>
      <List label={t("user.memberships")} pages={pages} rowKey={(m) => m.channel} empty={<Empty>{t("user.memberships.none")}</Empty>} columns={[
        { name: t("word.channel"), cell: (m) => <A to={path(["channels", m.channel])}>{m.channel}</A>, grow: true },
        { name: t("user.since"), cell: (m) => <Ago ms={m.since} /> },
      ]} />
    </Card>
  );
}
