// Old and new clients in Chromium, on a page of another origin than the
// server's. Up to 1.3.5 they read no poll answer but octets there.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { checks } from "./check.mjs";
import { target, within } from "./wire.mjs";

const check = checks(import.meta.filename);
const contract = target("TARGET_CONTRACT");
// The server allows this origin alone.
const origin = target("PAGE_ORIGIN");

const bundles = {
  "1.3.5": "sio1/socket.io.js",
  "1.7.4": "sio17/dist/socket.io.js",
  "2.5.0": "sio2/dist/socket.io.js",
  "4.8.4": "sio4/dist/socket.io.js",
};
const ways = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };

let browser, pages;

before(async () => {
  const names = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = process.env.CHROMIUM || names.find((name) => existsSync(name));
  if (!executablePath) throw new Error("no Chromium was found; run tools/setup-test, or set CHROMIUM to one");
  browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  pages = createServer((request, response) => {
    const path = bundles[request.url.slice(1)];
    response.setHeader("Content-Type", path ? "text/javascript" : "text/html; charset=utf-8");
    response.end(path ? readFileSync(new URL(`node_modules/${path}`, import.meta.url)) : `<!doctype html><link rel="icon" href="data:,"><script src="${request.url.slice("/page/".length)}"></script>`);
  });
  pages.listen(Number(new URL(origin).port), "127.0.0.1");
  await once(pages, "listening");
});

after(async () => {
  await browser?.close();
  pages?.close();
  pages?.closeAllConnections();
});

// run evaluates a function in a fresh page that has loaded a client.
async function run(t, version, fn, argument) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${origin}/page//${version}`);
  const result = page.evaluate(fn, { url: contract, ...argument });
  // A context that is closed while the page still waits must not fail another test.
  result.catch(() => {});
  return within(6000, result, "the page did not finish");
}

for (const version of Object.keys(bundles)) {
  for (const [way, transports] of Object.entries(ways)) {
    // Version 1.7 posts UTF-8 twice over, and takes the bytes of a text answer for
    // its characters, but nothing tells it from version 2: only ASCII is safe by polling.
    const text = version === "1.7.4" && way !== "websocket" ? "zwei <&>" : "zwei €😀 <&>";
    const it = (name, fn) => check(`client ${version} in a browser, ${way}: ${name}`, fn);

    it("namespace, named and unnamed events, acks both ways", async (t) => {
      const got = await run(t, version, async ({ url, transports, text }) => {
        const socket = io(`${url}/chat`, { transports, forceNew: true, reconnection: false });
        const next = (name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));
        socket.on("question", (n, answer) => answer(n + 1));
        const [welcome] = await next("welcome");
        const result = { same: welcome.id === socket.id || socket.id === undefined, recovered: welcome.recovered };
        const echoed = next("echo-back");
        socket.emit("echo", 1, text, { three: [null, true] });
        result.echo = (await echoed).slice(0, 3);
        const told = next("message");
        socket.send("hello");
        result.message = (await told)[0];
        result.ack = await new Promise((resolve) => socket.emit("echo-ack", "a", { b: 2 }, (...args) => resolve(args)));
        const answered = next("answered");
        socket.emit("ask-me");
        result.answered = (await answered)[0];
        result.order = await new Promise((resolve) => {
          const seen = [];
          socket.on("echo-back", (n) => {
            seen.push(n);
            if (seen.length === 200) resolve(seen.every((n, i) => n === i));
          });
          for (let i = 0; i < 200; i++) socket.emit("echo", i);
        });
        const last = transports[transports.length - 1];
        for (let i = 0; i < 200 && socket.io.engine.transport.name !== last; i++) await new Promise((wake) => setTimeout(wake, 20));
        result.transport = socket.io.engine.transport.name;
        socket.emit("kick");
        result.reason = (await next("disconnect"))[0];
        return result;
      }, { transports, text });
      const { same, ...rest } = got;
      // Clients 1.x have no id of their own.
      assert.ok(same || version.startsWith("1."), "the id it is told is another one");
      assert.deepEqual(rest, {
        recovered: false,
        echo: [1, text, { three: [null, true] }],
        message: "re:hello",
        ack: ["a", { b: 2 }],
        answered: 42,
        order: true,
        transport: transports.at(-1),
        reason: "io server disconnect",
      });
    });

    it("bytes come back, alone and nested", async (t) => {
      const got = await run(t, version, async ({ url, transports, text }) => {
        const socket = io(url, { transports, forceNew: true, reconnection: false });
        const next = (name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));
        await next("welcome");
        const list = (buffer) => Array.from(new Uint8Array(buffer));
        const told = next("message");
        socket.send(new Uint8Array([1, 2, 3, 255]).buffer);
        const alone = list((await told)[0]);
        const echoed = next("echo-back");
        const large = new Uint8Array(100_000).map((_, i) => i % 251);
        socket.emit("echo", { a: [new Uint8Array([4, 5]).buffer], text }, large.buffer);
        const [nested, back] = await echoed;
        const copy = new Uint8Array(back);
        const result = { alone, nested: list(nested.a[0]), text: nested.text, large: copy.length === large.length && copy.every((b, i) => b === large[i]) };
        socket.disconnect();
        return result;
      }, { transports, text });
      assert.deepEqual(got, { alone: [1, 2, 3, 255], nested: [4, 5], text, large: true });
    });
  }
}
