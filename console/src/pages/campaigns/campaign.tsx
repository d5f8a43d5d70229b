// One campaign: what it would do, how far it has come, what became of it for whom.

import type { ComponentChildren } from "preact";
import { call } from "../../api.ts";
import { dateTime, number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { A, path, setQuery } from "../../router.tsx";
import { t } from "../../words.ts";
import { JsonView } from "../../ui/json.tsx";
import { Card, Copy, Empty, Facts, Page, Stale, Waiting, When } from "../../ui/parts.tsx";
import { EstimateView } from "../../people/estimate.tsx";
import { OutcomeBar } from "../../people/outcome.tsx";
import { outcomeFilter, OutcomeSelect, RecordList, useRecords } from "../../people/records.tsx";
import type { Campaign, Estimate } from "../../people/types.ts";
import { Actions } from "./actions.tsx";
import { Progress, StateBadge, targetText } from "./parts.tsx";
import { Reasons } from "./reasons.tsx";

export function CampaignPage({ id, query }: { id: string; query: URLSearchParams }) {
  const live = useLive((signal) => call<Campaign>("campaigns.get", { id }, { signal }), 1500, [id]);
  const c = live.data.value;
  return (
    <Page title={c?.name ?? t("campaign.title")} crumbs={<A to={path(["campaigns"])}>{t("nav.campaigns")}</A>} actions={c && <Actions of={c} live={live} />}>
      <Stale of={live} />
      {!c && !live.error.value && <Waiting />}
      {c && <Body of={c} query={query} />}
    </Page>
  );
}

function Body({ of, query }: { of: Campaign; query: URLSearchParams }) {
  const begun = of.message !== undefined;
  const outcome = query.get("outcome") ?? "";
  const fact = (name: string, value: ComponentChildren, is = true): [ComponentChildren, ComponentChildren][] => (is ? [[name, value]] : []);
  return (
    <>
      {of.error && <div class="note bad" role="alert"><span><strong>{t("campaign.trouble")}.</strong> {of.error}</span></div>}
      {begun && (
        <Card title={t("campaign.report")} actions={<StateBadge of={of} />}>
          <p class="campaign-progress"><Progress of={of} /> <span class="soft">{of.audience !== undefined && t("campaign.progress.of", { done: number(of.progress), all: number(of.audience) })}</span></p>
          <OutcomeBar counts={of.counts ?? {}} audience={of.audience} picked={outcome} onPick={(o) => setQuery({ outcome: o })} />
        </Card>
      )}
      <div class="sides">
        <div>
          {!begun && <EstimateCard of={of} />}
          {begun && <Reasons id={of.id} />}
          <Card title={t("message.content", { event: of.event })}><JsonView value={of.data} label={t("word.data")} /></Card>
        </div>
        <Card title={t("campaign.facts")} actions={begun ? undefined : <StateBadge of={of} />}>
          <Facts of={[
            ...fact(t("campaign.to"), targetText(of.to)),
            ...fact(t("campaign.audience"), number(of.audience), of.audience !== undefined),
            ...fact(t("word.category"), of.category ? <A to={path(["push", "categories"], { show: of.category })}>{of.category}</A> : t("message.nocategory")),
            ...fact(t("campaign.speed"), of.pace ? t("campaign.pace.n", { n: number(of.pace) }) : t("campaign.pace.none")),
            ...fact(t("campaign.at"), of.at && dateTime(Date.parse(of.at)), !!of.at),
            ...fact(t("campaign.created"), <When ms={of.created} />),
            ...fact(t("campaign.started"), <When ms={of.started} />, !!of.started),
            ...fact(t("campaign.ended"), <When ms={of.ended} />, !!of.ended),
            ...fact(t("message.expires"), typeof of.expires === "number" ? <When ms={of.expires} /> : of.expires, !!of.expires),
            ...fact(t("message.collapse"), of.collapse, !!of.collapse),
            ...fact(t("category.escalate"), of.escalate, !!of.escalate),
            ...fact(t("word.id"), <Copy text={of.id} />),
          ]} />
        </Card>
      </div>
      {begun && <Records id={of.id} outcome={outcome} everyone={"all" in of.to} />}
    </>
  );
}

function EstimateCard({ of }: { of: Campaign }) {
  const estimate = useLive((signal) => call<Estimate>("campaigns.estimate", { id: of.id }, { signal }), 10_000, [of.id]);
  return (
    <Card title={t("campaign.estimate")}>
      <Stale of={estimate} />
      {estimate.data.value ? <EstimateView of={estimate.data.value} /> : !estimate.error.value && <Waiting />}
    </Card>
  );
}

function Records({ id, outcome, everyone }: { id: string; outcome: string; everyone: boolean }) {
  const pages = useRecords({ campaign: id, ...outcomeFilter(outcome) }, 3000);
  return (
    <Card title={t("records.title")} flush actions={<div class="card-filter"><OutcomeSelect value={outcome} onChange={(o) => setQuery({ outcome: o })} /></div>}>
      {everyone && <p class="card-body small soft">{t("campaign.everyone")}</p>}
      <RecordList pages={pages} empty={<Empty>{outcome ? t("inbox.none.filter") : t("sent.none")}</Empty>} />
    </Card>
  );
}
