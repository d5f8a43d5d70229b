import { call } from "../../api.ts";
import { number } from "../../format.ts";
import { useLive } from "../../live.ts";
import type { PageProps } from "../../pages.tsx";
import { has, t } from "../../words.ts";
import { Ago, Badge, Card, Empty, Facts, Page, Stale, Stat, Waiting, When } from "../../ui/parts.tsx";
import { Table } from "../../ui/table.tsx";
import "../../style/operations.css";

interface Failure {
  time: number;
  event: string;
  text: string;
  status?: number;
}

interface Hook {
  url: string;
  events: string[] | null;
  state: string;
  since?: number;
  queued: number;
  under_way: number;
  asked: number;
  told: number;
  delivered: number;
  dropped: Record<string, number> | null;
  retries: number;
  opened: number;
  errors: Failure[] | null;
}

function State({ of }: { of: Hook }) {
  const word = `hooks.state.${of.state}`;
  return <Badge tone={of.state === "ok" ? "good" : of.state === "open" || of.state === "failing" ? "bad" : "soft"}>{has(word) ? t(word) : of.state}</Badge>;
}

function One({ of }: { of: Hook }) {
  const dropped = Object.entries(of.dropped ?? {}).filter(([, n]) => n > 0);
  const lost = dropped.reduce((sum, [, n]) => sum + n, 0);
  return (
    <>
      <Card title={<span class="ops-url">{of.url}</span>} actions={<><State of={of} />{of.since ? <span class="soft small"><Ago ms={of.since} /></span> : null}</>}>
        {of.state === "open" && <div class="note bad" role="status">{t("hooks.open.long")}</div>}
        <div class="stats ops-in-card">
          <Stat label={t("hooks.queued")} value={number(of.queued)} tone={of.queued > 1000 ? "warn" : undefined} />
          <Stat label={t("hooks.underway")} value={number(of.under_way)} />
          <Stat label={t("hooks.asked")} value={number(of.asked)} />
          <Stat label={t("hooks.told")} value={number(of.told)} />
          <Stat label={t("hooks.delivered")} value={number(of.delivered)} />
          <Stat label={t("hooks.dropped")} value={number(lost)} tone={lost > 0 ? "bad" : undefined} />
          <Stat label={t("hooks.retries")} value={number(of.retries)} />
        </div>
        <Facts of={[
          [t("hooks.events"), of.events?.length ? <span class="ops-badges">{of.events.map((e) => <Badge key={e}>{e}</Badge>)}</span> : t("hooks.events.none")],
          [t("hooks.reasons"), dropped.length > 0 ? <span class="ops-badges">{dropped.map(([reason, n]) => <Badge key={reason} tone="bad">{reason}: {number(n)}</Badge>)}</span> : t("word.none")],
          [t("hooks.opened"), t("hooks.opened.times", { n: number(of.opened) })],
        ]} />
      </Card>
      <Card title={t("hooks.errors")} flush={(of.errors?.length ?? 0) > 0}>
        <Table label={t("hooks.errors")} rows={(of.errors ?? []).map((e, i, all) => ({ ...e, n: all.length - i }))} rowKey={(e) => `${e.time} ${e.n}`} empty={t("hooks.errors.none")} columns={[
          { name: t("word.time"), cell: (e) => <When ms={e.time} /> },
          { name: t("word.event"), cell: (e) => e.event },
          { name: t("hooks.error"), cell: (e) => <span title={e.text}>{e.text}</span>, grow: true },
          { name: t("hooks.status"), cell: (e) => e.status ?? "–", end: true, wide: true },
        ]} />
      </Card>
    </>
  );
}

export function Hooks(_: PageProps) {
  const it = useLive((signal) => call<{ hooks: Hook[] }>("hooks.list", {}, { signal }), 2000);
  const hooks = it.data.value?.hooks;
  return (
    <Page title={t("hooks.title")}>
      <Stale of={it} />
      {!hooks && !it.error.value && <Waiting />}
      {hooks?.length === 0 && <Card><Empty>{t("hooks.none")}</Empty></Card>}
      {hooks?.map((hook) => <One key={hook.url} of={hook} />)}
    </Page>
  );
}
