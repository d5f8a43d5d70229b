"use client"; // what it means to frameworks that render on a server

// Hooks for React. The client's values keep their identity until they change, so
// that a component is drawn again only when something that it shows is new.

import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import type { ChatMessage, Conversation, Conversations, Entry } from "./chat.js";
import type {
  Channel, ChannelOptions, Document, Events, Inbox, InboxMessage, Message, Presence, Published, Skein, SkeinError, State,
} from "./index.js";
import { add, load, mark, nothing, remove, visible, type Shown } from "./shown.js";

const Context = createContext<Skein | undefined>(undefined);
const ChatContext = createContext<Conversations<any, any> | undefined>(undefined);

/** Gives the client, and the user's conversations where there are any, to the components below. */
export function SkeinProvider({ skein, chat, children }: { skein: Skein; chat?: Conversations<any, any>; children?: ReactNode }): ReactNode {
  return createElement(Context.Provider, { value: skein }, createElement(ChatContext.Provider, { value: chat }, children));
}

function useClient(): Skein {
  const skein = useContext(Context);
  if (!skein) throw new Error("there is no SkeinProvider above this component");
  return skein;
}

/** The client, and how it is connected. */
export function useSkein(): { skein: Skein; state: State; error: SkeinError | undefined; user: string | undefined } {
  const skein = useClient();
  const state = useSyncExternalStore(
    useCallback((changed) => skein.on("state", changed), [skein]),
    () => skein.state,
    () => "connecting" as const,
  );
  return { skein, state, error: skein.error, user: skein.user };
}

/** The refusal of something that a component listens to, until it is there again. */
function useRefusal(handle: { on(event: "error", listener: (error: SkeinError) => void): () => void }): SkeinError | undefined {
  const [refusal, setRefusal] = useState<{ handle: object; error: SkeinError }>();
  useEffect(() => handle.on("error", (error) => setRefusal({ handle, error })), [handle]);
  return refusal?.handle === handle ? refusal.error : undefined;
}

/**
 * A document, or what `select` takes of it; subscribed while the component is
 * there. The second value changes it. The third is why it is refused.
 */
export function useDocument<T = any>(name: string): readonly [T | undefined, Document<T>, SkeinError | undefined];
export function useDocument<T, S>(name: string, select: (value: T | undefined) => S): readonly [S, Document<T>, SkeinError | undefined];
export function useDocument(name: string, select: (value: any) => unknown = (value) => value): readonly [unknown, Document, SkeinError | undefined] {
  const document = useClient().document(name);
  const refusal = useRefusal(document);
  // A selector may make a new object each time: the same value gives the same one.
  const last = useRef<{ document: Document; value: unknown; select: unknown; selected: unknown }>(undefined);
  const snapshot = () => {
    const { value } = document;
    const known = last.current;
    if (known && known.document === document && known.value === value && known.select === select) return known.selected;
    last.current = { document, value, select, selected: select(value) };
    return last.current.selected;
  };
  const selected = useSyncExternalStore(useCallback((changed) => document.on("change", changed), [document]), snapshot, () => select(undefined));
  return [selected, document, refusal];
}

export interface UseChannelOptions extends ChannelOptions {
  /** How many messages are kept, the newest. Default 100. */
  limit?: number;
}

/** A channel and its newest messages since the component is there; edited ones change, withdrawn ones are taken out. Options are those of the first time. */
export function useChannel<E extends Events = Events>(name: string, options: UseChannelOptions = {}): {
  messages: readonly Message<E>[];
  publish: <K extends keyof E & string>(event: K, data: E[K]) => Promise<Published>;
  channel: Channel<E>;
  error: SkeinError | undefined;
} {
  const { limit = 100, ...rest } = options;
  const channel = useClient().channel<E>(name, rest);
  const error = useRefusal(channel as Channel);
  const kept = useRef<{ channel: Channel<E>; messages: readonly Message<E>[] }>({ channel, messages: [] });
  if (kept.current.channel !== channel) kept.current = { channel, messages: [] };
  const messages = useSyncExternalStore(
    useCallback((changed) => {
      const keep = (list: readonly Message<E>[]) => {
        kept.current = { channel, messages: list };
        changed();
      };
      const offs = [
        channel.on("message", (message) => keep([...kept.current.messages, message].slice(-limit))),
        channel.on("edit", (edit) => keep(kept.current.messages.map((message) => (message.id === edit.id ? { ...message, event: edit.event, data: edit.data, edited: true } : message)))),
        channel.on("recall", ({ id }) => keep(kept.current.messages.filter((message) => message.id !== id))),
      ];
      return () => offs.forEach((off) => off());
    }, [channel, limit]),
    () => kept.current.messages,
    () => none as readonly Message<E>[],
  );
  const publish = useCallback(<K extends keyof E & string>(event: K, data: E[K]) => channel.publish(event, data), [channel]);
  return { messages, publish, channel, error };
}

const none: readonly never[] = [];

/** Who is in a channel, while the component is there; `set` shows something of oneself. */
export function usePresence(name: string): {
  members: Presence["members"];
  connections: number;
  users: number;
  large: boolean;
  set: (data: unknown) => Promise<void>;
  error: SkeinError | undefined;
} {
  const presence = useClient().presence(name);
  const error = useRefusal(presence);
  const members = useSyncExternalStore(
    useCallback((changed) => presence.on("change", changed), [presence]),
    () => presence.members,
    () => none,
  );
  const set = useCallback((data: unknown) => presence.set(data), [presence]);
  return { members, connections: presence.connections, users: presence.users, large: presence.large, set, error };
}

/**
 * The newest messages of the user's inbox, the oldest first, and how many are not
 * read: undefined until the server has said it. What is after `mark` is not read;
 * `read` moves the mark to a message, or to the newest one that is shown. What comes
 * while the component is there is acknowledged.
 */
export function useInbox({ limit = 50 }: UseInboxOptions = {}): {
  messages: readonly InboxMessage[];
  unread: number | undefined;
  mark: number;
  read: (seq?: number) => Promise<void>;
  inbox: Inbox;
  error: SkeinError | undefined;
} {
  const skein = useClient();
  const inbox = skein.inbox();
  const [error, setError] = useState<SkeinError>();
  const [kept, setKept] = useState({ inbox, shown: nothing });
  const shown = kept.inbox === inbox ? kept.shown : nothing;
  const change = useCallback((next: (old: Shown) => Shown) => {
    setKept((old) => ({ inbox, shown: next(old.inbox === inbox ? old.shown : nothing) }));
  }, [inbox]);

  useEffect(() => {
    let over = false;
    const ask = async () => {
      if (skein.state !== "connected") return;
      try {
        const page = await inbox.history({ limit });
        if (over) return;
        change((old) => load(old, page, limit));
        setError(undefined);
      } catch (error) {
        // A lost connection is followed by the next, and by another try.
        if (!over && skein.state === "connected") setError(error as SkeinError);
      }
    };
    const offs = [
      inbox.on("message", (message) => change((old) => add(old, message, limit))),
      inbox.on("recall", (recall) => change((old) => remove(old, recall))),
      inbox.on("mark", (state) => change((old) => mark(old, state))),
      inbox.on("held", ask),
      inbox.on("error", setError),
      skein.on("welcome", ask),
    ];
    ask();
    return () => {
      over = true;
      offs.forEach((off) => off());
    };
  }, [skein, inbox, limit, change]);

  const messages = useMemo(() => visible(shown.messages), [shown.messages]);
  const newest = messages.at(-1)?.seq;
  const read = useCallback(async (seq = newest) => {
    if (seq === undefined) return;
    const state = await inbox.read(seq);
    change((old) => mark(old, state));
  }, [inbox, newest, change]);
  return { messages, unread: shown.unread, mark: shown.mark, read, inbox, error };
}

export interface UseInboxOptions {
  /** How many messages are kept, the newest; at most 500. Default 50. */
  limit?: number;
}

function useChat<E extends Events, G>(): Conversations<E, G> {
  const chat = useContext(ChatContext);
  if (!chat) throw new Error("the SkeinProvider above this component has no chat");
  return chat;
}

/** The conversations of the user, the newest first, and how many messages of all of them are not read. */
export function useConversations<E extends Events = Events, G = any>(): {
  conversations: readonly Entry<E, G>[];
  unread: number;
  count: number;
  hasMore: boolean;
  more: () => Promise<boolean>;
  chat: Conversations<E, G>;
  error: SkeinError | undefined;
} {
  const chat = useChat<E, G>();
  const error = useRefusal(chat);
  const list = useSyncExternalStore(
    useCallback((changed) => chat.on("change", changed), [chat]),
    () => chat.list,
    () => none as readonly Entry<E, G>[],
  );
  const more = useCallback(() => chat.more(), [chat]);
  const { unread, count, hasMore } = chat;
  return { conversations: list, unread, count, hasMore, more, chat, error };
}

/** What a component shows of a conversation. */
interface View<E extends Events, G> {
  conversation?: Conversation<E, G>;
  messages: readonly ChatMessage<E>[];
  entry?: Entry<E, G> | undefined;
  typists: readonly string[];
  more: boolean;
}

const closed: View<any, any> = { messages: none, typists: none, more: false };

/**
 * A conversation, open as long as the component is there: its messages, own ones that
 * are not stored last; its entry in the list; who types; and whether there are older
 * messages, which `conversation.older()` reads. `conversation` is undefined until the
 * component is there.
 */
export function useConversation<E extends Events = Events, G = any>(channel: string): View<E, G> & {
  send: Conversation<E, G>["send"];
  error: SkeinError | undefined;
} {
  const chat = useChat<E, G>();
  const view = useRef<{ chat: object; channel: string; shown: View<E, G> }>(undefined);
  const [refusal, setRefusal] = useState<{ conversation: object; error: SkeinError }>();
  const shown = useSyncExternalStore<View<E, G>>(
    useCallback((changed) => {
      const conversation = chat.open<E>(channel);
      const look = () => {
        const { messages, entry, typists, more } = conversation;
        view.current = { chat, channel, shown: { conversation, messages, entry, typists, more } };
        changed();
      };
      const offs = [conversation.on("change", look), conversation.on("error", (error) => setRefusal({ conversation, error }))];
      look();
      return () => {
        offs.forEach((off) => off());
        conversation.close();
      };
    }, [chat, channel]),
    () => (view.current?.chat === chat && view.current.channel === channel ? view.current.shown : closed),
    () => closed,
  );
  const { conversation } = shown;
  const send = useCallback<Conversation<E, G>["send"]>((data, options) => (
    conversation ? conversation.send(data, options) : Promise.reject(new Error(`${channel} is not open`))
  ), [conversation, channel]);
  return { ...shown, send, error: conversation && refusal?.conversation === conversation ? refusal.error : undefined };
}
