// What kind a channel is, also when nobody is subscribed to it.

import { useRef } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { useLive, type Live } from "../../live.ts";
import { may } from "../../session.ts";
import { has, t } from "../../words.ts";
import { Badge } from "../../ui/parts.tsx";

export type Kind = "event" | "log" | "doc";

export interface Facts {
  kind: Kind;
  subscribers: number;
  users: number;
  head: number | undefined; // seq of the newest message, version of the document
  chat: string | undefined; // "direct", "group"; "": a conversation that has not begun
}

const tones = { event: "soft", log: "accent", doc: "good" } as const;

export function KindBadge({ kind }: { kind: string }) {
  const word = `channels.kind.${kind}`;
  return <Badge tone={tones[kind as Kind] ?? "soft"}>{has(word) ? t(word) : kind}</Badge>;
}

interface Counts {
  connections: number;
  users: number;
}

const refused = (e: unknown, ...codes: string[]) => e instanceof Problem && codes.includes(e.code);

// A namespace has one kind; what was found out of one is known of all its channels.
const kinds = new Map<string, Kind>();
const chats = new Map<string, boolean>();
const spaceOf = (channel: string) => channel.slice(0, channel.indexOf(":"));

// kindOf asks for the channel among those with subscribers, and else what only a channel of
// one kind answers.
async function kindOf(channel: string, signal: AbortSignal): Promise<Kind> {
  const known = kinds.get(spaceOf(channel));
  if (known) return known;
  const { items } = await call<{ items: { channel: string; kind: Kind }[] }>("channels", { prefix: channel, limit: 1 }, { signal });
  if (items[0]?.channel === channel) return items[0].kind;
  for (const [verb, kind] of [["history", "log"], ["doc.history", "doc"]] as const) {
    try {
      await call(verb, { channel, limit: 1 }, { signal });
      return kind;
    } catch (e) {
      if (!refused(e, "bad_request")) throw e;
    }
  }
  await call("presence", { channel, limit: 1 }, { signal }); // is it a name of a channel?
  return "event";
}

async function chatOf(channel: string, signal: AbortSignal): Promise<string | undefined> {
  if (!may("chat.get") || chats.get(spaceOf(channel)) === false) return undefined;
  try {
    return (await call<{ kind: string }>("chat.get", { channel }, { signal })).kind;
  } catch (e) {
    if (refused(e, "not_found")) return "";
    if (!refused(e, "bad_request")) throw e;
    chats.set(spaceOf(channel), false);
    return undefined;
  }
}

async function headOf(kind: Kind, channel: string, signal: AbortSignal): Promise<number | undefined> {
  if (kind === "log") return (await call<{ seq: number }>("history", { channel, limit: 1 }, { signal })).seq;
  // A place that no document has costs nothing to read.
  if (kind === "doc") return (await call<{ version: number }>("doc.get", { channel, path: "/-" }, { signal })).version;
  return undefined;
}

// useChannel asks each 2 s what a channel is and who is there; a page is of one channel.
export function useChannel(channel: string): Live<Facts> {
  const known = useRef<{ kind: Kind; chat: string | undefined } | undefined>(undefined);
  return useLive(async (signal) => {
    if (!known.current) {
      const kind = await kindOf(channel, signal);
      kinds.set(spaceOf(channel), kind);
      known.current = { kind, chat: kind === "log" ? await chatOf(channel, signal) : undefined };
    }
    const { kind, chat } = known.current;
    const [counts, head] = await Promise.all([call<Counts>("presence", { channel, limit: 1 }, { signal }), headOf(kind, channel, signal)]);
    return { kind, chat, head, subscribers: counts.connections, users: counts.users };
  }, 2000, [channel]);
}
