// What the server says of conversations, as the application sees it. The page of
// conversations (spec/chat.md) says what each member means.

import type { Events, Message } from "./frames.js";

/** What a member may do; each may all that the one before may. */
export type Role = "reader" | "member" | "admin" | "owner";

/** Of which messages a member who is away is told. */
export type AlertLevel = "default" | "all" | "mentions" | "none";

/** Who brings users into a group; `open`: everybody may also come by himself. */
export type JoinRule = "admins" | "members" | "open";

/** The newest message of a conversation. */
export type Last<E extends Events = Events> = Message<E> & {
  seq: number;
  /** It was withdrawn, and has no content any more. */
  recalled?: boolean;
  /** Its data is too large for a list, and left out. */
  cut?: boolean;
};

/** The other one of a direct conversation. */
export interface Peer {
  user: string;
  read: number;
  delivered: number;
  /** Absent where that is not shown. */
  online?: boolean;
  /** The user has blocked him. */
  blocked?: boolean;
}

/** A conversation in the list of the user; another object when something of it has changed. Times are milliseconds since 1970. */
export interface Entry<E extends Events = Events, G = any> {
  channel: string;
  kind: "direct" | "group";
  /** The newest message, seen or not. */
  seq: number;
  epoch: string;
  /** Everything up to it was read. */
  read: number;
  delivered: number;
  unread: number;
  /** What the list goes by: of the newest message, or of coming in. */
  time: number;
  last?: Last<E>;
  role: Role;
  since: number;
  /** Messages up to it are not shown to the user. */
  hidden: number;
  members: number;
  alerts: AlertLevel;
  /** Of a group: what its admins say of it. */
  data?: G;
  join?: JoinRule;
  peer?: Peer;
}

/** A member of a conversation. */
export interface ChatMember {
  user: string;
  role: Role;
  since: number;
  delivered: number;
  read: number;
}

/** A part of a long list; the next one begins after `next`, which is absent on the last one. */
export interface Page<T> {
  items: T[];
  next?: string;
}

/** Some of the members, and how many there are in all. */
export interface MemberPage extends Page<ChatMember> {
  members: number;
}

/** Who was brought in, who was not because he has blocked the one who brings in, and how many members there are now. */
export interface Invited {
  added: string[];
  refused: string[];
  members: number;
}

/** How many memberships have ended, how many members there are now, and who became the owner because the one before has left. */
export interface Removed {
  removed: number;
  members: number;
  owner?: string;
}

/** A user who is blocked. */
export interface Blocked {
  user: string;
  since: number;
}

/** How far the user is. */
export interface MarkState {
  read: number;
  delivered: number;
  unread: number;
}

/** A message of a conversation as it is shown. */
export type ChatMessage<E extends Events = Events> = Message<E> & {
  /**
   * `sent`: it is stored. Of own ones that are not: `pending`: on its way, also without a connection;
   * `failed`: it was refused, for `error`. These have no `seq` and no `id`.
   */
  state: "sent" | "pending" | "failed";
  /** Of what was sent here: the same before and after it is stored, so that a list may know it by it. */
  key?: string;
  error?: Error;
  recalled?: boolean;
};
