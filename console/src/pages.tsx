// All pages, by the first name in their address.

import type { ComponentType } from "preact";
import { Campaigns } from "./pages/campaigns/index.tsx";
import { Push } from "./pages/push/index.tsx";
import { Users } from "./pages/users/index.tsx";
import { Audit } from "./pages/audit/index.tsx";
import { Explorer } from "./pages/explorer/index.tsx";
import { Hooks } from "./pages/hooks/index.tsx";
import { Overview } from "./pages/overview/index.tsx";
import { Schedules } from "./pages/schedules/index.tsx";
import { Settings } from "./pages/settings/index.tsx";
import { Channels } from "./pages/channels/index.tsx";
import { Connections } from "./pages/connections/index.tsx";

export interface PageProps {
  rest: string[]; // the names behind the page's own
  query: URLSearchParams;
}

export interface PageEntry {
  view: ComponentType<PageProps>;
  needs?: string; // the verb without which the page is of no use
}

export const pages: Record<string, PageEntry> = {
  users: { view: Users, needs: "users.query" },
  push: { view: Push, needs: "categories.list" },
  campaigns: { view: Campaigns, needs: "campaigns.list" },
  overview: { view: Overview },
  schedules: { view: Schedules, needs: "schedules.list" },
  hooks: { view: Hooks, needs: "hooks.list" },
  explorer: { view: Explorer },
  audit: { view: Audit, needs: "audit" },
  settings: { view: Settings, needs: "settings" },
  connections: { view: Connections, needs: "connections" },
  channels: { view: Channels, needs: "channels" },
};
