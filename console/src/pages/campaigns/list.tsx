// All campaigns, the newest first.

import { number } from "../../format.ts";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Ago, Empty, Page, Select } from "../../ui/parts.tsx";
import { List, usePages } from "../../ui/table.tsx";
import { outcomeName } from "../../people/outcome.tsx";
import type { Campaign } from "../../people/types.ts";
import { Progress, StateBadge, stateName, states, targetText } from "./parts.tsx";

const told = ["delivered", "sent", "queued", "capped", "muted", "expired", "recalled", "failed"] as const;

export function CampaignList({ query }: { query: URLSearchParams }) {
  const said = query.get("state") ?? "";
  const state = (states as readonly string[]).includes(said) ? said : "";
  const pages = usePages<Campaign>("campaigns.list", state ? { state } : {}, { take: (a) => a, ms: 3000, limit: 50 });
  return (
    <Page title={t("nav.campaigns")} lead={t("campaigns.lead")} actions={may("campaigns.create") && may("push") && <A class="button main" to={path(["push"])}>{t("campaigns.new")}</A>}>
      <div class="filters"><Select label={t("word.state")} value={state} onChange={(v) => setQuery({ state: v })} options={[["", t("campaigns.all")], ...states.map((s): [string, string] => [s, stateName(s)])]} /></div>
      <section class="card flush">
        <List label={t("nav.campaigns")} pages={pages} rowKey={(c) => c.id} empty={<Empty>{t("campaigns.none")}</Empty>} columns={[
          { name: t("word.name"), cell: (c) => <A to={path(["campaigns", c.id])}>{c.name}</A>, grow: true },
          { name: t("word.state"), cell: (c) => <StateBadge of={c} /> },
          { name: t("campaign.to"), cell: (c) => <span title={targetText(c.to)}>{targetText(c.to)}</span>, wide: true },
          { name: t("campaign.audience"), cell: (c) => number(c.audience), end: true, wide: true },
          { name: t("campaign.progress"), cell: (c) => <Progress of={c} />, wide: true },
          { name: t("campaign.counts"), cell: (c) => told.filter((o) => c.counts?.[o]).map((o) => `${outcomeName(o)} ${number(c.counts![o])}`).join(", "), wide: true },
          { name: t("campaign.created"), cell: (c) => <Ago ms={c.created} />, wide: true },
        ]} />
      </section>
    </Page>
  );
}
