import type { Json } from "../../json.ts";
import { t } from "../../words.ts";
import { Badge } from "../../ui/parts.tsx";

export interface Line {
  id: string;
  time: number;
  who: string;
  by: "console" | "key";
  role?: string;
  address?: string;
  verb: string;
  target?: string;
  params?: Json;
  truncated?: boolean;
  outcome?: string; // absent: none yet
  error?: string;
}

export function By({ of }: { of: Line }) {
  return <Badge>{of.by === "key" ? t("audit.by.key") : of.by === "console" ? t("audit.by.console") : of.by}</Badge>;
}

export function Outcome({ of }: { of: Line }) {
  if (!of.outcome) return <Badge tone="warn" title={t("audit.open.long")}>{t("audit.outcome.open")}</Badge>;
  if (of.outcome === "ok") return <Badge tone="good">{t("audit.outcome.ok")}</Badge>;
  return <Badge tone="bad" {...(of.error ? { title: of.error } : {})}>{of.outcome}</Badge>;
}
