// The board: several values on one page, over one connection.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { basics } from "./basics.mjs";
import { eventually, launch, watch } from "./browser.mjs";
import { build, freePort, start } from "./server.mjs";

let binary, browser, server;
const ends = [];

before(async () => {
  binary = build();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  binary?.remove();
});

beforeEach(async () => { server = await start(binary.path, await freePort()); });

afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  await server?.stop();
});

// open gives a board in a window of its own, with the WebSockets that it has opened.
async function open(options = {}) {
  const context = await browser.newContext(options);
  ends.push(() => context.close());
  context.setDefaultTimeout(20_000);
  const complaints = watch(context, server.base);
  const page = await context.newPage();
  const sockets = [];
  page.on("websocket", (ws) => sockets.push(ws));
  await page.goto(`${server.base}/demo/board`);
  await page.locator('#state[data-state="up"]').waitFor();
  return Object.assign(page, { complaints, sockets });
}

const shows = (page, id, text) => page.locator(`#${id}`).getByText(String(text), { exact: true }).waitFor();

// changes gives the next so many texts of an element.
const changes = (page, id, n) => page.evaluate(([id, n]) => new Promise((resolve) => {
  const list = [], el = document.getElementById(id);
  new MutationObserver((_, observer) => {
    list.push(el.textContent);
    if (list.length === n) resolve(list, observer.disconnect());
  }).observe(el, { childList: true });
}), [id, n]);

test("all values change over one WebSocket", async () => {
  const page = await open();
  const [times, places, scores] = await Promise.all([changes(page, "time", 4), changes(page, "place", 2), changes(page, "score", 25)]);
  assert.equal(new Set(times).size, 4);
  assert.equal(new Set(places).size, 2);
  const numbers = scores.map((text) => Number(text.replace(/\D/g, "")));
  for (let i = 1; i < numbers.length; i++) assert.ok(numbers[i] > numbers[i - 1], `the score goes from ${numbers[i - 1]} to ${numbers[i]}`);
  await page.waitForFunction(() => Number(document.getElementById("updates").textContent) >= 9);
  await shows(page, "connections", 1);
  assert.equal(page.sockets.length, 1);
  await eventually(async () => assert.match(await page.locator("#bars").getAttribute("d"), /^(M-?[\d.]+ 9v-[0-9]h\.8v[0-9]z){20,}$/));
  assert.deepEqual(page.complaints, []);
});

test("two pages see the same, and the number of pages goes to two and back", async () => {
  const one = await open();
  await shows(one, "heads", 1);
  const two = await open();
  for (const page of [one, two]) await shows(page, "heads", 2);
  const [a, b] = await Promise.all([one, two].map((page) => changes(page, "score", 20)));
  const common = a.filter((score) => b.includes(score));
  assert.ok(common.length > 0, `${a} and ${b} have nothing in common`);
  await two.close();
  await shows(one, "heads", 1);
  assert.deepEqual([...one.complaints, ...two.complaints], []);
});

test("the board comes back after the server was killed, with one WebSocket", async () => {
  const page = await open();
  await changes(page, "score", 3);
  await server.kill();
  await page.locator('#state[data-state="wait"]').waitFor();
  await shows(page, "connections", 0);
  server = await start(binary.path, server.port);
  await page.locator('#state[data-state="up"]').waitFor();
  await Promise.all([changes(page, "score", 10), changes(page, "time", 2)]);
  await shows(page, "heads", 1);
  await shows(page, "connections", 1);
  assert.equal(page.sockets.filter((ws) => !ws.isClosed()).length, 1);
});

for (const colorScheme of ["light", "dark"]) {
  test(`in the ${colorScheme}, on a wide screen and on a small phone: all fits and can be read`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "skein-board-"));
    for (const [name, options] of Object.entries({
      wide: { viewport: { width: 1200, height: 860 } }, small: { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
    })) {
      const page = await open({ ...options, colorScheme });
      await changes(page, "place", 1);
      await changes(page, "score", 100);
      await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
      await page.getByText("All the script of this page").click();
      assert.equal(await page.locator("#source").textContent(), (await page.locator("script").textContent()).trim());
      assert.deepEqual(await basics(page, 24), []);
      assert.deepEqual(page.complaints, []);
    }
    t.diagnostic(`screenshots in ${folder}`);
  });
}
