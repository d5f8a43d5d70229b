// Campaigns: all of them, and one.

import type { PageProps } from "../../pages.tsx";
import "../../style/people.css";
import { CampaignPage } from "./campaign.tsx";
import { CampaignList } from "./list.tsx";

export function Campaigns({ rest, query }: PageProps) {
  return rest[0] === undefined ? <CampaignList query={query} /> : <CampaignPage key={rest[0]} id={rest[0]} query={query} />;
}
