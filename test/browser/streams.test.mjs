// The transports without WebSocket, as pages use them: an EventSource that comes
// back by itself, and fetch.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch } from "./browser.mjs";
import { api, build, freePort, start } from "./server.mjs";

let binary, browser, server, context;

before(async () => {
  binary = build();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  binary?.remove();
});

beforeEach(async () => {
  server = await start(binary.path, await freePort());
  context = await browser.newContext();
  context.setDefaultTimeout(30_000);
});

afterEach(async () => {
  await context?.close();
  await server?.stop();
});

// page gives an empty page of the server's own origin.
async function page(base = server.base) {
  const p = await context.newPage();
  await p.goto(`${base}/healthz`);
  return p;
}

// listen opens an EventSource that notes all frames, and never touches it again.
const listen = (p, url) => p.evaluate((url) => {
  window.frames_ = [];
  window.source = new EventSource(url);
  source.onmessage = (e) => {
    const f = JSON.parse(e.data);
    frames_.push(f);
    window.connection = f.type === "welcome" ? f.connection : window.connection;
  };
}, url);

const seqs = (p, channel) => p.evaluate((channel) => frames_.filter((f) => f.type === "msg" && f.channel === channel).map((f) => f.seq), channel);
const subscribed = (p, n) => p.waitForFunction((n) => frames_.filter((f) => f.type === "ok").length >= n, n);

test("an EventSource loses nothing when the server is killed and started again, twice", async () => {
  const p = await page();
  await listen(p, "/sse?user=ana&channels=room:one,room:two");
  await subscribed(p, 2);
  const sent = { "room:one": 0, "room:two": 0 };
  const publish = async (n) => {
    for (let i = 0; i < n; i++) {
      for (const channel of Object.keys(sent)) sent[channel] = (await api(server, "publish", { to: { channel }, data: i })).seq;
    }
  };
  for (const end of ["kill", "stop"]) {
    await publish(20);
    // While the page is away, and just before it is cut off.
    const rest = publish(200).catch(() => {});
    await p.waitForFunction((n) => frames_.filter((f) => f.type === "msg").length > n, sent["room:one"]);
    await server[end]();
    await rest;
    server = await start(binary.path, server.port);
    await publish(20);
  }
  await p.waitForFunction((sent) => Object.entries(sent).every(([channel, seq]) =>
    frames_.some((f) => f.type === "msg" && f.channel === channel && f.seq >= seq)), sent);
  for (const [channel, last] of Object.entries(sent)) {
    const got = await seqs(p, channel);
    assert.deepEqual(got.slice(0, last), Array.from({ length: last }, (_, i) => i + 1), `${channel}: every message once and in order`);
  }
  const welcomes = await p.evaluate(() => frames_.filter((f) => f.type === "welcome").length);
  assert.equal(welcomes, 3, "it came back by itself, twice");
  const unrecovered = await p.evaluate(() => frames_.filter((f) => f.recovered === false || f.type === "gap" || f.type === "error"));
  assert.deepEqual(unrecovered, []);
});

test("an EventSource that was refused stays away, and one that was sent away does not come back soon", async () => {
  const p = await page();
  const refused = await p.evaluate(() => new Promise((done) => {
    const s = new EventSource("/sse?token=nonsense");
    s.onerror = () => done(s.readyState);
  }));
  assert.equal(refused, 2, "closed");
  await listen(p, "/sse?user=ana");
  await p.waitForFunction(() => window.connection);
  await api(server, "disconnect", { user: "ana" });
  await p.waitForFunction(() => frames_.some((f) => f.type === "bye") && source.readyState === EventSource.CONNECTING);
  await p.waitForTimeout(6000); // longer than any retry of a stream that should come back
  assert.equal((await api(server, "online", { users: ["ana"] })).ana.online, false);
});

test("a page posts frames and polls with fetch, also from an allowed origin", async () => {
  const p = await page(server.base.replace("127.0.0.1", "localhost")); // another origin; development mode allows any
  await listen(p, `${server.base}/sse?user=ana&channels=room:one`);
  await subscribed(p, 1);
  const status = await p.evaluate(async (base) => {
    const res = await fetch(`${base}/sse/${connection}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, credentials: "include",
      body: JSON.stringify([{ type: "pub", channel: "room:one", data: "posted" }]),
    });
    return res.status;
  }, server.base);
  assert.equal(status, 202);
  await p.waitForFunction(() => frames_.some((f) => f.data === "posted"));
  const polled = await p.evaluate(async (base) => {
    const call = async (body) => (await fetch(`${base}/poll`, { method: "POST", body: JSON.stringify(body) })).json();
    const first = await call({ user: "ben", frames: [{ type: "sub", channel: "room:one", since: { seq: 0 } }] });
    let frames = first.frames, { connection, after } = first;
    while (!frames.some((f) => f.type === "msg")) {
      const a = await call({ connection, after });
      frames = frames.concat(a.frames);
      after = a.after;
    }
    const last = await call({ connection, after, close: true });
    return { data: frames.filter((f) => f.type === "msg").map((f) => f.data), closed: last.closed };
  }, server.base);
  assert.deepEqual(polled, { data: ["posted"], closed: 1000 });
});
