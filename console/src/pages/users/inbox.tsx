// What was pushed to a user, with what became of it and why.

import { setQuery, A } from "../../router.tsx";
import { t } from "../../words.ts";
import { JsonLine } from "../../ui/json.tsx";
import { Ago, Button, Empty, Text } from "../../ui/parts.tsx";
import { List } from "../../ui/table.tsx";
import { OutcomeBadge } from "../../people/outcome.tsx";
import { messagePath, outcomeFilter, OutcomeSelect, useRecords, Why } from "../../people/records.tsx";
import { useContents } from "./contents.ts";

// day gives the first millisecond of a day as people name it, on their own clock.
function day(text: string, after = 0): number | undefined {
  const [y, m, d] = text.split("-").map(Number);
  const at = new Date(y ?? NaN, (m ?? NaN) - 1, (d ?? NaN) + after).getTime();
  return Number.isNaN(at) || at <= 0 ? undefined : at;
}

export function Inbox({ user, query }: { user: string; query: URLSearchParams }) {
  const outcome = query.get("outcome") ?? "";
  const from = query.get("from") ?? "";
  const to = query.get("to") ?? "";
  const [first, end] = [day(from), day(to, 1)];
  const params = { user, ...outcomeFilter(outcome), ...(first ? { from: first } : {}), ...(end && (!first || end > first) ? { to: end } : {}) };
  const pages = useRecords(params);
  const contents = useContents(user, pages.rows);
  const filtered = outcome || from || to;
  return (
    <>
      <div class="filters">
        <OutcomeSelect value={outcome} onChange={(v) => setQuery({ outcome: v })} />
        <Text label={t("inbox.from")} type="date" value={from} onChange={(v) => setQuery({ from: v })} />
        <Text label={t("inbox.to")} type="date" value={to} onChange={(v) => setQuery({ to: v })} />
        {filtered && <Button onClick={() => setQuery({ outcome: undefined, from: undefined, to: undefined })}>{t("do.clear")}</Button>}
      </div>
      <section class="card flush">
        <List label={t("user.tab.inbox")} pages={pages} rowKey={(r) => r.message} empty={<Empty>{filtered ? t("inbox.none.filter") : t("inbox.none")}</Empty>} columns={[
          { name: t("word.message"), grow: true, cell: (r) => {
            const content = contents.get(r.message);
            return <A class="message-link" to={messagePath(r)}><span class="message-event">{content?.event ?? t("inbox.message")}</span> {content ? <JsonLine value={content.data} /> : content === null && <span class="soft">{t("inbox.gone")}</span>}</A>;
          } },
          { name: t("records.outcome"), cell: (r) => <OutcomeBadge of={r} /> },
          { name: t("records.why"), cell: (r) => <Why of={r} />, wide: true },
          { name: t("word.category"), cell: (r) => r.category ?? <span class="soft">–</span>, wide: true },
          { name: t("word.device"), cell: (r) => r.device ?? "", wide: true },
          { name: t("word.time"), cell: (r) => <Ago ms={r.queued} />, wide: true },
        ]} />
      </section>
    </>
  );
}
