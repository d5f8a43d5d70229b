// A member of namespaces of the suite server, by hand, on a websocket.

import assert from "node:assert/strict";
import { Peer, target } from "./wire.mjs";

export const peer = new Peer(target("TARGET_SUITE"), "/socket.io/", 4);

// join connects to namespaces on a fresh websocket, past what the server says to a newcomer.
export async function join(...namespaces) {
  const line = await peer.websocket();
  for (const nsp of namespaces.length > 0 ? namespaces : ["/"]) {
    const prefix = nsp === "/" ? "" : `${nsp},`;
    line.send(`40${prefix}`);
    const reply = await line.message();
    assert.ok(reply.startsWith(`40${prefix}{`), reply);
    assert.equal(await line.message(), `42${prefix}["auth",{}]`);
  }
  return line;
}

// serves passes when the line still does its work on the main namespace.
export async function serves(line) {
  line.send('42["message","still here"]');
  assert.equal(await line.message(), '42["message-back","still here"]');
  await line.end();
}
