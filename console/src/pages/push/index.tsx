// Push: write a message and see whom it would reach, and the categories that say how often.

import type { PageProps } from "../../pages.tsx";
import { go, path } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Tabs } from "../../ui/parts.tsx";
import "../../style/people.css";
import { Categories } from "./categories.tsx";
import { Compose } from "./compose.tsx";

export function Push({ rest, query }: PageProps) {
  const compose = may("push");
  const at = rest[0] === "categories" || !compose ? "categories" : "compose";
  const tabs = compose && <Tabs label={t("nav.push")} at={at} onChange={(to) => go(path(to === "categories" ? ["push", "categories"] : ["push"]))} tabs={[["compose", t("push.tab.compose")], ["categories", t("push.tab.categories")]]} />;
  return at === "categories" ? <Categories query={query} tabs={tabs} /> : <Compose query={query} tabs={tabs} />;
}
