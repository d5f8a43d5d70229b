// Connection state recovery by hand: what is missed while a transport is gone comes later, once.

import assert from "node:assert/strict";
import { checks } from "./check.mjs";
import { Peer, sleep, target } from "./wire.mjs";

const check = checks(import.meta.filename);
const base = target("TARGET_RECOVERY");
const peer = new Peer(base, "/socket.io/", 4);

// event splits an event into its name, arguments and the offset at the end, if
// there is one. No argument here is a text in last place but the offset.
function event(frame, prefix = "") {
  assert.ok(frame.startsWith(`42${prefix}[`), frame);
  const [name, ...args] = JSON.parse(frame.slice(2 + prefix.length));
  const offset = typeof args.at(-1) === "string" ? args.pop() : undefined;
  return { name, args, offset };
}

// connect gives line, sid, pid, and the events that came up to the welcome. `auth` may hold pid and offset.
async function connect(auth, nsp = "") {
  const line = await peer.websocket();
  line.send(`40${nsp}${auth ? JSON.stringify(auth) : ""}`);
  const events = [];
  let reply;
  while (!reply || !events.some(({ name }) => name === "welcome")) {
    const frame = await line.message();
    if (frame.startsWith(`40${nsp}`)) reply = JSON.parse(frame.slice(2 + nsp.length));
    else events.push(event(frame, nsp));
  }
  const { args: [welcome], offset } = events.find(({ name }) => name === "welcome");
  return { line, ...reply, missed: events.filter(({ name }) => name !== "welcome"), welcome, offset };
}

// join connects and makes sure of an offset, by a broadcast to all.
async function join(nsp = "") {
  const one = await connect(undefined, nsp);
  const mark = { mark: Math.random() };
  one.line.send(`42${nsp}${JSON.stringify(["say-all", mark])}`);
  for (;;) {
    const { name, args, offset } = event(await one.line.message(), nsp);
    if (name !== "said" || args[0]?.mark !== mark.mark) continue;
    assert.equal(typeof offset, "string", "a broadcast carries no offset");
    return { ...one, offset };
  }
}

// missed waits for n events that were missed, whether they came before the welcome or after it.
async function missed(one, n, nsp = "") {
  const got = [...one.missed];
  while (got.length < n) got.push(event(await one.line.message(), nsp));
  return got.map(({ args }) => args[0]);
}

async function say(line, verb, ...args) {
  line.send(`42${JSON.stringify([verb, ...args])}`);
}

async function room(line, name) {
  line.send(`4290["join",${JSON.stringify(name)}]`);
  assert.equal(await line.message(), '4390["ok"]');
}

// caughtUp passes when all that the line sent has been served.
async function caughtUp(line) {
  line.send('4291["echo-ack",1]');
  for (;;) if ((await line.message()).startsWith("4391")) return;
}

const claim = ({ pid, offset }) => ({ pid, offset });

check("the reply to a connect holds a secret pid besides the sid", async () => {
  const { line, sid, pid, welcome } = await connect();
  assert.equal(typeof pid, "string");
  assert.ok(pid.length >= 20);
  assert.notEqual(pid, sid);
  assert.notEqual(pid, line.session.sid);
  assert.deepEqual(welcome, { id: sid, recovered: false });
  await line.end();
});

check("offsets differ from one broadcast to the next", async () => {
  const { line, offset } = await join();
  const seen = new Set([offset]);
  for (let i = 0; i < 5; i++) {
    await say(line, "say-all", i);
    seen.add(event(await line.message()).offset);
  }
  assert.equal(seen.size, 6);
  assert.ok(!seen.has(undefined));
  await line.end();
});

check("an event to one socket alone carries an offset too", async () => {
  const { line, offset } = await connect();
  assert.equal(typeof offset, "string", "the welcome has none");
  await say(line, "echo", 1);
  const echo = event(await line.message());
  assert.equal(typeof echo.offset, "string", "the answer has none");
  assert.notEqual(echo.offset, offset);
  await line.end();
});

check("who has got nothing but the welcome can be recovered", async () => {
  const other = await join();
  const away = await connect();
  await away.line.end();
  await sleep(50);
  await say(other.line, "say-others", 1);
  await caughtUp(other.line);
  const back = await connect(away.offset === undefined ? { pid: away.pid } : claim(away));
  assert.equal(back.sid, away.sid);
  assert.deepEqual(await missed(back, 1), [1]);
  await Promise.all([other.line.end(), back.line.end()]);
});

check("what was missed comes in order and once, with the old sid and pid, in the old rooms", async () => {
  const other = await join();
  const away = await join();
  await room(away.line, "recovered-room");
  await away.line.end();
  await sleep(50);
  for (let i = 0; i < 5; i++) await say(other.line, "say-others", i);
  await say(other.line, "say-room", "recovered-room", 5);
  await say(other.line, "say-room", "somewhere-else", -1);
  await caughtUp(other.line);
  const back = await connect(claim(away));
  assert.equal(back.sid, away.sid);
  assert.equal(back.pid, away.pid);
  assert.deepEqual(back.welcome, { id: away.sid, recovered: true });
  assert.deepEqual(await missed(back, 6), [0, 1, 2, 3, 4, 5]);
  await say(other.line, "say-room", "recovered-room", 6);
  assert.deepEqual(event(await back.line.message()).args, [6]);
  await Promise.all([other.line.end(), back.line.end()]);
});

check("only what came after the offset is sent again", async () => {
  const other = await join();
  const away = await join();
  for (let i = 0; i < 4; i++) await say(other.line, "say-others", i);
  const got = [];
  for (let i = 0; i < 4; i++) got.push(event(await away.line.message()));
  await away.line.end();
  await sleep(50);
  const back = await connect({ pid: away.pid, offset: got[1].offset });
  assert.equal(back.sid, away.sid);
  assert.deepEqual(await missed(back, 2), [2, 3]);
  await back.line.silent(100);
  await Promise.all([other.line.end(), back.line.end()]);
});

check("what it said itself to the others is not sent to it", async () => {
  const away = await join();
  await say(away.line, "say-others", "mine");
  await caughtUp(away.line);
  await away.line.end();
  await sleep(50);
  const back = await connect(claim(away));
  assert.equal(back.sid, away.sid);
  assert.deepEqual(back.missed, []);
  await back.line.silent(100);
  await back.line.end();
});

check("a namespace other than the main one is recovered on its own", async () => {
  const other = await join("/chat,");
  const away = await join("/chat,");
  await away.line.end();
  await sleep(50);
  other.line.send('42/chat,["say-others",1]');
  other.line.send('42/chat,91["echo-ack"]');
  while (!(await other.line.message()).startsWith("43/chat,91"));
  const back = await connect(claim(away), "/chat,");
  assert.equal(back.sid, away.sid);
  assert.deepEqual(await missed(back, 1, "/chat,"), [1]);
  await Promise.all([other.line.end(), back.line.end()]);
});

check("buffers that were missed come again", async () => {
  const other = await join();
  const away = await join();
  await away.line.end();
  await sleep(50);
  other.line.send('451-["say-others",{"_placeholder":true,"num":0}]');
  other.line.send(Buffer.from([1, 2, 3]));
  await caughtUp(other.line);
  const line = await peer.websocket();
  line.send(`40${JSON.stringify(claim(away))}`);
  const frames = [];
  while (frames.length < 4) frames.push(await line.message());
  const at = frames.findIndex((frame) => typeof frame === "string" && frame.startsWith("451-"));
  assert.ok(at >= 0, frames.join(" "));
  assert.deepEqual(frames[at + 1], Buffer.from([1, 2, 3]));
  await Promise.all([other.line.end(), line.end()]);
});

for (const [what, auth] of [
  ["an unknown pid", ({ offset }) => ({ pid: "unknown-unknown-unknown", offset })],
  ["an unknown offset", ({ pid }) => ({ pid, offset: "unknown" })],
  ["no offset", ({ pid }) => ({ pid })],
  ["a pid that is no string", ({ offset }) => ({ pid: { a: 1 }, offset })],
  ["an offset that is no string", ({ pid }) => ({ pid, offset: 7 })],
  ["the public sid in place of the pid", ({ sid, offset }) => ({ pid: sid, offset })],
]) {
  check(`${what} gives a session of its own, without an error`, async () => {
    const away = await join();
    await away.line.end();
    await sleep(50);
    const back = await connect(auth(away));
    assert.notEqual(back.sid, away.sid);
    assert.notEqual(back.pid, away.pid);
    assert.deepEqual(back.missed, []);
    assert.equal(back.welcome.recovered, false);
    await back.line.end();
  });
}

check("who left by a disconnect packet is not recovered", async () => {
  const away = await join();
  away.line.send("41");
  await sleep(30);
  await away.line.end();
  const back = await connect(claim(away));
  assert.notEqual(back.sid, away.sid);
  assert.equal(back.welcome.recovered, false);
  await back.line.end();
});

check("who was disconnected by the server is not recovered", async () => {
  const away = await join();
  await say(away.line, "kick");
  assert.equal(await away.line.message(), "41");
  await away.line.end();
  const back = await connect(claim(away));
  assert.notEqual(back.sid, away.sid);
  await back.line.end();
});

check("who was dropped by the server is recovered", async () => {
  const away = await join();
  await say(away.line, "drop");
  await away.line.closed();
  const back = await connect(claim(away));
  assert.equal(back.sid, away.sid);
  assert.equal(back.welcome.recovered, true);
  await back.line.end();
});

check("a session is recovered once: a second claim gets a session of its own", async () => {
  const away = await join();
  await away.line.end();
  await sleep(50);
  const one = await connect(claim(away));
  const two = await connect(claim(away));
  assert.equal(one.sid, away.sid);
  assert.notEqual(two.sid, away.sid, "two live sockets share an id");
  assert.equal(two.welcome.recovered, false);
  await Promise.all([one.line.end(), two.line.end()]);
});

check("a session that is still connected cannot be claimed", async () => {
  const here = await join();
  const thief = await connect(claim(here));
  assert.notEqual(thief.sid, here.sid);
  await Promise.all([here.line.end(), thief.line.end()]);
});

check("a pid stays the same over several recoveries", async () => {
  let last = await join();
  const { sid, pid, offset } = last;
  for (let i = 0; i < 3; i++) {
    await last.line.end();
    await sleep(50);
    last = await connect({ pid, offset });
    assert.equal(last.sid, sid);
    assert.equal(last.pid, pid);
  }
  await last.line.end();
});

check("an event that wants an ack has no offset, nor has an ack", async () => {
  const { line } = await connect();
  await say(line, "ask-me");
  assert.match(await line.message(), /^42\d+\["question",41\]$/);
  line.send('421["echo-ack","x"]');
  assert.equal(await line.message(), '431["x"]');
  await line.end();
});

check("a client of Engine.IO 3 sees neither pid nor offset", async () => {
  const line = await new Peer(base, "/socket.io/", 3).websocket();
  assert.equal(await line.next(), "40");
  const [, ...args] = JSON.parse((await line.next()).slice(2));
  assert.equal(args.length, 1, "the welcome has an offset");
  assert.equal(args[0].recovered, false);
  line.send('42["say-all",1]');
  assert.equal(await line.next(), '42["said",1]');
  await line.end();
});
