// The ticker: the demo page in both of its ways, and the example with a page
// that has not changed since 2015.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { eventually, launch, watch } from "./browser.mjs";
import { api, build, freePort, root, start } from "./server.mjs";

// The client is not part of this repository: these tests take it from those of
// test/socketio, whose lock file pins it.
const socketio = fileURLToPath(new URL("../socketio", import.meta.url));
const client = join(socketio, "node_modules/sio1/socket.io.js");
const channel = "tick:test_conn";

let binary, browser, context, folder;
const ends = [];

before(async () => {
  if (!existsSync(client)) {
    const done = spawnSync("npm", ["ci", "--silent"], { cwd: socketio, encoding: "utf8" });
    assert.equal(done.status, 0, `npm ci in test/socketio: ${done.error ?? done.stderr}`);
  }
  folder = mkdtempSync(join(tmpdir(), "skein-ticker-"));
  binary = build();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  binary?.remove();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(15_000);
});

afterEach(async () => {
  await context?.close();
  for (const end of ends.splice(0)) await end();
});

// serve starts the server in development mode; with the client, or without.
async function serve(withClient) {
  const args = [];
  if (withClient) {
    const config = join(folder, "skein.yaml");
    writeFileSync(config, `socketio:\n  client: ${JSON.stringify(client)}\n`);
    args.push("--config", config);
  }
  const server = await start(binary.path, await freePort(), ...args);
  ends.push(server.stop);
  return server;
}

async function open(url, in_ = context) {
  const page = await in_.newPage();
  await page.goto(url);
  return page;
}

const up = (page) => page.waitForSelector('#state[data-state="up"]');
const shows = (page, number) => page.waitForFunction((number) => document.getElementById("number").textContent === String(number), number);
const say = (server, data) => api(server, "publish", { to: { channel }, event: "server_response", data: { data } });

// The server says a number of its own now and then, so that a test looks for one that it never says.
for (const way of [
  { name: "the client of 2015 that the server serves", withClient: true, says: /^Socket\.IO, namespace \/test_conn,/ },
  { name: "a plain WebSocket when the server has no client to give", withClient: false, says: /^Plain WebSocket, channel tick:test_conn:.* no \/socket\.io\/socket\.io\.js\.$/ },
]) {
  test(`the demo page shows the number, by ${way.name}`, async () => {
    const server = await serve(way.withClient);
    const complaints = watch(context, server.base);
    const pages = [await open(`${server.base}/demo/ticker`), await open(`${server.base}/demo/ticker.html`)];
    for (const page of pages) {
      await up(page);
      await eventually(async () => assert.match(await page.locator("#way").textContent(), way.says));
      assert.equal(await page.evaluate(() => typeof io), way.withClient ? "function" : "undefined");
    }
    const { connections } = await say(server, 1234);
    assert.equal(connections, 2, "one message for both pages");
    for (const page of pages) await shows(page, 1234);
    // That there is no client is all that the browser has to say.
    const missing = /status of 4\d\d|^console error: Refused to execute script from '\S+\/socket\.io\/socket\.io\.js'/;
    assert.deepEqual(complaints.filter((c) => way.withClient || !missing.test(c)), []);
  });

  test(`the demo page comes back after the server was killed, by ${way.name}`, async () => {
    const server = await serve(way.withClient);
    const page = await open(`${server.base}/demo/ticker`);
    await up(page);
    await server.kill();
    await page.waitForSelector('#state[data-state="wait"]');
    const args = way.withClient ? ["--config", join(folder, "skein.yaml")] : [];
    const again = await start(binary.path, server.port, ...args);
    ends.push(again.stop);
    await up(page);
    await say(again, 4321);
    await shows(page, 4321);
  });
}

test("the demo server says numbers by itself, the same to both kinds of pages", async () => {
  const server = await serve(true);
  const page = await open(`${server.base}/demo/ticker`);
  const other = await context.newPage();
  await other.route("**/socket.io/socket.io.js", (route) => route.fulfill({ status: 404 }));
  await other.goto(`${server.base}/demo/ticker`);
  await Promise.all([up(page), up(other)]);
  await eventually(async () => assert.match(await other.locator("#way").textContent(), /^Plain WebSocket/));
  const seen = (p) => p.evaluate(() => new Promise((resolve) => {
    const list = [];
    new MutationObserver(() => {
      list.push(Number(document.getElementById("number").textContent));
      if (list.length === 2) resolve(list);
    }).observe(document.getElementById("number"), { childList: true });
  }));
  const [a, b] = await Promise.all([seen(page), seen(other)]);
  assert.deepEqual(a, b);
  for (const number of a) assert.ok(number >= 1 && number <= 100, `the number is ${number}`);
});

test("the index leads to the ticker", async () => {
  const server = await serve(false);
  const page = await open(`${server.base}/demo/`);
  await page.locator('a[href="ticker.html"]').click();
  await up(page);
});

// example starts examples/ticker and gives its address.
async function example(...flags) {
  const path = join(folder, "ticker");
  const built = spawnSync("go", ["build", "-o", path, "./examples/ticker"], { cwd: root, encoding: "utf8" });
  assert.equal(built.status, 0, built.stderr);
  const child = spawn(path, ["-listen", "127.0.0.1:0", "-data", join(folder, "data"), "-client", client, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  ends.push(async () => {
    child.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], "it ends in order");
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const found = /^listening on (http:\/\/\S+)$/.exec(line);
    if (found) return found[1];
  }
  throw new Error("the example does not listen");
}

test("the example pushes one number to all pages at once", async () => {
  const base = await example("-every", "300ms");
  const complaints = watch(context, base);
  const pages = [], arrived = []; // by page: the numbers, as packets
  for (let i = 0; i < 3; i++) {
    const page = await context.newPage();
    const packets = [];
    page.on("websocket", (ws) => ws.on("framereceived", ({ payload }) => {
      if (payload.startsWith("42")) packets.push(payload);
    }));
    await page.goto(base);
    pages.push(page);
    arrived.push(packets);
  }
  while (arrived.some((packets) => packets.length < 4)) await pages[0].waitForTimeout(20);
  const last = arrived[2].slice(0, 3);
  for (const packet of last) assert.match(packet, /^42\/test_conn,\["server_response",\{"data":\d+\}\]$/);
  // Whoever came earlier has seen the same ones in the same order, each once.
  for (const packets of arrived) assert.ok(packets.join("\n").includes(last.join("\n")), JSON.stringify(arrived));
  for (const page of pages) assert.match(await page.locator("#number").textContent(), /^\d+$/);
  assert.deepEqual(complaints, []);
});
