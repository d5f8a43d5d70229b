// The table of the game: windows behind networks of their own, and a server that
// each test gets anew.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { launch, watch } from "./browser.mjs";
import { proxy } from "./proxy.mjs";
import { api, build, freePort, start } from "./server.mjs";

export const desktop = { viewport: { width: 1360, height: 900 } };
export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

export let binary, browser, server, game;
let games = 0;
export const ends = []; // what a test has opened

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
  game = `test-${++games}`;
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await server?.stop();
});

// again starts the server that was killed, at the same address.
export async function again() {
  server = await start(binary.path, server.port);
}

// open gives a window of its own, behind a network of its own that can be pulled.
export async function open(who, options = who === "desk" ? desktop : phone) {
  const net = await proxy(server.port);
  ends.push(net.close);
  const context = await browser.newContext(options);
  ends.push(() => context.close());
  context.setDefaultTimeout(20_000);
  const complaints = watch(context, net.base);
  const page = await context.newPage();
  await page.goto(`${net.base}/demo/game?${who}&game=${game}`);
  return Object.assign(page, {
    complaints,
    net,
    async pull() {
      net.cut();
      await page.locator('#state[data-state="wait"]', { hasText: "Offline" }).waitFor();
      // Only now: a browser that knows that it is offline does not look at its sockets any more.
      await context.setOffline(true);
    },
    async plug() {
      net.mend();
      await context.setOffline(false);
      await up(page);
    },
  });
}

// table opens the desk, which begins the game, and then tablets.
export async function table(...players) {
  const desk = await open("desk");
  await desk.locator('[data-player="cleo"]').waitFor();
  const tablets = await Promise.all(players.map((player) => open(`player=${player}`)));
  for (const tablet of tablets) await tablet.locator('[data-player="cleo"]').waitFor();
  return [desk, ...tablets];
}

export const up = (page) => page.waitForSelector('#state[data-state="up"]');
export const settled = (page) => page.waitForFunction(() => document.getElementById("pending").hidden);
export const place = (player, field) => `[data-player="${player}"] [data-field="${field}"] .value > span`;
export const read = async (page, player, field) => Number(await page.locator(place(player, field)).textContent());
export const press = (page, label) => page.getByLabel(label, { exact: true }).click();
export const says = (page, text) => page.locator("#notes").getByText(text, { exact: true }).waitFor();
export const stored = async () => (await api(server, "doc.get", { channel: `arena:${game}` })).data;

export async function shows(page, player, field, n) {
  await page.waitForFunction(([selector, n]) => document.querySelector(selector)?.textContent === String(n), [place(player, field), n]);
}

// entry is a line of the list of changes, by what it says.
export const entry = (desk, text) => desk.locator(".feed li", { has: desk.locator(".what").getByText(text, { exact: true }) });

// everything that a page shows of the players, to compare windows with.
export const numbers = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("[data-player]")].map((card) => [
  card.dataset.player, card.querySelector('[data-field="hp"] .value').textContent,
])));

// What the browser itself says about a network that is gone, and about an answer
// that is no success, is no fault of the page.
const ofBrowser = /WebSocket connection to|Failed to load resource|ERR_/;
export function nothingWrong(...pages) {
  for (const page of pages) assert.deepEqual(page.complaints.filter((c) => !ofBrowser.test(c)), []);
}
