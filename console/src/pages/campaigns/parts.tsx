// What the list of campaigns and the page of one share.

import { format } from "../../json.ts";
import { number } from "../../format.ts";
import { t, type Word } from "../../words.ts";
import { Badge } from "../../ui/parts.tsx";
import type { Campaign, Target } from "../../people/types.ts";

export const states = ["draft", "scheduled", "running", "paused", "done", "cancelled"] as const;

const tones = { draft: "soft", scheduled: "accent", running: "accent", paused: "warn", done: "good", cancelled: "soft" } as const;

export const stateName = (state: string) => t(`campaign.state.${state}` as Word);

export function StateBadge({ of }: { of: Campaign }) {
  return <><Badge tone={tones[of.state]}>{stateName(of.state)}</Badge>{of.error && <> <Badge tone="bad" title={of.error}>{t("campaign.trouble")}</Badge></>}</>;
}

// targetText says in words whom a campaign is for.
export function targetText(to: Target): string {
  if ("where" in to) return t("target.where", { filter: format(to.where) });
  if ("members" in to) return t("target.members", { channel: to.members });
  if ("all" in to) return t("target.all");
  return t("target.list");
}

export function Progress({ of }: { of: Campaign }) {
  if (of.audience === undefined || of.state === "draft" || of.state === "scheduled") return <span class="soft">–</span>;
  const share = of.audience > 0 ? Math.min(1, of.progress / of.audience) : 1;
  const said = t("campaign.progress.of", { done: number(of.progress), all: number(of.audience) });
  return <span class="progress"><progress max={1} value={share} aria-label={said} /> <span>{number(share * 100)} %</span></span>;
}
