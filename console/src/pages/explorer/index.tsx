import type { PageProps } from "../../pages.tsx";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { useVerbs, type Verb } from "../../openapi.ts";
import { Badge, Card, Empty, Page, Search, Stale, Waiting } from "../../ui/parts.tsx";
import { Table } from "../../ui/table.tsx";
import { Kind, One } from "./verb.tsx";
import "../../style/operations.css";

function All({ verbs, q }: { verbs: Verb[]; q: string }) {
  const word = q.toLowerCase();
  const found = verbs.filter((v) => v.name.includes(word) || v.summary.toLowerCase().includes(word));
  return (
    <Card flush>
      <Table label={t("explorer.title")} rows={found} rowKey={(v) => v.name} empty={t("explorer.empty")} columns={[
        { name: t("explorer.verb"), cell: (v) => <A to={path(["explorer", v.name])}><code>{v.name}</code></A> },
        { name: t("explorer.does"), cell: (v) => <span title={v.summary}>{v.summary}</span>, grow: true, wide: true },
        { name: t("explorer.kind"), cell: (v) => <Kind of={v} /> },
        { name: t("explorer.yours"), cell: (v) => (may(v.name) || v.name === "batch" ? <Badge tone="good">{t("word.yes")}</Badge> : <Badge>{t("explorer.denied")}</Badge>), wide: true },
      ]} />
    </Card>
  );
}

export function Explorer({ rest, query }: PageProps) {
  const it = useVerbs();
  const verbs = it.data.value;
  const name = rest[0];
  const verb = verbs?.find((v) => v.name === name);
  if (name) {
    return (
      <Page title={name} crumbs={<A to={path(["explorer"])}>{t("explorer.title")}</A>} lead={verb?.summary} actions={verb && <Kind of={verb} />}>
        <Stale of={it} />
        {!verbs && !it.error.value && <Waiting />}
        {verbs && !verb && <Card><Empty>{t("explorer.nosuch", { verb: name })}</Empty></Card>}
        {verb && <One key={verb.name} of={verb} />}
      </Page>
    );
  }
  return (
    <Page title={t("explorer.title")} lead={t("explorer.lead")}>
      <div class="filters"><Search label={t("explorer.search")} value={query.get("q") ?? ""} onChange={(q) => setQuery({ q })} /></div>
      <Stale of={it} />
      {!verbs && !it.error.value && <Waiting />}
      {verbs && <All verbs={verbs} q={query.get("q") ?? ""} />}
    </Page>
  );
}
