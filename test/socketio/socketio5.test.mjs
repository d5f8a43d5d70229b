// Socket.IO 5 over Engine.IO 4, by hand, against the small server of the
// protocol's own texts: pings every 300 ms, timeout 200 ms, a namespace joined within 1 s.

import assert from "node:assert/strict";
import { checks } from "./check.mjs";
import { join, peer, serves } from "./member.mjs";
import { failure, neverOpens, sleep } from "./wire.mjs";

const check = checks(import.meta.filename);

// --- Engine.IO on this path

check("polling: the handshake answers with the open packet", async () => {
  const { sid, upgrades, pingInterval, pingTimeout, maxPayload, ...rest } = await peer.handshake();
  assert.equal(typeof sid, "string");
  assert.deepEqual(upgrades, ["websocket"]);
  assert.deepEqual([pingInterval, pingTimeout, maxPayload], [300, 200, 1_000_000]);
  assert.deepEqual(rest, {});
});

check("polling: a bad EIO is refused", async () => {
  await failure(await peer.get({ EIO: "abc" }), 5, "Unsupported protocol version");
});

check("polling: a bad transport is refused", async () => {
  await failure(await peer.get({ transport: "abc" }), 0, "Transport unknown");
});

check("polling: a bad method is refused", async () => {
  await failure(await peer.get({}, { method: "POST" }), 2, "Bad handshake method");
});

check("websocket: the first frame is the open packet", async () => {
  const line = await peer.websocket();
  const { sid, upgrades, pingInterval, pingTimeout, maxPayload, ...rest } = line.session;
  assert.equal(typeof sid, "string");
  assert.deepEqual(upgrades, []);
  assert.deepEqual([pingInterval, pingTimeout, maxPayload], [300, 200, 1_000_000]);
  assert.deepEqual(rest, {});
  await line.end();
});

check("websocket: a bad EIO is refused", async () => {
  await neverOpens(peer.line({ EIO: "abc" }));
});

check("websocket: a bad transport is refused", async () => {
  await neverOpens(peer.line({ transport: "abc" }));
});

check("heartbeat, polling: three rounds", async () => {
  const session = await peer.open();
  await session.send("40");
  assert.match(await session.text(), /^40\{"sid":"[^"]+"\}(\x1e42\["auth",\{\}\])?$/);
  for (let pings = 0; pings < 3;) {
    for (const packet of (await session.text()).split("\x1e")) {
      if (packet === "2") {
        pings++;
        await session.send("3");
      } else {
        assert.equal(packet, '42["auth",{}]');
      }
    }
  }
  await session.close();
});

check("heartbeat, websocket: three rounds", async () => {
  const line = await join();
  for (let i = 0; i < 3; i++) {
    assert.equal(await line.next(), "2");
    line.send("3");
  }
  await line.end();
});

check("heartbeat, polling: 500 ms after the handshake without a pong the session is gone", async () => {
  const session = await peer.open();
  await sleep(500);
  await session.gone();
});

check("heartbeat, websocket: without a pong the socket is closed", async () => {
  const line = await peer.websocket();
  await line.closed(1000);
});

check("close, polling: a close packet frees the held GET and ends the session", async () => {
  const session = await peer.open();
  const [poll] = await Promise.all([session.poll(), session.post("1")]);
  assert.equal(poll.status, 200);
  assert.equal(await poll.text(), "6");
  await session.gone();
});

check("close, websocket: a close packet closes the socket", async () => {
  const line = await join();
  line.send("1");
  await line.closed();
});

check("upgrade: a session moves to a websocket", async () => {
  const session = await peer.open();
  await session.send("40");
  assert.equal((await session.collect(2)).length, 2);
  const line = await upgrade(session);
  await serves(line);
});

check("upgrade: polling requests of the session are refused afterwards", async () => {
  const session = await peer.open();
  const line = await upgrade(session);
  line.send("40");
  await line.message();
  await failure(await session.poll(), 3, "Bad request");
  await line.end();
});

check("upgrade: another websocket for the session is closed, the first lives on", async () => {
  const session = await peer.open();
  const line = await upgrade(session);
  line.send("40");
  await line.message();
  await line.message();
  const second = peer.line({ sid: session.sid });
  await second.opened;
  await second.closed();
  await serves(line);
});

async function upgrade(session) {
  const line = peer.line({ sid: session.sid });
  await line.opened;
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  line.send("5");
  return line;
}

// --- connect

check("connect: to the main namespace; the reply holds sid alone, and comes before any event", async () => {
  const line = await peer.websocket();
  line.send("40");
  const reply = await line.message();
  assert.ok(reply.startsWith("40{"), reply);
  const content = JSON.parse(reply.slice(2));
  assert.deepEqual(Object.keys(content), ["sid"]);
  assert.equal(typeof content.sid, "string");
  assert.notEqual(content.sid, line.session.sid, "the public id must not give the secret one away");
  assert.equal(await line.message(), '42["auth",{}]');
  await line.end();
});

check("connect: to the main namespace with a payload", async () => {
  const line = await peer.websocket();
  line.send('40{"token":"123"}');
  assert.match(await line.message(), /^40\{"sid":"[^"]+"\}$/);
  assert.equal(await line.message(), '42["auth",{"token":"123"}]');
  await line.end();
});

for (const packet of ["40/custom,", "40/custom"]) {
  check(`connect: to another namespace by "${packet}"`, async () => {
    const line = await peer.websocket();
    line.send(packet);
    assert.match(await line.message(), /^40\/custom,\{"sid":"[^"]+"\}$/);
    assert.equal(await line.message(), '42/custom,["auth",{}]');
    await line.end();
  });
}

check("connect: to another namespace with a payload", async () => {
  const line = await peer.websocket();
  line.send('40/custom,{"token":"abc"}');
  assert.match(await line.message(), /^40\/custom,\{"sid":"[^"]+"\}$/);
  assert.equal(await line.message(), '42/custom,["auth",{"token":"abc"}]');
  await line.end();
});

check("connect: an unknown namespace is refused by name, and the connection stays", async () => {
  const line = await peer.websocket();
  line.send("40/random");
  assert.equal(await line.message(), '44/random,{"message":"Invalid namespace"}');
  line.send("40");
  assert.match(await line.message(), /^40\{"sid":"[^"]+"\}$/);
  assert.equal(await line.message(), '42["auth",{}]');
  await serves(line);
});

check("connect: each namespace has its own public id", async () => {
  const line = await peer.websocket();
  line.send("40");
  const one = JSON.parse((await line.message()).slice(2)).sid;
  await line.message();
  line.send("40/custom,");
  const two = JSON.parse((await line.message()).slice("40/custom,".length)).sid;
  assert.notEqual(one, two);
  assert.ok(![one, two].includes(line.session.sid));
  await line.end();
});

check("connect: only what is asked for is joined", async () => {
  const line = await peer.websocket();
  await line.silent(150);
  line.send("40/custom,");
  await line.message();
  await line.message();
  await line.silent(100);
  await line.end();
});

check("connect: a first packet that cannot be read closes the connection", async () => {
  const line = await peer.websocket();
  line.send("4abc");
  await line.closed();
});

check("connect: who joins no namespace within 1 s is closed", async () => {
  const line = await peer.websocket();
  const start = Date.now();
  await assert.rejects(line.message(2500), /closed/);
  const lived = Date.now() - start;
  assert.ok(lived > 850 && lived < 1700, `it lived for ${lived} ms`);
  await line.closed();
});

check("connect: who has joined, and left, is not closed after 1 s", async () => {
  const line = await join();
  line.send("41");
  await line.silent(1300);
  await line.end();
});

check("connect: who asked only for an unknown namespace is closed after 1 s", async () => {
  const line = await peer.websocket();
  line.send("40/random,");
  assert.equal(await line.message(), '44/random,{"message":"Invalid namespace"}');
  await assert.rejects(line.message(2500), /closed/);
});

check("connect, polling: the reply and the first event come by poll", async () => {
  const session = await peer.open();
  await session.send('40/custom,{"a":1}');
  const [reply, event] = await session.collect(2);
  assert.match(reply, /^40\/custom,\{"sid":"[^"]+"\}$/);
  assert.equal(event, '42/custom,["auth",{"a":1}]');
  await session.close();
});

check("connect: a second one to the same namespace closes the connection", async () => {
  const line = await join();
  line.send("40");
  await line.closed(450);
});

check("connect: a connect error from a client closes the connection", async () => {
  const line = await join();
  line.send('44{"message":"no"}');
  await line.closed(450);
});

for (const packet of ['42["message",1]', '42/custom,["message",1]', "431[]", "41", "41/custom,"]) {
  check(`connect: "${packet}" for a namespace that is not joined closes the connection`, async () => {
    const line = await peer.websocket();
    line.send(packet);
    await line.closed(250);
  });
}

for (const payload of ["[]", "-1", '"x"', "null", "{", "{}{}", "true"]) {
  check(`connect: a payload ${payload} is no object and closes the connection`, async () => {
    const line = await peer.websocket();
    line.send(`40${payload}`);
    await line.closed(250);
  });
}

// --- disconnect

check("disconnect: from the main namespace; no reply, the other one goes on", async () => {
  const line = await join("/", "/custom");
  line.send("41");
  assert.equal(await line.next(), "2");
  line.send("3");
  line.send("41/custom,");
  assert.equal(await line.next(), "2");
  await line.end();
});

for (const packet of ["41/custom,", "41/custom"]) {
  check(`disconnect: by "${packet}"; no reply, the main namespace goes on`, async () => {
    const line = await join("/", "/custom");
    line.send(packet);
    assert.equal(await line.next(), "2");
    line.send("3");
    await serves(line);
  });
}

check("disconnect: what was left can be joined again, under a new id", async () => {
  const line = await peer.websocket();
  line.send("40");
  const first = await line.message();
  await line.message();
  line.send("41");
  await sleep(30);
  line.send("40");
  const second = await line.message();
  assert.match(second, /^40\{"sid":"[^"]+"\}$/);
  assert.notEqual(second, first);
  assert.equal(await line.message(), '42["auth",{}]');
  await serves(line);
});

check("disconnect: leaving and joining again fit into one body", async () => {
  const session = await peer.open();
  await session.send("40");
  await session.collect(2);
  const res = await session.post("41\x1e40");
  await res.text();
  const poll = await session.poll();
  assert.equal(poll.status, 200);
  assert.match(await poll.text(), /^40\{"sid":"[^"]+"\}/);
  await session.close();
});

check("disconnect: a second time closes the connection", async () => {
  const line = await join();
  line.send("41");
  await sleep(30);
  line.send("41");
  await line.closed(450);
});

// --- events and acks

check("event: text comes back as it was written", async () => {
  const line = await join();
  line.send('42["message",1,"2",{"3":[true]}]');
  assert.equal(await line.message(), '42["message-back",1,"2",{"3":[true]}]');
  await line.end();
});

check("event, polling: text comes back as it was written", async () => {
  const session = await peer.open();
  await session.send("40");
  await session.collect(2);
  await session.send('42["message",1,"2",{"3":[true]}]');
  assert.deepEqual(await session.collect(1), ['42["message-back",1,"2",{"3":[true]}]']);
  await session.close();
});

check("event: no arguments, null, false and nesting come back", async () => {
  const line = await join();
  for (const args of ["", ",null", ",false,0,\"\"", ",[[[[]]]],{\"a\":{\"b\":{}}}"]) {
    line.send(`42["message"${args}]`);
    assert.equal(await line.message(), `42["message-back"${args}]`);
  }
  await line.end();
});

check("event: < > & are not escaped, nor is anything beyond ASCII", async () => {
  const line = await join();
  const text = '"<a href=\'x\'>&</a> € 日本 😀"';
  line.send(`42["message",${text}]`);
  assert.equal(await line.message(), `42["message-back",${text}]`);
  await line.end();
});

check("event: U+2028, escapes and a lone surrogate mean the same afterwards", async () => {
  const line = await join();
  line.send('42["message","\u2028 \\u2029 \\n \\" \\\\ \\u0000 \\/"]');
  assert.deepEqual(JSON.parse((await line.message()).slice(2)), ["message-back", "\u2028 \u2029 \n \" \\ \0 /"]);
  await line.end();
});

check("event: integers beyond 2^53 keep their digits", async () => {
  const line = await join();
  line.send('42["message",12345678901234567890,9007199254740993]');
  assert.equal(await line.message(), '42["message-back",12345678901234567890,9007199254740993]');
  await line.end();
});

check("event: the order of keys is kept", async () => {
  const line = await join();
  line.send('42["message",{"z":1,"a":2,"m":{"y":1,"b":2}}]');
  assert.equal(await line.message(), '42["message-back",{"z":1,"a":2,"m":{"y":1,"b":2}}]');
  await line.end();
});

check("event: unknown names, and names that are numbers, are ignored", async () => {
  const line = await join();
  line.send('42["nobody-listens",1]');
  line.send("42[7,1]");
  await serves(line);
});

check("event: an ack id that nobody answers does no harm", async () => {
  const line = await join();
  line.send('425["nobody-listens",1]');
  await serves(line);
});

check("event: a thousand of them keep their order", async () => {
  const line = await join();
  for (let i = 0; i < 1000; i++) line.send(`42["message",${i}]`);
  for (let i = 0; i < 1000; i++) assert.equal(await line.message(), `42["message-back",${i}]`);
  await line.end();
});

check("binary event: the buffers follow, in their order", async () => {
  const line = await join();
  line.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  line.send(Buffer.from([1, 2, 3]));
  line.send(Buffer.from([4, 5, 6]));
  assert.equal(await line.message(), '452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  assert.deepEqual(await line.message(), Buffer.from([1, 2, 3]));
  assert.deepEqual(await line.message(), Buffer.from([4, 5, 6]));
  await line.end();
});

check("binary event: buffers nested in objects and lists, used twice or out of order, mean the same afterwards", async () => {
  const line = await join();
  line.send('452-["message",{"a":[{"_placeholder":true,"num":1}]},"x",{"_placeholder":true,"num":0}]');
  line.send(Buffer.from("zero"));
  line.send(Buffer.from("one"));
  const reply = await line.message();
  assert.ok(reply.startsWith('452-["message-back",'), reply);
  const buffers = [await line.message(), await line.message()];
  const [, object, text, last] = JSON.parse(reply.slice(4));
  assert.equal(text, "x");
  assert.equal(buffers[object.a[0].num].toString(), "one");
  assert.equal(buffers[last.num].toString(), "zero");
  await line.end();
});

check("binary event, polling: the buffers may come in a later body, and go out as base64", async () => {
  const session = await peer.open();
  await session.send("40");
  await session.collect(2);
  await session.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "bAQID");
  await session.send("bBAUG");
  assert.deepEqual(await session.collect(3), ['452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "bAQID", "bBAUG"]);
  await session.close();
});

check("binary event: an empty buffer is a buffer", async () => {
  const line = await join();
  line.send('451-["message",{"_placeholder":true,"num":0}]');
  line.send(Buffer.alloc(0));
  assert.equal(await line.message(), '451-["message-back",{"_placeholder":true,"num":0}]');
  assert.deepEqual(await line.message(), Buffer.alloc(0));
  await line.end();
});

// Releases of the reference differ: delivered, or refused. Only half of each would be wrong.
check("binary event: a count of zero is refused, or a whole packet after which nothing is waited for", async () => {
  const line = await join();
  line.send('450-["message","none"]');
  const reply = await Promise.race([line.message(), line.closed().then(() => "closed")]).catch(() => "closed");
  if (reply === "closed") return;
  assert.equal(reply, '42["message-back","none"]');
  await serves(line);
});

check("binary event: a buffer that no placeholder names is accepted", async () => {
  const line = await join();
  line.send('451-["message","x"]');
  line.send(Buffer.from([1]));
  assert.equal(await line.message(), '42["message-back","x"]');
  await serves(line);
});

check("binary event: heartbeats may come between the buffers", async () => {
  const line = await join();
  line.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  line.send(Buffer.from([1]));
  assert.equal(await line.next(), "2");
  line.send("3");
  line.send(Buffer.from([2]));
  assert.match(await line.message(), /^452-/);
  assert.deepEqual(await line.message(), Buffer.from([1]));
  assert.deepEqual(await line.message(), Buffer.from([2]));
  await line.end();
});

check("ack: answered once, under the id of the sender", async () => {
  const line = await join();
  line.send('42456["message-with-ack",1,"2",{"3":[false]}]');
  assert.equal(await line.message(), '43456[1,"2",{"3":[false]}]');
  line.send('420["message-with-ack"]');
  assert.equal(await line.message(), "430[]");
  await line.silent(50);
  await line.end();
});

check("ack: with buffers", async () => {
  const line = await join();
  line.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  line.send(Buffer.from([1, 2, 3]));
  line.send(Buffer.from([4, 5, 6]));
  assert.equal(await line.message(), '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  assert.deepEqual(await line.message(), Buffer.from([1, 2, 3]));
  assert.deepEqual(await line.message(), Buffer.from([4, 5, 6]));
  await line.end();
});

check("ack: one for an id that was never asked for is ignored, as text and as binary", async () => {
  const line = await join();
  line.send("431[]");
  line.send('43999999["x"]');
  line.send('461-7[{"_placeholder":true,"num":0}]');
  line.send(Buffer.from([1]));
  await serves(line);
});
