// What the verbs about users, pushes and campaigns give.

import type { Json } from "../json.ts";

export const outcomes = ["queued", "sent", "delivered", "capped", "muted", "expired", "recalled", "failed"] as const;
export type Outcome = (typeof outcomes)[number];
export type Counts = { [name in Outcome | "read"]?: number };

export interface Fate {
  outcome: Outcome;
  reason?: string;
  rule?: string;
  queued: number;
  sent?: number;
  delivered?: number;
  read?: number;
  ended?: number;
  until?: number;
  device?: string;
}

export interface Record extends Fate {
  message: string;
  user: string;
  seq: number;
  category?: string;
  campaign?: string;
}

export interface RecordPage {
  items: Record[];
  next?: string;
}

export interface InboxItem extends Fate {
  id: string;
  seq: number;
  event: string;
  data: Json;
  category?: string;
  campaign?: string;
  expires?: number;
  collapse?: string;
  time: number;
}

export interface InboxPage {
  items: InboxItem[];
  more: boolean;
  seq: number;
  read: number;
  unread: number;
}

export interface User {
  id: string;
  attributes?: { [name: string]: Json };
  created: number;
  changed?: number;
  muted: string[];
  connections: number;
}

export interface Online {
  online: boolean;
  connections: number;
  devices: string[];
  seen?: number;
}

export interface Explained {
  deliver: boolean;
  outcome: Outcome;
  rule?: string;
  until?: number;
  online: boolean;
  zone: string;
  muted: boolean;
  quiet: boolean;
  caps: { category: string; per: string; max: number; used: number; until?: number }[];
}

export interface Category {
  name: string;
  caps?: { per: string; max: number }[];
  parent?: string;
  quiet?: { from: string; to: string };
  on_cap?: string;
  on_quiet?: string;
  priority?: number;
  ttl?: string;
  bypass?: boolean;
  counts?: boolean;
  mutable?: boolean;
  escalate?: string;
  source: string;
  changed?: number;
  error?: string;
}

export type Filter = { [name: string]: Json };
export type Target = { users: string[] } | { where: Filter } | { members: string } | { all: "users" } | { list: true };

export interface Estimate {
  audience: number;
  online: number;
  deliver: number;
  muted: number;
  quiet: number;
  capped?: { [rule: string]: number };
  approximate?: boolean;
}

export interface Pushed {
  id?: string;
  audience: number;
  counts: Counts;
  campaign?: string;
  duplicate?: boolean;
  estimate?: Estimate;
}

export interface Campaign {
  id: string;
  name: string;
  state: "draft" | "scheduled" | "running" | "paused" | "done" | "cancelled";
  to: Target;
  category?: string;
  event: string;
  data: Json;
  expires?: string | number;
  collapse?: string;
  escalate?: string;
  at?: string;
  pace?: number;
  created: number;
  started?: number;
  ended?: number;
  message?: string;
  audience?: number;
  progress: number;
  counts?: Counts;
  error?: string;
}

export interface Connection {
  id: string;
  user?: string;
  device?: string;
  transport: string;
  address: string;
  since: number;
  channels: string[];
  bytes: number;
  queued: number;
}
