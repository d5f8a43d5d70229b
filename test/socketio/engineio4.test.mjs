// Engine.IO 4 against an echo server with pings every 300 ms and a timeout of 200 ms.

import assert from "node:assert/strict";
import { checks } from "./check.mjs";
import { Peer, failure, neverOpens, raw, rejects, sleep, target, within } from "./wire.mjs";

const check = checks(import.meta.filename);
const base = target("TARGET_SUITE");
const peer = new Peer(base, "/engine.io/", 4);

const keys = ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"];

// --- handshake, polling

check("polling: the handshake answers with the open packet alone, in plain text", async () => {
  const res = await peer.get();
  const body = await res.text();
  assert.equal(res.status, 200);
  assert.match(res.headers.get("content-type"), /^text\/plain; charset=utf-8$/i);
  assert.equal(body[0], "0");
  const open = JSON.parse(body.slice(1));
  assert.deepEqual(Object.keys(open).sort(), keys);
  assert.equal(typeof open.sid, "string");
  assert.deepEqual(open.upgrades, ["websocket"]);
  assert.equal(open.pingInterval, 300);
  assert.equal(open.pingTimeout, 200);
  assert.equal(open.maxPayload, 1_000_000);
});

for (const EIO of [undefined, "abc", "5", "04", "4abc", ""]) {
  check(`polling: EIO ${EIO === undefined ? "left out" : `"${EIO}"`} is refused with code 5`, async () => {
    await failure(await peer.get({ EIO }), 5, "Unsupported protocol version");
  });
}

for (const transport of [undefined, "abc", "__proto__", "webtransport"]) {
  check(`polling: transport ${transport === undefined ? "left out" : `"${transport}"`} is refused with code 0`, async () => {
    await failure(await peer.get({ transport }), 0, "Transport unknown");
  });
}

for (const method of ["POST", "PUT", "DELETE"]) {
  check(`polling: a handshake by ${method} is refused with code 2`, async () => {
    await failure(await peer.get({}, { method }), 2, "Bad handshake method");
  });
}

check("polling: an unknown sid is refused with code 1, by GET and by POST", async () => {
  await failure(await peer.get({ sid: "AAAAAAAAAAAAAAAAAAAAAAAA" }), 1, "Session ID unknown");
  await failure(await peer.get({ sid: "AAAAAAAAAAAAAAAAAAAAAAAA" }, { method: "POST", body: "4x" }), 1, "Session ID unknown");
});

check("transport=websocket without an Upgrade header is refused with code 3", async () => {
  await failure(await peer.get({ transport: "websocket" }), 3, "Bad request");
});

check("what else is in the query does not disturb the handshake", async () => {
  const { sid } = await peer.handshake({ t: "P1abc", token: "äöü", room: "[1]" });
  assert.ok(sid);
});

// --- handshake, websocket

check("websocket: the first frame is the open packet, and upgrades is an empty list", async () => {
  const line = peer.line();
  const first = await line.next();
  assert.equal(first[0], "0");
  const open = JSON.parse(first.slice(1));
  assert.deepEqual(Object.keys(open).sort(), keys);
  assert.equal(typeof open.sid, "string");
  assert.deepEqual(open.upgrades, [], "a list, not null");
  assert.equal(open.pingInterval, 300);
  assert.equal(open.pingTimeout, 200);
  assert.equal(open.maxPayload, 1_000_000);
  await line.end();
});

check("websocket: no subprotocol and no extension is agreed unasked", async () => {
  const line = await peer.websocket({}, { perMessageDeflate: false });
  assert.equal(line.ws.protocol, "");
  assert.equal(line.ws.extensions, "");
  await line.end();
});

check("websocket: EIO left out is refused", () => neverOpens(peer.line({ EIO: undefined })));
check("websocket: EIO \"abc\" is refused", () => neverOpens(peer.line({ EIO: "abc" })));
check("websocket: transport left out is refused", () => neverOpens(peer.line({ transport: undefined })));
check("websocket: transport \"abc\" is refused", () => neverOpens(peer.line({ transport: "abc" })));

check("websocket: an unknown sid is refused before the 101, with code 1", async () => {
  const line = peer.line({ sid: "AAAAAAAAAAAAAAAAAAAAAAAA" });
  const refused = await within(2000, line.refused, "no refusal");
  assert.equal(refused.status, 400);
  await line.closed();
});

// --- messages, polling

check("polling: one packet comes back", async () => {
  const session = await peer.open();
  const res = await session.post("4hello");
  assert.equal(res.status, 200);
  assert.equal(await res.text(), "ok");
  const poll = await session.poll();
  assert.equal(poll.status, 200);
  assert.match(poll.headers.get("content-type"), /^text\/plain; charset=utf-8$/i);
  assert.equal(poll.headers.get("cache-control"), "no-store");
  assert.equal(await poll.text(), "4hello");
  await session.close();
});

check("polling: several packets of one body come back in one body, in order", async () => {
  const session = await peer.open();
  await session.send("4test1", "4test2", "4test3");
  assert.equal(await session.text(), "4test1\x1e4test2\x1e4test3");
  await session.close();
});

check("polling: packets of several POSTs wait for the poll and come in one body", async () => {
  const session = await peer.open();
  for (let i = 1; i <= 20; i++) await session.send(`4n${i}`);
  assert.equal(await session.text(), Array.from({ length: 20 }, (_, i) => `4n${i + 1}`).join("\x1e"));
  await session.close();
});

check("polling: text and base64 mix in one body", async () => {
  const session = await peer.open();
  await session.send("4hello", "bAQIDBA==");
  assert.equal(await session.text(), "4hello\x1ebAQIDBA==");
  await session.close();
});

check("polling: a held GET is answered as soon as there is a packet", async () => {
  const session = await peer.open();
  const held = session.text();
  await sleep(50);
  const start = Date.now();
  await session.send("4now");
  assert.equal(await held, "4now");
  assert.ok(Date.now() - start < 150, "it waited for something else");
  await session.close();
});

check("polling: a POST without any Content-Type is text", async () => {
  const session = await peer.open();
  const url = new URL(session.url());
  const post = await raw(base, `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 6\r\n\r\n4plain`);
  const answer = await post.answered();
  post.end();
  assert.equal(answer.status, 200);
  assert.equal(answer.body, "ok");
  assert.equal(await session.text(), "4plain");
  await session.close();
});

check("polling: non-ASCII text comes back unharmed", async () => {
  const session = await peer.open();
  const text = "€ ü 日本 😀 \u2028 \0 <&>";
  await session.send(`4${text}`);
  assert.equal(await session.text(), `4${text}`);
  await session.close();
});

check("polling: a body of exactly maxPayload bytes is accepted", async () => {
  const session = await peer.open();
  const packet = "4" + "x".repeat(999_999);
  await session.send(packet);
  assert.equal(await session.text(), packet);
  await session.close();
});

const badBodies = [["a packet of an unknown type", "abc"], ["an empty body", ""], ["an empty packet between two", "4a\x1e\x1e4b"], ["a type without a digit", "x"]];

for (const [what, body] of badBodies) {
  check(`polling: ${what} closes the session`, async () => {
    const session = await peer.open();
    await rejects(session.post(body), 200, 400);
    await session.gone();
  });
}

check("polling: a POST that cannot be read is answered by 400 or dropped", async () => {
  for (const [, body] of badBodies) {
    const session = await peer.open();
    await rejects(session.post(body), 400);
  }
});

check("polling: octet-stream belongs to version 3: 400, and the session is closed", async () => {
  const session = await peer.open();
  await rejects(session.post(Buffer.from("4hello"), { "Content-Type": "application/octet-stream" }), 400);
  await session.over();
});

check("polling: a ping from the client has the wrong direction and closes the session", async () => {
  const session = await peer.open();
  await rejects(session.post("2"), 200, 400);
  await session.over();
});

check("polling: of two GETs at once the first gets a close packet, the second 400", async () => {
  const session = await peer.open();
  const first = session.poll();
  await sleep(5);
  const second = session.poll();
  const [one, two] = await Promise.all([first, second]);
  assert.equal(one.status, 200);
  assert.equal(await one.text(), "1");
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

check("polling: a poll whose connection is reset closes the session at once", async () => {
  const session = await peer.open();
  const url = new URL(session.url());
  const held = await raw(base, `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
  await sleep(30);
  held.socket.resetAndDestroy();
  await sleep(20);
  await session.gone();
});

for (const method of ["PUT", "DELETE", "PATCH"]) {
  check(`polling: ${method} with a sid is refused by 400 or 405`, async () => {
    const session = await peer.open();
    const res = await fetch(session.url(), { method, body: "4x" });
    await res.text();
    assert.ok([400, 405].includes(res.status), `${res.status}`);
    await session.close();
  });
}

// --- messages, websocket

check("websocket: a text message comes back", async () => {
  const line = await peer.websocket();
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("websocket: a binary message is the bytes alone, with no type in front", async () => {
  const line = await peer.websocket();
  line.send(Buffer.from([1, 2, 3, 4]));
  assert.deepEqual(await line.message(), Buffer.from([1, 2, 3, 4]));
  await line.end();
});

check("websocket: an empty binary message and an empty text message come back", async () => {
  const line = await peer.websocket();
  line.send(Buffer.alloc(0));
  assert.deepEqual(await line.message(), Buffer.alloc(0));
  line.send("4");
  assert.equal(await line.message(), "4");
  await line.end();
});

check("websocket: a message in fragments is one message", async () => {
  const line = await peer.websocket();
  line.ws.send("4hel", { fin: false });
  line.ws.send("lo wor", { fin: false });
  line.ws.send("ld", { fin: true });
  assert.equal(await line.message(), "4hello world");
  await line.end();
});

check("websocket: one frame is one packet, a 0x1E in it is data", async () => {
  const line = await peer.websocket();
  line.send("4a\x1e4b");
  assert.equal(await line.message(), "4a\x1e4b");
  await line.end();
});

for (const [what, frame] of [["of an unknown type", "abc"], ["with type 7", "7"], ["that is empty", ""], ["that is an open packet", "0{}"]]) {
  // The reference ignores an open packet, which is as good.
  const ignored = frame[0] === "0";
  check(`websocket: a packet ${what} ${ignored ? "opens nothing" : "closes the session"}`, async () => {
    const line = await peer.websocket();
    line.send(frame);
    if (!ignored) {
      await line.closed();
      return;
    }
    line.send("4after");
    const next = await Promise.race([line.message().catch(() => "closed"), line.closed(5000).then(() => "closed")]);
    assert.ok(["4after", "closed"].includes(next), String(next));
    await line.end();
  });
}

check("websocket: a ping from the client has the wrong direction and closes the session", async () => {
  const line = await peer.websocket();
  line.send("2");
  await line.closed();
});

check("websocket: a message over maxPayload is answered with close code 1009", async () => {
  const line = await peer.websocket();
  line.send("4" + "x".repeat(1_000_001));
  assert.equal((await line.closed()).code, 1009);
});

// --- heartbeat

check("heartbeat, polling: the server pings every 300 ms, three rounds", async () => {
  const session = await peer.open();
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    assert.equal(await session.text(), "2");
    const waited = performance.now() - start;
    assert.ok(waited > 250 && waited < 500, `the ping came after ${waited} ms`);
    await session.send("3");
  }
  await session.close();
});

check("heartbeat, websocket: the server pings every 300 ms, three rounds", async () => {
  const line = await peer.websocket();
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    assert.equal(await line.next(), "2");
    const waited = performance.now() - start;
    assert.ok(waited > 250 && waited < 500, `the ping came after ${waited} ms`);
    line.send("3");
  }
  await line.end();
});

check("heartbeat, polling: 500 ms after the handshake without a pong the session is gone", async () => {
  const session = await peer.open();
  await sleep(500);
  await session.gone();
});

check("heartbeat, websocket: without a pong the socket is closed after 500 ms", async () => {
  const line = await peer.websocket();
  const start = performance.now();
  await line.closed(1000);
  const lived = performance.now() - start;
  assert.ok(lived > 450 && lived < 900, `it lived for ${lived} ms`);
});

check("heartbeat, polling: a pong late by 100 ms is in time, and the session goes on", async () => {
  const session = await peer.open();
  for (let i = 0; i < 2; i++) {
    assert.equal(await session.text(), "2");
    await sleep(100);
    await session.send("3");
  }
  await session.send("4still here");
  assert.equal(await session.text(), "4still here");
  await session.close();
});

check("heartbeat, websocket: pings stay on time while the link is busy", async () => {
  const line = await peer.websocket();
  const block = "4" + "x".repeat(100_000);
  for (let i = 0; i < 4; i++) line.send(block);
  let last = performance.now();
  let pings = 0;
  let blocks = 0;
  while (pings < 5) {
    const frame = await line.next();
    if (frame === "2") {
      const now = performance.now();
      assert.ok(now - last < 500, `a ping was due ${now - last - 300} ms ago`);
      last = now;
      pings++;
      line.send("3");
    } else {
      assert.equal(frame.length, block.length);
      blocks++;
      line.send(block);
    }
  }
  assert.ok(blocks > 20, `only ${blocks} blocks went round`);
  await line.end();
});

check("heartbeat, websocket: a session that has moved over from polling is still pinged", async () => {
  const session = await peer.open();
  const line = await upgrade(session);
  for (let i = 0; i < 2; i++) {
    assert.equal(await line.next(), "2");
    line.send("3");
  }
  await line.end();
});

// --- close

check("close, polling: a close packet frees the held GET with a noop and ends the session", async () => {
  const session = await peer.open();
  const [poll] = await Promise.all([
    session.poll(),
    session.post("1"),
  ]);
  assert.equal(poll.status, 200);
  assert.equal(await poll.text(), "6");
  await session.gone();
});

check("close, polling: whichever of GET and POST arrives first, forty times over", async () => {
  for (let i = 0; i < 40; i++) {
    const session = await peer.open();
    const requests = [() => session.poll(), () => session.post("1")];
    const [poll, post] = await Promise.all(requests.map((send) => send()));
    await post.text();
    assert.equal(poll.status, 200, `round ${i}: ${await poll.clone().text()}`);
    assert.equal(await poll.text(), "6");
    await session.gone();
  }
});

check("close, websocket: a close packet closes the socket", async () => {
  const line = await peer.websocket();
  line.send("1");
  await line.closed();
});

check("close: a sid is unknown once its websocket is gone", async () => {
  const line = await peer.websocket();
  const { sid } = line.session;
  await line.end();
  await sleep(50);
  await failure(await peer.get({ sid }), 1, "Session ID unknown");
});

// --- upgrade

// probe opens a websocket for a polling session and has it answered.
async function probe(session) {
  const line = peer.line({ sid: session.sid });
  await line.opened;
  line.send("2probe");
  assert.equal(await line.next(), "3probe");
  return line;
}

async function upgrade(session) {
  const line = await probe(session);
  line.send("5");
  return line;
}

check("upgrade: probe, pong on the websocket, then messages go there", async () => {
  const session = await peer.open();
  const line = await upgrade(session);
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("upgrade: a GET that was held before the probe is freed with a noop", async () => {
  const session = await peer.open();
  const held = session.text();
  await sleep(20);
  const line = await probe(session);
  assert.equal(await within(250, held, "the held GET was not freed"), "6");
  await line.end();
  await session.close();
});

check("upgrade: a GET sent after the probe is freed with a noop", async () => {
  const session = await peer.open();
  const line = await probe(session);
  const res = await within(280, session.poll(), "the GET hangs");
  assert.equal(res.status, 200);
  assert.equal(await res.text(), "6");
  await line.end();
  await session.close();
});

check("upgrade: polling requests of the session are refused afterwards, the websocket lives on", async () => {
  const session = await peer.open();
  const held = session.text();
  const line = await probe(session);
  assert.equal(await held, "6");
  line.send("5");
  // Proof that the switch is done.
  line.send("4switched");
  assert.equal(await line.message(), "4switched");
  await failure(await session.poll(), 3, "Bad request");
  await failure(await session.post("4hello"), 3, "Bad request");
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("upgrade: another websocket for an upgraded session is opened and closed, the first lives on", async () => {
  const session = await peer.open();
  const line = await upgrade(session);
  line.send("4one");
  assert.equal(await line.message(), "4one");
  const second = peer.line({ sid: session.sid });
  await second.opened;
  await second.closed();
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("upgrade: a second websocket while one is probing is opened and closed, the first completes", async () => {
  const session = await peer.open();
  const line = await probe(session);
  const second = peer.line({ sid: session.sid });
  await second.opened;
  await second.closed();
  line.send("5");
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("upgrade: a second websocket for a session that began on one ends, the first lives on", async () => {
  const line = await peer.websocket();
  const second = peer.line({ sid: line.session.sid });
  await second.closed(250);
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("upgrade: messages queued before the switch come on the websocket, once and in order", async () => {
  const session = await peer.open();
  const line = await probe(session);
  await session.send("4a", "4b");
  await session.send("4c");
  line.send("5");
  line.send("4d");
  const got = [];
  for (let i = 0; i < 4; i++) got.push(await line.message());
  assert.deepEqual(got, ["4a", "4b", "4c", "4d"]);
  await line.end();
});

check("upgrade: nothing but the pong goes out on the websocket before the switch", async () => {
  const session = await peer.open();
  const line = await probe(session);
  await session.send("4queued");
  await line.silent(100);
  const packets = (await session.text()).split("\x1e").filter((p) => p !== "6");
  // A noop may have freed the first GET.
  assert.deepEqual(packets.length > 0 ? packets : await session.collect(1), ["4queued"]);
  await line.end();
  await session.close();
});

for (const frame of ["4hello", "2", "2other", "3probe"]) {
  check(`upgrade: "${frame}" in place of the probe closes that websocket, polling goes on`, async () => {
    const session = await peer.open();
    const line = peer.line({ sid: session.sid });
    await line.opened;
    line.send(frame);
    await line.closed();
    await session.send("4hello");
    assert.deepEqual(await session.collect(1), ["4hello"]);
    await session.close();
  });
}

check("upgrade: after a websocket that broke during the probe another one can upgrade", async () => {
  const session = await peer.open();
  const broken = await probe(session);
  await broken.end();
  await sleep(30);
  const line = await upgrade(session);
  line.send("4hello");
  assert.equal(await line.message(), "4hello");
  await line.end();
});

check("upgrade: a session closed while probing takes the websocket with it", async () => {
  const session = await peer.open();
  const line = await probe(session);
  await session.close();
  await line.closed();
});

check("upgrade: a session that times out while probing takes the websocket with it", async () => {
  const session = await peer.open();
  const line = await probe(session);
  await line.closed(1200);
  await session.over();
});
