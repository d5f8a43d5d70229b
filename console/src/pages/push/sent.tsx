// What becomes of a push that was sent from this page.

import { setQuery } from "../../router.tsx";
import { t } from "../../words.ts";
import { Button, Card, Copy, Empty } from "../../ui/parts.tsx";
import { OutcomeBar } from "../../people/outcome.tsx";
import { RecordList, useRecords } from "../../people/records.tsx";
import type { Counts, Record } from "../../people/types.ts";

function countsOf(rows: Record[]): Counts {
  const counts: Counts = {};
  for (const r of rows) {
    counts[r.outcome] = (counts[r.outcome] ?? 0) + 1;
    if (r.read) counts.read = (counts.read ?? 0) + 1;
  }
  return counts;
}

export function Sent({ message }: { message: string }) {
  const pages = useRecords({ message }, 1500);
  return (
    <div class="sent">
      <Card title={t("sent.title")} flush actions={<Button onClick={() => setQuery({ sent: undefined })}>{t("do.close")}</Button>}>
        <div class="card-body">
          <p><Copy text={message} /></p>
          {pages.at > 0 && !pages.more && <OutcomeBar counts={countsOf(pages.rows)} />}
        </div>
        <RecordList pages={pages} empty={<Empty>{t("sent.none")}</Empty>} />
      </Card>
    </div>
  );
}
