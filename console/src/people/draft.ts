// A push that is being written: what its fields hold, and what the verbs take of them.

import { parse, type Json } from "../json.ts";
import { readJson } from "../ui/json.tsx";
import { readWhere } from "./where.tsx";
import type { Campaign, Target } from "./types.ts";
import { format } from "../json.ts";

export type To = "users" | "where" | "members" | "all";

export interface Draft {
  to: To;
  users: string; // an id a line
  where: string; // JSON
  channel: string;
  category: string;
  event: string;
  data: string; // JSON
  expires: string;
  collapse: string;
  key: string;
}

export const empty: Draft = { to: "users", users: "", where: "", channel: "", category: "", event: "", data: '{\n  "text": ""\n}', expires: "", collapse: "", key: "" };

const kept = "skein.push";
const addressed = ["to", "users", "where", "channel", "category"] as const;
const longest = 1500; // characters of a list of users that is put into an address

// begin reads the draft that this tab has kept; whom it is for is in the address.
export function begin(query: URLSearchParams): Draft {
  let draft = { ...empty };
  try {
    draft = { ...draft, ...(JSON.parse(sessionStorage.getItem(kept) ?? "{}") as Partial<Draft>) };
  } catch { /* somebody else's */ }
  if (addressed.some((name) => query.has(name))) {
    for (const name of addressed) if (name !== "users" || query.has("users")) draft = { ...draft, [name]: query.get(name) ?? "" };
  }
  if (!["users", "where", "members", "all"].includes(draft.to)) draft.to = "users";
  return draft;
}

export function keep(draft: Draft): void {
  try {
    sessionStorage.setItem(kept, JSON.stringify(draft));
  } catch { /* too long: it is not kept */ }
}

// address gives the part of a draft that stands in the address.
export function address(draft: Draft): { [name: string]: string | undefined } {
  return {
    to: draft.to, category: draft.category,
    users: draft.to === "users" && draft.users.length <= longest ? draft.users : undefined,
    where: draft.to === "where" ? draft.where : undefined,
    channel: draft.to === "members" ? draft.channel : undefined,
  };
}

// usersOf reads a list of users, an id a line, each once.
export function usersOf(text: string): string[] {
  return [...new Set(text.split("\n").map((u) => u.trim()).filter(Boolean))];
}

// targetOf gives whom a draft is for; undefined: that is not said yet.
export function targetOf(draft: Draft, complete: boolean): Target | undefined {
  switch (draft.to) {
    case "users": {
      const users = usersOf(draft.users);
      return users.length > 0 ? { users } : undefined;
    }
    case "where": {
      const { filter } = readWhere(draft.where);
      return complete && filter ? { where: filter } : undefined;
    }
    case "members":
      return draft.channel.trim() ? { members: draft.channel.trim() } : undefined;
    case "all":
      return { all: "users" };
  }
}

// contentOf gives what a draft says; undefined while its data are not JSON.
export function contentOf(draft: Draft): { [name: string]: Json } | undefined {
  const { value } = readJson(draft.data);
  if (value === undefined) return undefined;
  const text = (name: "category" | "event" | "collapse") => (draft[name].trim() ? { [name]: draft[name].trim() } : {});
  const expires = draft.expires.trim();
  return {
    data: value, ...text("category"), ...text("event"), ...text("collapse"),
    ...(expires ? { expires: /^\d+$/.test(expires) ? parse(expires) : expires } : {}),
  };
}

// draftOf makes a draft of a campaign, to begin a new one like it. Those on a list are not told.
export function draftOf(c: Campaign): Draft {
  const to: To = "where" in c.to ? "where" : "members" in c.to ? "members" : "all" in c.to ? "all" : "users";
  return {
    ...empty, to,
    where: "where" in c.to && Object.keys(c.to.where).length > 0 ? format(c.to.where) : "",
    channel: "members" in c.to ? c.to.members : "",
    category: c.category ?? "", event: c.event, data: format(c.data, 2), collapse: c.collapse ?? "",
    expires: typeof c.expires === "string" ? c.expires : "",
  };
}
