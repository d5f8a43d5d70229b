// What comes from the server, as the application sees it. The protocol says what
// each member means.

/** A frame of the protocol. */
export interface Frame {
  type: string;
  [member: string]: any;
}

/** Names of events, each with the type of its data. */
export type Events = Record<string, any>;

/** Who did something; absent members: an anonymous connection, no device. */
export interface From {
  user?: string;
  device?: string;
  connection?: string;
}

/** A message; `E` makes it a union by `event`. Times are milliseconds since 1970. */
export type Message<E extends Events = Events> = {
  [K in keyof E & string]: {
    channel: string;
    id: string;
    /** Its place in a log channel or in the inbox. */
    seq?: number;
    event: K;
    data: E[K];
    /** Absent: the server published it. */
    from?: From;
    time: number;
    /** Of a message of the inbox: what it is, for the rules of what may interrupt the user. */
    category?: string;
    /** Of a message of the inbox: until when it is good. */
    expires?: number;
    /** Of a message of the inbox: it takes the place of earlier ones of its category with the same. */
    collapse?: string;
    /** Of a conversation: the seq of the message that this one answers. */
    reply?: number;
    /** Of a conversation: the users whom it names; `*` is everybody. */
    mentions?: string[];
    /** Its author has changed it since. */
    edited?: boolean;
  };
}[keyof E & string];

/** A volatile event about a channel. */
export interface Notice {
  channel: string;
  event: string;
  data?: any;
  from?: From;
  time: number;
}

/** Messages `from` to `to` of a log channel are gone; `to` below `from`: its history has begun anew. */
export interface Gap {
  channel: string;
  from: number;
  to: number;
  epoch: string;
}

/** The author has changed a message: what it is now. `time` is that of the message, `at` that of the change; absent: it was made while nobody was here. */
export type Edit<E extends Events = Events> = Message<E> & { seq: number; edited: true; at?: number };

/** How far a user has read a conversation, and what a device of his has got. */
export interface Mark {
  channel: string;
  user: string;
  delivered: number;
  read: number;
}

/** A message was withdrawn. */
export interface Recall {
  channel: string;
  seq: number;
  id: string;
}

/** Messages that this reader was too slow for. */
export interface Dropped {
  channel: string;
  count: number;
  /** True: an iterator of this client dropped them, not the server. */
  local?: boolean;
}

/** A connection came to a channel or changed what it shows there, or went. */
export interface Visit {
  channel: string;
  user?: string;
  connection: string;
  data?: any;
  time: number;
}

/** How many are there, of a channel that is too large to tell who, or has become small again. */
export interface Crowd {
  channel: string;
  connections: number;
  users: number;
  large?: boolean;
}

export type Kind = "event" | "log" | "doc";

/** A subscription has begun, or has begun anew. */
export interface Opened {
  channel: string;
  kind: Kind;
  epoch?: string;
  seq?: number;
  version?: number;
  /** After a lost connection, and with `since`: nothing is missing. */
  recovered?: boolean;
}

/** The server has subscribed this connection, or ended a subscription. */
export interface Subscribed {
  channel: string;
  reason: string;
}

/** What the server says of a connection when it lets it in. */
export interface Welcome {
  connection: string;
  user?: string;
  device?: string;
  /** Seconds. */
  heartbeat: number;
  session: Record<string, any>;
  channels?: string[];
  expires?: number;
  time: number;
}

export interface PublishOptions {
  /** Makes a repeat harmless: of messages with the same key only the first one counts. At most 128 bytes. */
  key?: string | undefined;
  /** In a conversation: the seq of the message that this one answers. */
  reply?: number | undefined;
  /** In a conversation: at most 100 members whom it names, or `["*"]`, everybody. */
  mentions?: string[] | undefined;
}

/** The answer to a publish. */
export interface Published {
  message: string;
  seq?: number;
  connections: number;
  users: number;
  stored: boolean;
  duplicate?: boolean;
  /** The application's answer; the message was not published then, and nothing else is here. */
  reply?: any;
}

/** A message of the inbox. */
export type InboxMessage = Message & { seq: number };

/** How far the user has read, and how many messages are not read (at most 1,000 are counted). */
export interface InboxState {
  read: number;
  unread: number;
}

/** The newest message of the inbox, 0 when there was none, and what of it was read. */
export interface InboxHead extends InboxState {
  epoch: string;
  seq: number;
}

/** Which messages of the inbox: the newest before, or the oldest after a seq; without either the newest. */
export interface InboxQuery {
  before?: number;
  after?: number;
  /** How many. Default 50, at most 500. */
  limit?: number;
  /** Only what was not read. */
  unread?: boolean;
}

/** A page of the inbox, the oldest first, with what became of each message. */
export interface InboxPage extends InboxHead {
  messages: (InboxMessage & { outcome: string; read?: boolean })[];
  more: boolean;
}

/** What may not come by itself, and waits in the inbox to be read; `categories` counts it by category. */
export interface Held {
  count: number;
  categories: Record<string, number>;
}

/** A page of a log channel, the oldest first. */
export interface History<E extends Events = Events> {
  messages: (Message<E> & { recalled?: boolean })[];
  more: boolean;
  epoch: string;
  seq: number;
}
