// What a server on the open internet gets to see: bombs, half-sent packets,
// guesses, readers that do not read, pages of strangers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { checks } from "./check.mjs";
import { join, peer } from "./member.mjs";
import { Peer, failure, raw, rejects, sleep, target, until, within } from "./wire.mjs";

const check = checks(import.meta.filename);
const base = target("TARGET_SUITE");
const engine = new Peer(base, "/engine.io/", 4);
const old = new Peer(base, "/engine.io/", 3);
const megabyte = "x".repeat(1_000_000);

// --- bodies beyond measure

check("a POST that announces more than maxPayload gets 413 or is cut off before it is read", async () => {
  const session = await engine.open();
  const url = new URL(session.url());
  const post = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 900000000\r\n\r\n`);
  const chunk = Buffer.alloc(65_536, 0x34);
  let sent = 0;
  while (!post.socket.destroyed && post.text() === "" && sent < 64_000_000) {
    sent += chunk.length;
    if (!post.write(chunk)) await Promise.race([once(post.socket, "drain"), post.ended, sleep(50)]);
    await sleep(0);
  }
  assert.ok(sent < 64_000_000, "it reads on");
  const { status } = await post.answered();
  assert.ok([0, 413].includes(status), `${status}`);
  post.end();
  await engine.alive();
});

check("a chunked POST is measured while it is read: 413 or cut off", async () => {
  const session = await engine.open();
  const url = new URL(session.url());
  const post = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  const chunk = `10000\r\n${"4".repeat(65_536)}\r\n`;
  let sent = 0;
  while (!post.socket.destroyed && post.text() === "" && sent < 64_000_000) {
    sent += chunk.length;
    if (!post.write(chunk)) await Promise.race([once(post.socket, "drain"), post.ended, sleep(50)]);
    await sleep(0);
  }
  assert.ok(sent < 64_000_000, "it reads on");
  const { status } = await post.answered();
  assert.ok([0, 413].includes(status), `${status}`);
  post.end();
  await engine.alive();
});

check("one byte over maxPayload is too much", async () => {
  const session = await engine.open();
  await rejects(session.post("4" + megabyte), 413);
});

check("a body of half a million empty packets closes the session, and soon", async () => {
  const session = await engine.open();
  const start = Date.now();
  await rejects(session.post("\x1e".repeat(500_000)), 200, 400);
  await session.over();
  assert.ok(Date.now() - start < 1500, `it took ${Date.now() - start} ms`);
  await engine.alive();
});

check("a body of three hundred thousand noops does not stop the server", async () => {
  const session = await engine.open();
  const start = Date.now();
  await rejects(session.post("6" + "\x1e6".repeat(300_000)), 200, 400);
  assert.ok(Date.now() - start < 2500, `it took ${Date.now() - start} ms`);
  await engine.alive();
});

check("version 3: a body of many one-byte packets is read in good time", async () => {
  const session = await old.open();
  const start = Date.now();
  await rejects(session.post("1:6".repeat(300_000)), 200, 400);
  assert.ok(Date.now() - start < 2500, `it took ${Date.now() - start} ms`);
  await old.alive();
});

check("version 3: a prefix that promises gigabytes costs nothing", async () => {
  for (const body of ["999999999999:4a", "4294967297:4a", "9223372036854775808:4a", "1e9:4a"]) {
    const session = await old.open();
    await rejects(session.post(body), 200, 400);
    await session.over();
  }
  await old.alive();
});

check("a websocket frame that announces a terabyte is refused at its header", async () => {
  const line = await engine.websocket();
  // FIN, text, masked, a length of eight bytes.
  line.ws._socket.write(Buffer.from([0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]));
  const { code } = await line.closed();
  assert.ok([1009, 1006, 1002].includes(code), `${code}`);
  await engine.alive();
});

check("fragments that add up to more than maxPayload are refused", async () => {
  const line = await engine.websocket();
  line.ws.send("4" + "x".repeat(600_000), { fin: false });
  line.ws.send("x".repeat(600_000), { fin: false });
  assert.equal((await line.closed()).code, 1009);
});

check("text that is no UTF-8 closes the websocket", async () => {
  const line = await engine.websocket();
  line.ws._socket.write(Buffer.from([0x81, 0x83, 0, 0, 0, 0, 0x34, 0xc3, 0x28]));
  const { code } = await line.closed();
  assert.ok([1007, 1006].includes(code), `${code}`);
});

check("a frame without a mask closes the websocket", async () => {
  const line = await engine.websocket();
  line.ws._socket.write(Buffer.from([0x81, 2, 0x34, 0x61]));
  const { code } = await line.closed();
  assert.ok([1002, 1006].includes(code), `${code}`);
});

check("base64 that is none does no harm", async () => {
  const session = await engine.open();
  await rejects(session.post("b!!!!"), 200, 400);
  await engine.alive();
});

check("JSON of a hundred thousand brackets does no harm", async () => {
  const line = await join();
  line.send(`42["nobody-listens",${"[".repeat(100_000)}${"]".repeat(100_000)}]`);
  line.send(`42["nobody-listens",${"[".repeat(100_000)}`);
  await line.closed();
  const next = await join();
  next.send('42["message",1]');
  assert.equal(await next.message(), '42["message-back",1]');
  await next.end();
});

check("keys named after the innards of objects are data", async () => {
  const line = await join();
  line.send('42["message",{"__proto__":{"x":1},"constructor":1,"toString":null}]');
  const back = await line.message();
  assert.ok(back.includes('"constructor":1') && back.includes('"toString":null'), back);
  line.send("40/__proto__,");
  assert.equal(await line.message(), '44/__proto__,{"message":"Invalid namespace"}');
  line.send('42["__proto__",1]');
  line.send('42["constructor",1]');
  line.send('42["message",2]');
  assert.equal(await line.message(), '42["message-back",2]');
  await line.end();
});

check("a namespace of half a megabyte is unknown, or too much", async () => {
  const line = await peer.websocket();
  line.send(`40/${"n".repeat(500_000)},`);
  const reply = await Promise.race([line.message(), line.ended.then(() => "closed")]).catch(() => "closed");
  assert.ok(reply === "closed" || reply.startsWith("44/nnn"), reply.slice(0, 40));
  await line.end();
  await peer.alive();
});

check("an ack id of ten thousand digits does no harm", async () => {
  const line = await join();
  line.send(`43${"9".repeat(10_000)}[]`);
  const next = await join();
  next.send('42["message",1]');
  assert.equal(await next.message(), '42["message-back",1]');
  await next.end();
  await line.end();
});

// --- attachments that never come

check("an event whose buffers never come is not delivered, and heartbeats go on", async () => {
  const line = await join();
  line.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  line.send(Buffer.from([1]));
  await line.silent(700);
  await line.end();
});

check("a hundred connections that wait for buffers do not hold up another", async () => {
  const lines = await Promise.all(Array.from({ length: 100 }, () => join()));
  for (const line of lines) line.send('451-["message",{"_placeholder":true,"num":0}]');
  const next = await join();
  next.send('42["message",1]');
  assert.equal(await within(1000, next.message(), "no answer"), '42["message-back",1]');
  await Promise.all([next, ...lines].map((line) => line.end()));
});

check("buffers of one event may not add up without end", async () => {
  const line = await join();
  line.send(`4510-["nobody-listens"${Array.from({ length: 10 }, (_, i) => `,{"_placeholder":true,"num":${i}}`).join("")}]`);
  for (let i = 0; i < 10; i++) line.send(Buffer.alloc(900_000, i));
  // Ten megabytes may be fine; what follows must be read or the line closed, not stuck.
  line.send('42["message","after"]');
  const reply = await Promise.race([line.message(), line.ended.then(() => "closed")]).catch(() => "closed");
  assert.ok(["closed", '42["message-back","after"]'].includes(reply), reply);
  await line.end();
  await peer.alive();
});

// --- guesses

check("a sid cannot be guessed: long, URL-safe, no two alike in any eight characters from the start", async () => {
  const sids = [];
  for (let i = 0; i < 60; i++) {
    sids.push((await engine.handshake()).sid);
    const line = await peer.websocket();
    sids.push(line.session.sid);
    line.send("40");
    sids.push(JSON.parse((await line.message()).slice(2)).sid);
    await line.end();
  }
  for (const sid of sids) assert.match(sid, /^[A-Za-z0-9_-]{20,}$/);
  assert.equal(new Set(sids.map((sid) => sid.slice(0, 8))).size, sids.length);
});

check("the public id of a socket is no key to its session", async () => {
  const line = await peer.websocket();
  line.send("40");
  const { sid } = JSON.parse((await line.message()).slice(2));
  await failure(await peer.get({ sid }), 1, "Session ID unknown");
  await line.end();
});

for (const [what, sid] of [
  ["__proto__", "__proto__"], ["constructor", "constructor"], ["hasOwnProperty", "hasOwnProperty"], ["a path", "../../etc/passwd"],
  ["ten thousand characters", "A".repeat(10_000)], ["a NUL", "\0"], ["a line break", "a\r\nX-Injected: 1"], ["a star", "*"],
]) {
  check(`a sid of ${what} is unknown, by poll and by websocket`, async () => {
    await failure(await engine.get({ sid }), 1, "Session ID unknown");
    const line = engine.line({ sid });
    assert.equal((await within(2000, line.refused, "no refusal")).status, 400);
    await line.closed();
  });
}

check("a session of one path is none of the other's", async () => {
  const { sid } = await engine.handshake();
  await failure(await peer.get({ sid }), 1, "Session ID unknown");
});

// --- two at once

check("a second POST while one is being read gets 400, and the session is closed", async () => {
  const session = await engine.open();
  const url = new URL(session.url());
  const first = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 10\r\n\r\n4hel`);
  await sleep(50);
  const second = await session.post("4hello");
  await second.text();
  assert.equal(second.status, 400);
  await session.over();
  first.end();
});

check("a POST that is broken off closes the session, and what came of it is not delivered", async () => {
  const session = await engine.open();
  const url = new URL(session.url());
  const held = session.poll();
  const post = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 100\r\n\r\n4half`);
  await sleep(50);
  post.socket.resetAndDestroy();
  const res = await within(1000, held, "the held GET was not freed");
  assert.ok(!(await res.text()).includes("half"));
  await session.over();
});

check("a POST during an upgrade is taken, and its answer lost nowhere", async () => {
  for (let round = 0; round < 10; round++) {
    const session = await engine.open();
    const line = engine.line({ sid: session.sid });
    await line.opened;
    line.send("2probe");
    assert.equal(await line.next(), "3probe");
    await session.send(`4during${round}`);
    line.send("5");
    line.send("4after");
    assert.deepEqual([await line.message(), await line.message()], [`4during${round}`, "4after"]);
    await line.end();
  }
});

check("a POST that is half read when the upgrade completes is delivered or refused, once at most", async () => {
  const session = await engine.open();
  const url = new URL(session.url());
  const line = engine.line({ sid: session.sid });
  await line.opened;
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  const post = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 6\r\n\r\n4ha`);
  await sleep(30);
  line.send("5");
  await sleep(30);
  post.write("lf!");
  line.send("4after");
  const got = [];
  for (let i = 0; i < 2; i++) {
    const frame = await Promise.race([line.message(), sleep(250)]).catch(() => undefined);
    if (frame !== undefined) got.push(frame);
  }
  assert.ok(got.filter((f) => f === "4half!").length <= 1);
  assert.ok(got.includes("4after"), `the upgraded session is dead: ${got}`);
  post.end();
  await line.end();
});

check("twenty websockets for one polling session: one upgrades, the others end", async () => {
  const session = await engine.open();
  const lines = Array.from({ length: 20 }, () => engine.line({ sid: session.sid }));
  await Promise.all(lines.map((line) => line.opened.catch(() => {})));
  for (const line of lines) if (line.isOpen) line.send("2probe");
  await until(1000, () => lines.filter((line) => line.isOpen).length <= 1, "more than one stays open");
  const [left] = lines.filter((line) => line.isOpen);
  assert.ok(left, "none stays open");
  assert.equal(await left.next(), "3probe");
  left.send("5");
  left.send("4hello");
  assert.equal(await left.message(), "4hello");
  await left.end();
});

// --- who does not read

check("megabytes queued for a poll that never comes are bounded: the session is closed", async () => {
  const session = await engine.open();
  let refused = 0;
  for (let sent = 0; sent < 100 && refused === 0; sent++) {
    // The clock must not do it: the pings are answered as far as they can be.
    const res = await session.post(sent % 3 === 0 ? "3\x1e4" + "x".repeat(990_000) : "4" + "x".repeat(990_000)).catch(() => undefined);
    await res?.text();
    if (res?.status !== 200) refused = sent;
    if (sent === 99) assert.fail("a hundred megabytes are queued");
  }
  await session.over();
  await engine.alive();
});

check("megabytes for a websocket that is not read are bounded: it is closed, or read no more", async () => {
  const line = await engine.websocket();
  const socket = line.ws._socket;
  socket.pause();
  const message = "4" + "x".repeat(500_000);
  let taken = 0;
  // A write that is neither taken nor refused for longer than the ping timeout has met a bound.
  for (let bound = false; !bound && taken < 100_000_000;) {
    const write = new Promise((resolve) => line.ws.send(message, (error) => resolve(error ? "refused" : "taken")));
    const outcome = await Promise.race([write, sleep(700).then(() => "stalled")]);
    if (outcome === "taken") taken += message.length;
    else bound = true;
  }
  await line.end();
  assert.ok(taken < 100_000_000, "a hundred megabytes are queued");
  await engine.alive();
});

check("a connection that sends half a request does not hold up others", async () => {
  const half = await Promise.all(Array.from({ length: 50 }, () => raw(base, "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n")));
  await within(1000, engine.alive(), "no answer");
  for (const one of half) one.end();
});

// --- pages of strangers

const friend = "http://page.example";

check("CORS: the allowed origin is named, with credentials, never by a star", async () => {
  for (const [Origin, version] of [[friend, engine], [friend, old]]) {
    const res = await version.get({}, { headers: { Origin } });
    await res.text();
    assert.equal(res.status, 200);
    assert.equal(res.headers.get("access-control-allow-origin"), friend);
    assert.equal(res.headers.get("access-control-allow-credentials"), "true");
    assert.match(res.headers.get("vary") ?? "", /origin/i);
  }
});

check("CORS: POST answers and errors name it too", async () => {
  const session = await engine.open();
  const sent = await session.post("4x", { Origin: friend });
  assert.equal(await sent.text(), "ok");
  assert.equal(sent.headers.get("access-control-allow-origin"), friend);
  const wrong = await engine.get({ sid: "unknown" }, { headers: { Origin: friend } });
  await wrong.text();
  assert.equal(wrong.headers.get("access-control-allow-origin"), friend);
  await session.close();
});

check("CORS: another origin never sees itself allowed, nor a star", async () => {
  for (const Origin of ["http://evil.example", "http://page.example.evil.example", "https://page.example", "http://page.example:81", "null"]) {
    const res = await engine.get({}, { headers: { Origin } });
    await res.text();
    assert.ok(![Origin, "*"].includes(res.headers.get("access-control-allow-origin")), Origin);
  }
});

check("CORS: the preflight of the allowed origin is answered, the sid known or not", async () => {
  const { sid } = await engine.handshake();
  for (const params of [{}, { sid }]) {
    const res = await engine.get(params, {
      method: "OPTIONS",
      headers: { Origin: friend, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type" },
    });
    assert.equal(await res.text(), "");
    assert.ok([200, 204].includes(res.status), `${res.status}`);
    assert.equal(res.headers.get("access-control-allow-origin"), friend);
    assert.equal(res.headers.get("access-control-allow-credentials"), "true");
    assert.match(res.headers.get("access-control-allow-methods") ?? "", /\bPOST\b/);
    assert.match(res.headers.get("access-control-allow-headers") ?? "", /content-type/i);
  }
  const session = await engine.handshake();
  assert.ok(session.sid, "a preflight opens no session and closes none");
});

check("CORS: the preflight of another origin allows it nothing", async () => {
  const Origin = "http://evil.example";
  const res = await engine.get({}, { method: "OPTIONS", headers: { Origin, "Access-Control-Request-Method": "POST" } });
  await res.text();
  assert.ok(![Origin, "*"].includes(res.headers.get("access-control-allow-origin")));
});

check("an Origin of bytes that no header may hold is refused", async () => {
  const answer = await raw(base, "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: http://a\x01b\r\nConnection: close\r\n\r\n");
  assert.equal((await answer.answered()).status, 400);
  answer.end();
});

check("what lies beside the path is not served as a session", async () => {
  for (const path of ["/", "/engine.iox/", "/socket.io.evil/"]) {
    const res = await fetch(`${base}${path}?EIO=4&transport=polling`, { redirect: "manual" });
    assert.ok(!(await res.text()).startsWith("0{"), path);
    assert.notEqual(res.status, 200);
  }
});
