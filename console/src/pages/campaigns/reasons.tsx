// Why a campaign did not come to some: the reasons of its newest records, counted.

import { call } from "../../api.ts";
import { number } from "../../format.ts";
import { useLive } from "../../live.ts";
import { t } from "../../words.ts";
import { Card, Stale, Waiting } from "../../ui/parts.tsx";
import { outcomeName, short } from "../../people/outcome.tsx";
import type { Record, RecordPage } from "../../people/types.ts";

const looked = 1000;
const asked = ["queued", "capped", "muted", "expired", "recalled", "failed"];

interface Reason {
  outcome: string;
  why: string;
  n: number;
}

function reasonsOf(items: Record[]): Reason[] {
  const found = new Map<string, Reason>();
  for (const r of items) {
    const { until: _, ...rest } = r; // those who wait for different moments wait for the same reason
    const why = short(rest);
    const key = `${r.outcome} ${why}`;
    const reason = found.get(key) ?? { outcome: r.outcome, why, n: 0 };
    reason.n++;
    found.set(key, reason);
  }
  return [...found.values()].sort((a, b) => b.n - a.n);
}

export function Reasons({ id }: { id: string }) {
  const live = useLive((signal) => call<RecordPage>("records", { campaign: id, outcome: asked, limit: looked }, { signal }), 5000, [id]);
  const page = live.data.value;
  const reasons = page ? reasonsOf(page.items) : [];
  return (
    <Card title={t("reasons.title")}>
      <Stale of={live} />
      {!page && !live.error.value && <Waiting />}
      {page && reasons.length === 0 && <p class="soft">{t("reasons.none")}</p>}
      {reasons.length > 0 && (
        <ul class="legend rows">
          {reasons.map((r) => <li key={`${r.outcome} ${r.why}`}><span class={`dot o-${r.outcome}`} aria-hidden="true" /><span>{outcomeName(r.outcome)}{r.why && <> · <code>{r.why}</code></>}</span><strong>{number(r.n)}</strong></li>)}
        </ul>
      )}
      {page?.next && <p class="small soft">{t("reasons.newest", { n: number(page.items.length) })}</p>}
    </Card>
  );
}
