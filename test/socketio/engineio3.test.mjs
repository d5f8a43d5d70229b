// Engine.IO 3, which clients 1.x and 2.x speak, against an echo server with a
// ping interval of 300 ms and a timeout of 200 ms.

import assert from "node:assert/strict";
import { checks } from "./check.mjs";
import { Peer, failure, neverOpens, raw, rejects, sleep, target, within } from "./wire.mjs";

const check = checks(import.meta.filename);
const base = target("TARGET_SUITE");
const peer = new Peer(base, "/engine.io/", 3);

const octets = { "Content-Type": "application/octet-stream" };

// frame is one packet of a binary payload: kind, length in decimal digits of one byte each, FF, content.
function frame(kind, content) {
  const digits = [...String(content.length)].map(Number);
  return Buffer.concat([Buffer.from([kind, ...digits, 0xff]), content]);
}

const textFrame = (packet) => frame(0, Buffer.from(packet));
const binaryFrame = (...bytes) => frame(1, Buffer.from([4, ...bytes]));

// unframe reads a binary payload into packets: text as a string, binary as a Buffer without its type.
function unframe(body) {
  const packets = [];
  for (let at = 0; at < body.length;) {
    const kind = body[at];
    const mark = body.indexOf(0xff, at);
    assert.ok((kind === 0 || kind === 1) && mark > at + 1, `no binary frame at ${at}: ${body.subarray(at, at + 20).toString("hex")}`);
    const length = Number([...body.subarray(at + 1, mark)].join(""));
    const content = body.subarray(mark + 1, mark + 1 + length);
    assert.equal(content.length, length);
    if (kind === 1) assert.equal(content[0], 4, "a message's type is the byte 4");
    packets.push(kind === 0 ? content.toString() : content.subarray(1));
    at = mark + 1 + length;
  }
  return packets;
}

async function bytes(res) {
  assert.equal(res.status, 200);
  assert.equal(res.headers.get("content-type"), "application/octet-stream");
  return Buffer.from(await res.arrayBuffer());
}

// --- handshake

check("polling: the handshake answers with the open packet, its length in front", async () => {
  const res = await peer.get();
  const body = await res.text();
  assert.equal(res.status, 200);
  assert.match(res.headers.get("content-type"), /^text\/plain; charset=utf-8$/i);
  const colon = body.indexOf(":");
  assert.equal(Number(body.slice(0, colon)), body.length - colon - 1);
  assert.equal(body[colon + 1], "0");
  const { sid, upgrades, pingInterval, pingTimeout, maxPayload } = JSON.parse(body.slice(colon + 2));
  assert.equal(typeof sid, "string");
  assert.deepEqual(upgrades, ["websocket"]);
  assert.equal(pingInterval, 300);
  assert.equal(pingTimeout, 200);
  assert.ok(maxPayload === undefined || maxPayload === 1_000_000);
});

check("polling: transport \"abc\" is refused with code 0", async () => {
  await failure(await peer.get({ transport: "abc" }), 0, "Transport unknown");
});

check("polling: transport left out is refused with code 0", async () => {
  await failure(await peer.get({ transport: undefined }), 0, "Transport unknown");
});

check("polling: a handshake by POST is refused with code 2", async () => {
  await failure(await peer.get({}, { method: "POST" }), 2, "Bad handshake method");
});

check("polling: a handshake by PUT is refused with code 2", async () => {
  await failure(await peer.get({}, { method: "PUT" }), 2, "Bad handshake method");
});

check("polling: JSON-P is refused by 400", async () => {
  const res = await peer.get({ j: "0" });
  await res.text();
  assert.equal(res.status, 400);
});

check("websocket: the first frame is the open packet, and upgrades is an empty list", async () => {
  const line = await peer.websocket();
  assert.equal(typeof line.session.sid, "string");
  assert.deepEqual(line.session.upgrades, []);
  assert.equal(line.session.pingInterval, 300);
  assert.equal(line.session.pingTimeout, 200);
  await line.end();
});

check("websocket: transport \"abc\" and transport left out are refused", async () => {
  for (const transport of ["abc", undefined]) await neverOpens(peer.line({ transport }));
});

check("a session of version 3 does not take requests of version 4, nor the other way round", async () => {
  for (const [mine, other] of [[3, 4], [4, 3]]) {
    const { sid } = await new Peer(base, "/engine.io/", mine).handshake();
    await failure(await new Peer(base, "/engine.io/", other).get({ sid }), 3, "Bad request");
  }
});

// --- messages, polling

check("polling: one packet comes back", async () => {
  const session = await peer.open();
  const res = await session.post("6:4hello");
  assert.equal(res.status, 200);
  assert.equal(await res.text(), "ok");
  assert.equal(await session.text(), "6:4hello");
  await session.close();
});

check("polling: several packets come back in one body, in order", async () => {
  const session = await peer.open();
  const res = await session.post("6:4test16:4test26:4test3");
  assert.equal(await res.text(), "ok");
  assert.equal(await session.text(), "6:4test16:4test26:4test3");
  await session.close();
});

check("polling: lengths count UTF-16 code units, both ways", async () => {
  const session = await peer.open();
  const body = "6:4hello2:4€3:4😀4:4ü😀";
  const res = await session.post(body);
  assert.equal(await res.text(), "ok");
  assert.equal(await session.text(), body);
  await session.close();
});

check("polling: text that looks like prefixes is data", async () => {
  const session = await peer.open();
  const packets = ["412:4hello", "4:::", "43", "4\x1e4"];
  await session.send(...packets);
  assert.deepEqual(await session.collect(4), packets);
  await session.close();
});

check("polling with b64: text and binary mix as text", async () => {
  const session = await peer.open({ b64: "1" });
  const res = await session.post("6:4hello10:b4AQIDBA==");
  assert.equal(await res.text(), "ok");
  const poll = await session.poll();
  assert.match(poll.headers.get("content-type"), /^text\/plain/);
  assert.equal(await poll.text(), "6:4hello10:b4AQIDBA==");
  await session.close();
});

check("polling without b64: a payload that holds binary is binary as a whole", async () => {
  const session = await peer.open();
  const res = await session.post("6:4hello10:b4AQIDBA==");
  assert.equal(await res.text(), "ok");
  const body = await bytes(await session.poll());
  assert.equal(body.toString("hex"), Buffer.concat([textFrame("4hello"), binaryFrame(1, 2, 3, 4)]).toString("hex"));
  assert.equal(body.toString("hex"), "0006ff3468656c6c6f0105ff0401020304");
  await session.close();
});

check("polling without b64: a payload without binary stays text", async () => {
  const session = await peer.open();
  await session.send("4only text");
  const res = await session.poll();
  assert.match(res.headers.get("content-type"), /^text\/plain/);
  assert.equal(await res.text(), "10:4only text");
  await session.close();
});

check("polling: a binary POST body is read, lengths of several digits and non-ASCII text too", async () => {
  const session = await peer.open();
  const long = Array.from({ length: 300 }, (_, i) => i % 256);
  const payload = Buffer.concat([textFrame("4hello €😀"), binaryFrame(...long), binaryFrame(), textFrame("4end")]);
  const res = await session.post(payload, octets);
  assert.equal(res.status, 200);
  assert.equal(await res.text(), "ok");
  const packets = unframe(await bytes(await session.poll()));
  assert.deepEqual(packets, ["4hello €😀", Buffer.from(long), Buffer.alloc(0), "4end"]);
  await session.close();
});

check("polling with b64: what was posted as octets comes back as base64", async () => {
  const session = await peer.open({ b64: "1" });
  await (await session.post(Buffer.concat([textFrame("4hello"), binaryFrame(1, 2, 3, 4)]), octets)).text();
  assert.equal(await session.text(), "6:4hello10:b4AQIDBA==");
  await session.close();
});

// A client up to 1.3.5 in a browser reads no answer but octets, and is known by
// the form of its cache buster. In what it posts as text every byte of a packet's
// UTF-8 is a character of its own, and its prefix counts those.
check("polling with t=<13 digits>-<n>: every answer is binary, the handshake too, and posted text is UTF-8 twice over", async () => {
  const t = () => `${Date.now()}-${n++}`;
  let n = 0;
  const [open] = unframe(await bytes(await peer.get({ t: t() })));
  assert.equal(open[0], "0");
  const { sid } = JSON.parse(open.slice(1));
  const packets = ["4hello", "4€ é 😀"];
  const twice = packets.map((packet) => Buffer.from(packet).toString("latin1"));
  const sent = await fetch(peer.url({ t: t(), sid }), { method: "POST", body: peer.pack(...twice) });
  assert.equal(await sent.text(), "ok");
  assert.deepEqual(unframe(await bytes(await peer.get({ t: t(), sid }))), packets);
  const end = await fetch(peer.url({ t: t(), sid }), { method: "POST", body: "1:1" });
  await end.text();
});

const badBodies = [
  ["of an unknown type without a prefix", "abc"],
  ["that is empty", ""],
  ["with a prefix that is too long", "99:4hello"],
  ["with a prefix that is too short", "3:4hello"],
  ["with a prefix that is no number", "x:4hello"],
  ["with a negative prefix", "-6:4hello"],
  ["with a prefix and nothing else", "6:"],
  ["with a length of zero", "0:"],
  ["with a packet of an unknown type", "3:9ab"],
  ["with a prefix of 100,000 digits", "9".repeat(100_000) + ":4hello"],
  ["of octets cut short", frame(0, Buffer.from("4hello")).subarray(0, 5), octets],
  ["of octets with a length beyond reason", Buffer.from([0, ...Array(400).fill(9), 0xff, 0x34]), octets],
  ["of octets without an end of the length", Buffer.from([0, 1, 2, 3]), octets],
  ["of octets with a digit above nine", Buffer.from([0, 0x36, 0xff, 0x34, 0x68, 0x65, 0x6c, 0x6c, 0x6f]), octets],
  ["of octets with a kind that is neither 0 nor 1", Buffer.from([7, 6, 0xff, 0x34, 0x68, 0x65, 0x6c, 0x6c, 0x6f]), octets],
];

for (const [what, body, headers] of badBodies) {
  check(`polling: a POST ${what} closes the session`, async () => {
    const session = await peer.open();
    await rejects(session.post(body, headers), 200, 400);
    await session.gone();
  });
}

check("polling: a POST that cannot be read is answered by 400 or dropped", async () => {
  for (const [, body, headers] of badBodies) {
    const session = await peer.open();
    await rejects(session.post(body, headers), 400);
  }
});

check("polling: a second GET while one is held closes the session", async () => {
  const session = await peer.open();
  const first = session.poll();
  await sleep(5);
  const second = session.poll();
  const [one, two] = await Promise.all([first, second]);
  assert.equal(one.status, 200);
  assert.equal(await one.text(), "1:1");
  assert.ok([400, 500].includes(two.status), `${two.status}`);
  await two.text();
  await session.gone();
});

check("polling: a poll that the client gives up closes the session at once", async () => {
  const session = await peer.open();
  const control = new AbortController();
  const held = session.poll({ signal: control.signal });
  await sleep(5);
  control.abort();
  await assert.rejects(held, { name: "AbortError" });
  await session.gone();
});

check("polling: a POST without any Content-Type is text", async () => {
  const session = await peer.open();
  const url = new URL(session.url());
  const post = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 8\r\n\r\n6:4plain`);
  const answer = await post.answered();
  post.end();
  assert.equal(answer.status, 200);
  assert.equal(await session.text(), "6:4plain");
  await session.close();
});

// --- messages, websocket

check("websocket: a text message comes back", async () => {
  const line = await peer.websocket();
  line.send("4hello");
  assert.equal(await line.next(), "4hello");
  await line.end();
});

check("websocket: a binary message has its type byte in front", async () => {
  const line = await peer.websocket();
  line.send(Buffer.from([4, 1, 2, 3, 4]));
  assert.deepEqual(await line.next(), Buffer.from([4, 1, 2, 3, 4]));
  await line.end();
});

check("websocket with b64: a binary message travels as base64", async () => {
  const line = await peer.websocket({ b64: "1" });
  line.send("b4AQIDBA==");
  assert.equal(await line.next(), "b4AQIDBA==");
  await line.end();
});

for (const [what, content] of [["text of an unknown type", "abc"], ["empty text", ""], ["binary of an unknown type", Buffer.from([9, 1])], ["empty binary", Buffer.alloc(0)]]) {
  check(`websocket: ${what} closes the session`, async () => {
    const line = await peer.websocket();
    line.send(content);
    await line.closed(350);
  });
}

// --- heartbeat: here the client pings

check("heartbeat, polling: each ping is answered by a pong, three rounds", async () => {
  const session = await peer.open();
  for (let i = 0; i < 3; i++) {
    await sleep(200);
    await session.send("2");
    assert.equal(await session.text(), "1:3");
  }
  await session.close();
});

check("heartbeat, websocket: each ping is answered by a pong, three rounds", async () => {
  const line = await peer.websocket();
  for (let i = 0; i < 3; i++) {
    await sleep(200);
    line.send("2");
    assert.equal(await line.next(), "3");
  }
  await line.end();
});

check("heartbeat, websocket: a ping with data is answered, with or without it", async () => {
  const line = await peer.websocket();
  line.send("2abc");
  assert.match(await line.next(), /^3(abc)?$/);
  await line.end();
});

check("heartbeat: the server sends no pings", async () => {
  const line = await peer.websocket();
  const start = Date.now();
  while (Date.now() - start < 700) {
    await sleep(150);
    line.send("2");
    assert.equal(await line.next(), "3");
  }
  await line.end();
});

check("heartbeat, polling: 500 ms after the handshake without a ping the session is gone", async () => {
  const session = await peer.open();
  await sleep(500);
  await rejects(session.post("1:2"), 400);
  await session.gone();
});

check("heartbeat, websocket: without a ping the socket is closed after 500 ms", async () => {
  const line = await peer.websocket();
  const start = performance.now();
  await line.closed(1000);
  const lived = performance.now() - start;
  assert.ok(lived > 450 && lived < 900, `it lived for ${lived} ms`);
});

check("heartbeat, websocket: the timeout counts from the last ping", async () => {
  const line = await peer.websocket();
  await sleep(350);
  line.send("2");
  const start = performance.now();
  assert.equal(await line.next(), "3");
  await line.closed(1000);
  const lived = performance.now() - start;
  assert.ok(lived > 450 && lived < 900, `it lived for ${lived} ms after the ping`);
});

check("heartbeat, websocket: a pong from the client has the wrong direction and closes the session", async () => {
  const line = await peer.websocket();
  line.send("3");
  await line.closed(350);
});

// --- close

check("close, polling: a close packet frees the held GET with a noop and ends the session", async () => {
  const session = await peer.open();
  const [poll] = await Promise.all([session.poll(), session.post("1:1")]);
  assert.equal(poll.status, 200);
  assert.equal(await poll.text(), "1:6");
  await session.gone();
});

check("close, websocket: a close packet closes the socket", async () => {
  const line = await peer.websocket();
  line.send("1");
  await line.closed();
});

// --- upgrade

async function probe(session) {
  const line = peer.line({ sid: session.sid });
  await line.opened;
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  return line;
}

check("upgrade: probe, pong on the websocket, then messages go there", async () => {
  const session = await peer.open();
  const line = await probe(session);
  line.send("5");
  line.send("4hello");
  assert.equal(await line.next(), "4hello");
  await line.end();
});

check("upgrade: a held GET is freed with a noop", async () => {
  const session = await peer.open();
  const held = session.text();
  await sleep(20);
  const line = await probe(session);
  assert.equal(await within(250, held, "the held GET was not freed"), "1:6");
  const again = await within(250, session.text(), "the next GET hangs");
  assert.equal(again, "1:6");
  await line.end();
  await session.close();
});

check("upgrade: polling requests of the session are refused afterwards, the websocket lives on", async () => {
  const session = await peer.open();
  const line = await probe(session);
  line.send("5");
  line.send("4switched");
  assert.equal(await line.next(), "4switched");
  await failure(await session.poll(), 3, "Bad request");
  await rejects(session.post("6:4hello"), 400);
  line.send("4hello");
  assert.equal(await line.next(), "4hello");
  await line.end();
});

check("upgrade: another websocket for an upgraded session is opened and closed, the first lives on", async () => {
  const session = await peer.open();
  const line = await probe(session);
  line.send("5");
  line.send("4one");
  assert.equal(await line.next(), "4one");
  const second = peer.line({ sid: session.sid });
  await second.opened;
  await second.closed();
  line.send("4hello");
  assert.equal(await line.next(), "4hello");
  await line.end();
});

check("upgrade: what was queued comes on the websocket, binary with its type byte", async () => {
  const session = await peer.open();
  const line = await probe(session);
  await (await session.post("6:4hello10:b4AQIDBA==")).text();
  line.send("5");
  assert.equal(await line.next(), "4hello");
  assert.deepEqual(await line.next(), Buffer.from([4, 1, 2, 3, 4]));
  await line.end();
});
