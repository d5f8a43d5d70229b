// The msgpack parser by hand: every Socket.IO packet is one binary message.
// The server behind it also has old clients switched off.

import assert from "node:assert/strict";
import notepack from "notepack.io";
import { checks } from "./check.mjs";
import { Peer, failure, neverOpens, sleep, target } from "./wire.mjs";

const check = checks(import.meta.filename);
const base = target("TARGET_MSGPACK");
const peer = new Peer(base, "/socket.io/", 4);
const { encode, decode } = notepack;

// What the 4.x client sends as CONNECT without auth: {"type":0,"data":undefined,"nsp":"/","options":{"compress":true}},
// with undefined as the extension of one byte and type 0.
const connect = Buffer.concat([
  Buffer.from([0x84]),
  encode("type"), encode(0),
  encode("data"), Buffer.from([0xd4, 0x00, 0x00]),
  encode("options"), encode({ compress: true }),
  encode("nsp"), encode("/"),
]);

async function packet(line) {
  const frame = await line.message();
  assert.ok(Buffer.isBuffer(frame), `a binary message was due: ${frame}`);
  return decode(frame);
}

async function join(first = connect) {
  const line = await peer.websocket();
  line.send(first);
  const reply = await packet(line);
  assert.equal(reply.type, 0);
  assert.equal(reply.nsp, "/");
  // The reference spells an undefined pid out.
  assert.deepEqual(Object.keys(reply.data).filter((key) => reply.data[key] !== undefined), ["sid"]);
  const greeting = await packet(line);
  assert.deepEqual([greeting.type, greeting.nsp, greeting.data], [2, "/", ["welcome", { id: reply.data.sid, recovered: false }]]);
  return line;
}

check("a connect whose data is undefined, as the client sends it, is one without auth", async () => {
  await (await join()).end();
});

check("a connect without data at all, keys in another order, is one too", async () => {
  await (await join(encode({ nsp: "/", type: 0 }))).end();
});

check("another namespace is joined by name", async () => {
  const line = await join();
  line.send(encode({ type: 0, nsp: "/chat", data: { a: 1 } }));
  const reply = await packet(line);
  assert.deepEqual([reply.type, reply.nsp], [0, "/chat"]);
  await line.end();
});

check("refusals: unknown namespace, and a middleware's with data", async () => {
  const line = await join();
  line.send(encode({ type: 0, nsp: "/nowhere" }));
  const unknown = await packet(line);
  assert.deepEqual([unknown.type, unknown.nsp, unknown.data], [4, "/nowhere", { message: "Invalid namespace" }]);
  line.send(encode({ type: 0, nsp: "/secret", data: { token: "bad" } }));
  const refused = await packet(line);
  assert.deepEqual([refused.type, refused.nsp, refused.data], [4, "/secret", { message: "not authorized", data: { code: 4401 } }]);
  line.send(encode({ type: 0, nsp: "/secret", data: { token: "good" } }));
  assert.equal((await packet(line)).type, 0);
  await line.end();
});

check("events and acks, buffers in place", async () => {
  const line = await join();
  const args = [1, "zwei €", null, true, 1.5, -7, { a: [Buffer.from([1, 2, 3])] }, 4294967296];
  line.send(encode({ type: 2, nsp: "/", data: ["echo", ...args] }));
  const back = await packet(line);
  assert.deepEqual([back.type, back.nsp, back.data, back.id], [2, "/", ["echo-back", ...args], undefined]);
  line.send(encode({ type: 2, nsp: "/", data: ["echo-ack", ...args], id: 17 }));
  const ack = await packet(line);
  assert.deepEqual([ack.type, ack.nsp, ack.data, ack.id], [3, "/", args, 17]);
  line.send(encode({ type: 2, nsp: "/", data: ["ask-me"] }));
  const question = await packet(line);
  assert.deepEqual(question.data, ["question", 41]);
  line.send(encode({ type: 3, nsp: "/", id: question.id, data: [42] }));
  assert.deepEqual((await packet(line)).data, ["answered", 42]);
  await line.end();
});

check("by polling the packets are base64", async () => {
  const session = await peer.open();
  await session.send("b" + connect.toString("base64"));
  const packets = (await session.collect(2)).map((p) => {
    assert.equal(p[0], "b");
    return decode(Buffer.from(p.slice(1), "base64"));
  });
  assert.deepEqual(packets.map((p) => p.type), [0, 2]);
  await session.close();
});

check("a disconnect has type and nsp alone", async () => {
  const line = await join();
  line.send(encode({ type: 0, nsp: "/chat" }));
  await packet(line);
  await packet(line);
  line.send(encode({ type: 1, nsp: "/chat" }));
  await sleep(30);
  line.send(encode({ type: 2, nsp: "/", data: ["echo", 1] }));
  const back = await packet(line);
  assert.deepEqual([back.nsp, back.data], ["/", ["echo-back", 1]]);
  await line.end();
});

for (const [what, frame] of [
  ["bytes that are no msgpack", Buffer.from([0xc1, 0xff])],
  ["a map cut short", encode({ type: 2, nsp: "/", data: ["echo", "x"] }).subarray(0, 12)],
  ["a list of a billion entries that are not there", Buffer.from([0xdd, 0x3b, 0x9a, 0xca, 0x00])],
  ["a string of gigabytes that is not there", Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff, 0x61])],
  ["no map", encode([2, "/", ["echo"]])],
  ["no bytes at all", Buffer.alloc(0)],
  ["an unknown type", encode({ type: 9, nsp: "/", data: ["echo"] })],
  ["a type that is a text", encode({ type: "2", nsp: "/", data: ["echo"] })],
  ["no namespace", encode({ type: 2, data: ["echo"] })],
  ["a namespace that is a number", encode({ type: 2, nsp: 1, data: ["echo"] })],
  ["an event that is no list", encode({ type: 2, nsp: "/", data: { a: 1 } })],
  ["an ack that is no list", encode({ type: 3, nsp: "/", id: 1, data: { a: 1 } })],
  ["an id that is a text", encode({ type: 2, nsp: "/", id: "x", data: ["echo-ack"] })],
]) {
  check(`bad packet: ${what} closes the connection`, async () => {
    const line = await join();
    line.send(frame);
    await line.closed(1000);
    await (await join()).end();
  });
}

check("lists nested ten thousand deep do no harm", async () => {
  const line = await join();
  const deep = Buffer.concat([Buffer.from([0x83]), encode("type"), encode(2), encode("nsp"), encode("/"), encode("data"), Buffer.from([0x92]), encode("nobody-listens"), Buffer.alloc(10_000, 0x91), Buffer.from([0x01])]);
  line.send(deep);
  await sleep(50);
  await line.end();
  await (await join()).end();
});

check("with old clients off Engine.IO 3 is refused with code 5", async () => {
  const old = new Peer(base, "/socket.io/", 3);
  await failure(await old.get(), 5, "Unsupported protocol version");
  await neverOpens(old.line());
});
