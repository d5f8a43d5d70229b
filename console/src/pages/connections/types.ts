// What the verb connections tells of a connection.

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
  behind?: { channel: string; messages: number }[];
}

export interface ConnectionsPage {
  items: Connection[];
  next?: string;
}
