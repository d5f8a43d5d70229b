// The part of the inbox that a component shows: a list that is changed by what
// comes, always into a new one.

import type { InboxMessage, InboxPage, InboxState, Recall } from "./frames.js";

export interface Shown {
  /** The newest messages, the oldest first. */
  messages: readonly InboxMessage[];
  /** How far the user has read. */
  mark: number;
  /** Undefined until the server has said it. */
  unread: number | undefined;
  /** The newest message that is counted in `unread`. */
  counted: number;
}

export const nothing: Shown = { messages: [], mark: 0, unread: undefined, counted: 0 };

/** With a message in its place, and no more than the newest `limit`. */
export function add(shown: Shown, message: InboxMessage, limit: number): Shown {
  const { id, seq } = message;
  const messages = [...shown.messages.filter((old) => old.id !== id), message].sort((a, b) => a.seq - b.seq).slice(-limit);
  // What was put off, or comes again, was counted when it came to be in the inbox.
  if (seq <= shown.counted) return { ...shown, messages };
  return { ...shown, messages, unread: step(shown.unread, +(seq > shown.mark)), counted: seq };
}

/** Without a message that was withdrawn. */
export function remove(shown: Shown, { id, seq }: Pick<Recall, "id" | "seq">): Shown {
  const messages = shown.messages.filter((message) => message.id !== id);
  if (messages.length === shown.messages.length) return shown;
  return { ...shown, messages, unread: step(shown.unread, -(seq > shown.mark)) };
}

/** The mark has moved; it never goes back. */
export function mark(shown: Shown, { read, unread }: InboxState): Shown {
  return read < shown.mark ? shown : { ...shown, mark: read, unread };
}

/** What the server has, and what came after it had looked. */
export function load(shown: Shown, { messages, seq, read, unread }: InboxPage, limit: number): Shown {
  return shown.messages
    .filter((message) => message.seq > seq)
    .reduce((all, message) => add(all, message, limit), { messages, mark: read, unread, counted: seq } as Shown);
}

/** The messages without those that a newer one takes the place of. The server counts them all the same. */
export const visible = (messages: readonly InboxMessage[]): readonly InboxMessage[] =>
  messages.filter((old) => !messages.some((message) => old.collapse !== undefined && old.collapse === message.collapse
    && old.category === message.category && old.seq < message.seq));

const step = (unread: number | undefined, by: number) => (unread === undefined ? undefined : Math.max(0, unread + by));
