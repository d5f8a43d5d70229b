import type { PageProps } from "../../pages.tsx";
import { A, go, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Ago, Button, Card, Page, Search } from "../../ui/parts.tsx";
import { List, usePages } from "../../ui/table.tsx";
import { Edit } from "./form.tsx";
import { plan, type Schedule } from "./model.ts";
import { One } from "./one.tsx";
import { Result, State } from "./state.tsx";
import "../../style/operations.css";

function All({ query }: { query: URLSearchParams }) {
  const prefix = query.get("q") ?? "";
  const pages = usePages<Schedule>("schedules.list", prefix ? { prefix } : {}, { take: (a) => a, ms: 3000 });
  return (
    <Page title={t("schedules.title")} actions={may("schedules.put") && <Button kind="main" onClick={() => setQuery({ new: "1" })}>{t("schedules.new")}</Button>}>
      <div class="filters"><Search label={t("schedules.search")} value={prefix} onChange={(q) => setQuery({ q })} /></div>
      <Card flush>
        <List label={t("schedules.title")} pages={pages} rowKey={(s) => s.name} empty={t("schedules.empty")} columns={[
          { name: t("word.name"), cell: (s) => <A to={path(["schedules", s.name])} title={s.name}>{s.name}</A> },
          { name: t("word.state"), cell: (s) => <State of={s} /> },
          { name: t("schedules.plan"), cell: (s) => plan(s), wide: true },
          { name: t("schedules.verb"), cell: (s) => <code>{s.verb}</code>, wide: true },
          { name: t("schedules.next"), cell: (s) => (s.next ? <Ago ms={s.next} /> : <span class="soft">–</span>) },
          { name: t("schedules.last"), cell: (s) => <Result of={s.last} /> },
          { name: t("schedules.error"), cell: (s) => (s.last?.error ? <span class="ops-bad" title={s.last.error.message}>{s.last.error.code}: {s.last.error.message}</span> : <span class="soft">–</span>), grow: true, wide: true },
        ]} />
      </Card>
      {query.get("new") && may("schedules.put") && <Edit onClose={() => setQuery({ new: undefined })} onDone={(name) => go(path(["schedules", name]))} />}
    </Page>
  );
}

export function Schedules({ rest, query }: PageProps) {
  const name = rest[0];
  return name !== undefined ? <One key={name} name={name} query={query} /> : <All query={query} />;
}
