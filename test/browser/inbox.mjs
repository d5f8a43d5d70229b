// Devices of users and a sender, each window a browser of its own, and a server
// that each test gets anew.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { launch, watch } from "./browser.mjs";
import { api, build, freePort, start } from "./server.mjs";

export const desktop = { viewport: { width: 1440, height: 1000 } };
export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

export let binary, browser, server;
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
  // Where it is noon: no day ends while a test counts what came on it.
  const hours = 12 - new Date().getUTCHours();
  await api(server, "users.put", { id: "ann", attributes: { tz: `Etc/GMT${hours > 0 ? "-" : "+"}${Math.abs(hours)}` } });
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await server?.stop();
});

// again starts the server that was killed, at the same address.
export async function again() {
  server = await start(binary.path, server.port);
}

// open gives a page in a window of its own. Its got are the messages of the inbox
// that came to it, as they came.
export async function open(path, options = desktop) {
  const context = await browser.newContext(options);
  ends.push(() => context.close());
  context.setDefaultTimeout(20_000);
  const complaints = watch(context, server.base);
  const page = await context.newPage();
  const got = [];
  page.on("websocket", (ws) => ws.on("framereceived", ({ payload }) => {
    const frame = JSON.parse(payload);
    if (frame.type === "msg" && frame.channel === "@inbox") got.push(frame);
  }));
  await page.goto(server.base + path);
  return Object.assign(page, { complaints, got });
}

// device opens a device of ann, or of somebody else, and waits until it is connected.
export async function device(name, { user = "ann", options = phone } = {}) {
  const page = await open(`/demo/inbox?user=${user}&device=${name}`, options);
  await up(page);
  return page;
}

export const up = (page) => page.locator('#state[data-state="up"]').waitFor();

export const goes = async (page) => {
  await page.getByRole("switch", { name: "Online" }).uncheck();
  await page.locator("#state", { hasText: /^Offline$/ }).waitFor();
};

export const comes = async (page) => {
  await page.getByRole("switch", { name: "Online" }).check();
  await up(page);
};

export const byHand = (page) => page.getByRole("switch", { name: "Acknowledge by itself" }).uncheck();

// push sends a text to ann and gives the server's answer.
export const push = (text, params) => api(server, "push", { to: { users: ["ann"] }, data: { text }, ...params });

// shows waits until a device shows these texts, the newest first, and no others.
export const shows = (page, ...texts) => page.waitForFunction((texts) => {
  const shown = [...document.querySelectorAll("#list .text")].map((el) => el.textContent);
  return JSON.stringify(shown) === texts;
}, JSON.stringify(texts));

// message is the line of a device about the message with this text.
export const message = (page, text) => page.locator("#list li", { has: page.locator(".text").getByText(text, { exact: true }) });

export const isAcked = (page, text) => message(page, text).and(page.locator('[data-acked="true"]')).waitFor();
export const isOpen = (page, text) => message(page, text).and(page.locator('[data-acked="false"]')).waitFor();
export const acknowledge = (page, text) => message(page, text).getByRole("button", { name: "Acknowledge" }).click();
export const hasUnread = (page, n) => page.locator("#unread").getByText(String(n), { exact: true }).waitFor();
export const says = (page, text) => page.locator("#notes").getByText(text).waitFor();

// until asks a verb until what it says is right: nothing tells it to who asks.
export async function until(verb, params, right) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const said = await api(server, verb, params);
    if (right(said)) return said;
    if (Date.now() > deadline) throw new Error(`${verb} still says ${JSON.stringify(said)}`);
    await wait(25);
  }
}

// becomes waits until the message has this outcome for the one user who has it, and gives the record.
export async function becomes(message, outcome) {
  const { items: [record] } = await until("records", { message }, ({ items }) => items.length === 1 && items[0].outcome === outcome);
  return record;
}

// mutes waits until ann has muted these categories.
export const mutes = (...names) => until("categories.mute", { user: "ann" }, ({ muted }) => muted.join() === names.join());

// What the browser itself says about a server that is gone, and about an answer
// that is no success, is no fault of the page.
const ofBrowser = /WebSocket connection to|Failed to load resource|ERR_/;
export function nothingWrong(...pages) {
  for (const page of pages) assert.deepEqual(page.complaints.filter((c) => !ofBrowser.test(c)), []);
}
