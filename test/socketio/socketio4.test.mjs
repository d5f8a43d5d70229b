// Socket.IO 4 over Engine.IO 3, by hand: what clients 1.x and 2.x say and expect.

import assert from "node:assert/strict";
import { checks } from "./check.mjs";
import { Peer, sleep, target } from "./wire.mjs";

const check = checks(import.meta.filename);
const base = target("TARGET_CONTRACT");
const peer = new Peer(base, "/socket.io/", 3);

// welcome checks the greeting of a namespace and gives the id in it.
function welcome(frame, prefix = "") {
  assert.ok(frame.startsWith(`42${prefix}["welcome",`), frame);
  const [, { id, recovered }] = JSON.parse(frame.slice(2 + prefix.length));
  assert.equal(recovered, false);
  return id;
}

async function join(params) {
  const line = await peer.websocket(params);
  assert.equal(await line.next(), "40");
  line.id = welcome(await line.next());
  return line;
}

check("websocket: the main namespace is joined unasked, and the reply holds nothing", async () => {
  const line = await peer.websocket();
  assert.equal(await line.next(), "40");
  assert.equal(welcome(await line.next()), line.session.sid, "an old client knows itself by this id");
  await line.end();
});

check("polling: the main namespace is joined unasked", async () => {
  const res = await peer.get({ b64: "1" });
  const packets = peer.unpack(await res.text());
  const session = await peer.open({ b64: "1" });
  const rest = packets.length > 1 ? packets.slice(1) : await session.collect(2);
  assert.equal(rest[0], "40");
  await session.close();
});

check("another namespace: the reply holds its bare name, the id is made of name and session", async () => {
  const line = await join();
  line.send("40/chat,");
  assert.equal(await line.next(), "40/chat,");
  assert.equal(welcome(await line.next(), "/chat,"), `/chat#${line.session.sid}`);
  await line.end();
});

check("another namespace: without a comma", async () => {
  const line = await join();
  line.send("40/chat");
  assert.equal(await line.next(), "40/chat,");
  welcome(await line.next(), "/chat,");
  await line.end();
});

check("a query behind the namespace is the auth, and is cut off in the reply", async () => {
  const line = await join();
  line.send("40/secret?token=good,");
  assert.equal(await line.next(), "40/secret,");
  welcome(await line.next(), "/secret,");
  line.send('42/secret,["echo",1]');
  assert.equal(await line.next(), '42/secret,["echo-back",1]');
  await line.end();
});

check("the query of the connection is looked at too", async () => {
  const line = await join({ token: "good" });
  line.send("40/secret,");
  assert.equal(await line.next(), "40/secret,");
  await line.end();
});

check("a refusal is an error packet that holds the data, and the connection stays", async () => {
  const line = await join();
  line.send("40/secret?token=bad,");
  assert.equal(await line.next(), '44/secret,{"code":4401}');
  line.send('42["echo",1]');
  assert.equal(await line.next(), '42["echo-back",1]');
  await line.end();
});

check("an unknown namespace is refused by an error packet, and the connection stays", async () => {
  const line = await join();
  line.send("40/nowhere,");
  assert.match(await line.next(), /^44\/nowhere,("Invalid namespace"|\{"message":"Invalid namespace"\})$/);
  line.send('42["echo",1]');
  assert.equal(await line.next(), '42["echo-back",1]');
  await line.end();
});

check("events and acks are as in version 5", async () => {
  const line = await join();
  line.send('42["echo",1,"2",{"3":[true]}]');
  assert.equal(await line.next(), '42["echo-back",1,"2",{"3":[true]}]');
  line.send('427["echo-ack",1,"2"]');
  assert.equal(await line.next(), '437[1,"2"]');
  line.send('42["ask-me"]');
  const question = await line.next();
  const [, id] = /^42(\d+)\["question",41\]$/.exec(question) ?? assert.fail(question);
  line.send(`43${id}[42]`);
  assert.equal(await line.next(), '42["answered",42]');
  line.send(`43${id}[43]`);
  line.send('42["echo",2]');
  assert.equal(await line.next(), '42["echo-back",2]', "a second answer counts for nothing");
  await line.end();
});

check("buffers on a websocket carry the type byte", async () => {
  const line = await join();
  line.send('451-["echo",{"_placeholder":true,"num":0}]');
  line.send(Buffer.from([4, 1, 2, 3]));
  assert.equal(await line.next(), '451-["echo-back",{"_placeholder":true,"num":0}]');
  assert.deepEqual(await line.next(), Buffer.from([4, 1, 2, 3]));
  await line.end();
});

check("buffers by polling with b64 are base64 behind a b4", async () => {
  const session = await peer.open({ b64: "1" });
  assert.equal((await session.collect(2))[0], "40");
  await session.send('451-["echo",{"_placeholder":true,"num":0}]', "b4AQID");
  assert.deepEqual(await session.collect(2), ['451-["echo-back",{"_placeholder":true,"num":0}]', "b4AQID"]);
  await session.close();
});

check("leaving a namespace has no reply, and the main one goes on", async () => {
  const line = await join();
  line.send("40/chat,");
  await line.next();
  await line.next();
  line.send("41/chat,");
  await sleep(30);
  line.send('42["echo",1]');
  assert.equal(await line.next(), '42["echo-back",1]');
  await line.end();
});

check("the server's disconnect is a packet, and the connection stays for the others", async () => {
  const line = await join();
  line.send("40/chat,");
  await line.next();
  await line.next();
  line.send('42/chat,["kick"]');
  assert.equal(await line.next(), "41/chat,");
  line.send('42["echo",1]');
  assert.equal(await line.next(), '42["echo-back",1]');
  await line.end();
});

for (const packet of ["4abc", "42{}", '42["connect"]', '451-["echo",{"_placeholder":true,"num":3}]']) {
  check(`bad packet: "${packet}" closes the connection`, async () => {
    const line = await join();
    line.send(packet);
    if (packet.startsWith("45")) line.send(Buffer.from([4, 1]));
    await line.closed(450);
  });
}

check("rooms and broadcast reach old and new clients alike", async () => {
  const line = await join();
  const fresh = new Peer(base, "/socket.io/", 4);
  const other = await fresh.websocket();
  other.send("40");
  await other.message();
  await other.message();
  line.send('420["join","mixed"]');
  assert.equal(await line.next(), '430["ok"]');
  other.send('42["say-room","mixed",{"a":"€"}]');
  assert.equal(await line.next(), '42["said",{"a":"€"}]');
  other.send('420["join","mixed"]');
  assert.equal(await other.message(), '430["ok"]');
  line.send('42["say-room","mixed","back"]');
  assert.equal(await other.message(), '42["said","back"]');
  await Promise.all([line.end(), other.end()]);
});
