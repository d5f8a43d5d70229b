import { t } from "../../words.ts";
import { Ago, Badge } from "../../ui/parts.tsx";
import type { Firing, Schedule } from "./model.ts";

export function State({ of }: { of: Schedule }) {
  return <Badge tone={of.state === "active" ? "good" : of.state === "paused" ? "warn" : "soft"}>{t(`schedules.state.${of.state}`)}</Badge>;
}

// Result says how a run went, and when.
export function Result({ of, short }: { of: Firing | undefined; short?: boolean }) {
  if (!of) return <span class="soft">{t("time.never")}</span>;
  const badge = of.ok ? <Badge tone="good">{t("schedules.ok")}</Badge> : <Badge tone="bad" title={of.error?.message ?? ""}>{t("schedules.failed")}</Badge>;
  return short ? badge : <>{badge} <Ago ms={of.finished} /></>;
}
