// The client in Chromium: pages that import the bundle as it is.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { api, build, freePort, start } from "../browser/server.mjs";
import { buildClient, launch, serve } from "./client.mjs";

let binary, browser, server, context;

before(async () => {
  buildClient();
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
  context.setDefaultTimeout(20_000);
  await serve(context);
});

afterEach(async () => {
  await context?.close();
  await server?.stop();
});

// open gives an empty page with a client, as `skein`, that notes its states.
async function open(options, base = server.base, url = undefined) {
  const page = await context.newPage();
  await page.goto(`${base}/empty.html`);
  await page.evaluate(async ([options, url]) => {
    const { connect, path } = await import("/sdk/skein.js");
    window.path = path;
    window.states = [];
    window.skein = url ? connect(url, options) : connect(options);
    skein.on("state", ({ state, delay }) => states.push({ state, delay, at: performance.now() }));
    await skein.ready();
  }, [options, url]);
  return page;
}

const transport = (page) => page.evaluate(() => skein.transport);

// listen notes the data of the messages of a channel.
const listen = (page, name) => page.evaluate(async (name) => {
  window.got = [];
  skein.channel(name).on("message", ({ data }) => got.push(data));
  await skein.channel(name).open();
}, name);
const got = (page, data) => page.waitForFunction((data) => JSON.stringify(window.got) === JSON.stringify(data), data);
const publish = (page, name, data) => page.evaluate(([name, data]) => skein.channel(name).publish("message", data), [name, data]);

test("the page of the README is a working chat", async () => {
  const pages = [];
  for (const user of ["ana", "ben"]) {
    const page = await context.newPage();
    page.on("pageerror", (error) => assert.fail(error));
    await page.goto(`${server.base}/page.html?user=${user}`);
    await page.locator("#state", { hasText: "connected" }).waitFor();
    pages.push(page);
  }
  await pages[0].getByLabel("Message").fill("Hello");
  await pages[0].getByLabel("Message").press("Enter");
  for (const page of pages) await page.locator("#log li", { hasText: "Hello" }).waitFor();
});

test("a page that is offline waits, and comes back at once when it is online", async () => {
  const page = await open({ user: "ana" });
  assert.equal(await transport(page), "websocket");
  await listen(page, "room:x");
  await context.setOffline(true);
  await server.kill();
  await page.waitForFunction(() => states.filter(({ state }) => state === "waiting").length >= 3);
  server = await start(binary.path, server.port);
  await api(server, "publish", { to: { channel: "room:x" }, data: "missed" });
  // With a pause that is far longer than the test, so that nothing but the event ends it.
  await page.evaluate(() => { window.real = Math.random; Math.random = () => 1000; });
  await page.waitForFunction(() => states.at(-1).state === "waiting" && states.at(-1).delay > 60_000);
  assert.equal(await page.evaluate(() => navigator.onLine), false);
  await page.evaluate(() => { Math.random = real; });
  await context.setOffline(false);
  await page.waitForFunction(() => skein.state === "connected");
  await got(page, ["missed"]);
});

test("patches of a page survive the server's death, and are shown while nobody is there", async () => {
  const pages = [await open({ user: "ana" }), await open({ user: "ben" })];
  for (const page of pages) await page.evaluate(async () => { window.game = await skein.document("game:x").open(); });
  await pages[0].evaluate(() => game.inc("/n"));
  await server.kill();
  const shown = await pages[0].evaluate(() => {
    window.later = [game.inc("/n"), game.set(path("players", "a/b"), true)];
    return JSON.stringify(game.value);
  });
  assert.equal(shown, '{"n":2,"players":{"a/b":true}}');
  server = await start(binary.path, server.port);
  assert.deepEqual(await pages[0].evaluate(() => Promise.all(later)), [2, 3]);
  for (const page of pages) await page.waitForFunction((shown) => JSON.stringify(game.value) === shown, shown);
  assert.equal(await pages[0].evaluate(() => game.pending), 0);
});

test("a worker is a client too", async () => {
  const page = await open({ user: "ana" });
  await listen(page, "room:x");
  await page.evaluate(() => {
    window.heard = [];
    window.worker = new Worker("/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => heard.push(data);
    worker.postMessage({ channel: "room:x", user: "ben" });
  });
  await got(page, ["from a worker by websocket"]);
  await publish(page, "room:x", "to a worker");
  await page.waitForFunction(() => heard.at(-1) === "to a worker");
});

for (const way of ["websocket", "sse", "poll"]) {
  test(`from another origin, by ${way}`, async () => {
    const other = server.base.replace("127.0.0.1", "localhost"); // development mode allows any
    const page = await open({ user: "ana", transports: [way] }, other, server.base);
    assert.equal(await transport(page), way);
    await listen(page, "room:x");
    await publish(page, "room:x", 1);
    await got(page, [1]);
  });

  test(`by ${way} nothing is lost when the server is killed and started again`, async () => {
    const page = await open({ user: "ana", transports: [way] });
    await listen(page, "room:x");
    await publish(page, "room:x", 1);
    await server.kill();
    await page.evaluate(() => { window.answer = skein.channel("room:x").publish("message", 2); });
    server = await start(binary.path, server.port);
    assert.equal((await page.evaluate(() => answer)).seq, 2);
    await got(page, [1, 2]);
  });
}

test("a page whose WebSockets are blocked falls back, and goes up again when they are not", async () => {
  let blocked = true;
  await context.routeWebSocket(/\/ws/, (ws) => {
    if (blocked) ws.close({ code: 1011 });
    else ws.connectToServer();
  });
  const page = await open({ user: "ana" });
  assert.equal(await transport(page), "sse");
  await listen(page, "room:x");
  blocked = false;
  await page.waitForFunction(() => skein.transport === "websocket");
  await publish(page, "room:x", "still here");
  await got(page, ["still here"]);
});

test("a page without WebSocket and with streams that are held back polls", async () => {
  await context.addInitScript(() => { delete window.WebSocket; });
  await context.route(/\/sse/, (route) => route.abort());
  const page = await open({ user: "ana" });
  assert.equal(await transport(page), "poll");
  await listen(page, "room:x");
  await publish(page, "room:x", "slowly");
  await got(page, ["slowly"]);
});

test("a page that is left closes its connection, and one that is gone back to has it again", async () => {
  const page = await open({ user: "ana" });
  const online = async () => (await api(server, "online", { users: ["ana"] })).ana.online;
  assert.equal(await online(), true);
  await page.goto("about:blank");
  while (await online()) await page.waitForTimeout(20);
  await page.goBack();
  assert.equal(await page.title(), "empty");
});
