// The client of Skein.

import type { Options } from "./options.js";
import { Skein } from "./skein.js";

/**
 * Connects. The address is the server's, `https://host:8000`, or a path on it;
 * without one it is where the page came from.
 */
export function connect(url?: string | URL | Options, options: Options = {}): Skein {
  const given = typeof url === "string" || url instanceof URL;
  const base = new URL(given ? url : "/", globalThis.location?.origin);
  base.protocol = base.protocol.replace("ws", "http");
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return new Skein(base, given ? options : { ...url });
}

export { SkeinError, type ErrorCode } from "./error.js";
export { path, type Op } from "./ops.js";
export type { Channel, ChannelEvents, ChannelOptions } from "./channel.js";
export type { Change, Document, DocumentEvents } from "./document.js";
export type { Emitter } from "./emitter.js";
export type {
  Crowd, Dropped, Edit, Events, Frame, From, Gap, Held, History, InboxHead, InboxMessage, InboxPage, InboxQuery, InboxState, Kind, Mark,
  Message, Notice, Opened, Published, PublishOptions, Recall, Subscribed, Visit, Welcome,
} from "./frames.js";
export type { Handle } from "./handle.js";
export type { Inbox, InboxEvents } from "./inbox.js";
export type { Options, Transport } from "./options.js";
export type { Member, Presence, PresenceEvents } from "./presence.js";
export type { Handler, Skein, SkeinEvents, State, StateChange } from "./skein.js";
