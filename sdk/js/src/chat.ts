// Conversations: their list, and what is said in them.

import { Conversations, type ConversationsOptions } from "./conversations.js";
import type { Events } from "./frames.js";
import type { Skein } from "./skein.js";

const made = new WeakMap<Skein, Conversations<any, any>>();

/**
 * The conversations of a client's user: the same object until it is closed. `E` are
 * the events that are sent there, `G` is what is kept about a group. Options count
 * for the first.
 */
export function conversations<E extends Events = Events, G = any>(skein: Skein, options: ConversationsOptions = {}): Conversations<E, G> {
  let chat = made.get(skein);
  if (!chat) made.set(skein, (chat = new Conversations<E, G>(skein, options, () => made.delete(skein))));
  return chat;
}

export { directChannel } from "./chat-names.js";
export type {
  AlertLevel, Blocked, ChatMember, ChatMessage, Entry, Invited, JoinRule, Last, MarkState, MemberPage, Page, Peer, Removed, Role,
} from "./chat-frames.js";
export type { Conversation, ConversationEvents, SendOptions, Status } from "./conversation.js";
export type { Conversations, ConversationsEvents, ConversationsOptions, ListChange } from "./conversations.js";
