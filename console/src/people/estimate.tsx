// What would become of a message if it was pushed now: how many, who is there, and what
// holds it back for whom.

import { number } from "../format.ts";
import { t } from "../words.ts";
import { percent } from "./outcome.tsx";
import type { Estimate } from "./types.ts";

export function EstimateView({ of }: { of: Estimate }) {
  const capped = Object.entries(of.capped ?? {}).sort(([, a], [, b]) => b - a);
  const share = (n: number) => percent(n, of.audience);
  const rows: [string, number, string][] = [
    ["deliver", of.deliver, t("estimate.deliver")],
    ...(of.muted ? [["muted", of.muted, t("estimate.muted")] as [string, number, string]] : []),
    ...(of.quiet ? [["queued", of.quiet, t("estimate.quiet")] as [string, number, string]] : []),
    ...capped.map(([rule, n]): [string, number, string] => ["capped", n, t("estimate.capped", { rule })]),
  ];
  return (
    <div class="estimate">
      <p class="estimate-count"><strong>{of.approximate ? "≈ " : ""}{number(of.audience)}</strong> {t("estimate.people")} <span class="soft">· {t("estimate.online", { n: number(of.online) })}</span></p>
      {of.audience > 0 && (
        <ul class="legend rows">
          {rows.map(([tone, n, name]) => <li key={name}><span class={`dot o-${tone === "deliver" ? "delivered" : tone}`} aria-hidden="true" /><span>{name}</span><strong>{number(n)}</strong><span class="soft">{share(n)}</span></li>)}
        </ul>
      )}
      {of.approximate && <p class="small soft">{t("estimate.approximate")}</p>}
    </div>
  );
}
