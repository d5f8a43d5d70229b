// People who talk to each other, each window a browser of its own, and a server
// that each test gets anew.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, afterEach, before, beforeEach } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, watch } from "./browser.mjs";
import { api, build, freePort, start } from "./server.mjs";

export const desktop = { viewport: { width: 1200, height: 760 } };
export const phone = { viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

export let browser, server;
export const ends = []; // what a test has opened
let binary, data;

before(async () => {
  binary = build();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  binary?.remove();
});

// A port may come twice, what was said to another server must not.
beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "skein-chat-"));
  server = await start(binary.path, await freePort(), "--data", data);
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
});

// again starts the server that was killed, at the same address.
export async function again() {
  server = await start(binary.path, server.port, "--data", data);
}

// window gives an empty page of a browser of its own; open leads it to a user's conversations.
export async function window(options = desktop, base = server.base) {
  const context = await browser.newContext(options);
  ends.push(() => context.close());
  context.setDefaultTimeout(20_000);
  const complaints = watch(context, base);
  return Object.assign(await context.newPage(), { complaints, base });
}

export async function open(user, { options, base, to, page } = {}) {
  page ??= await window(options, base);
  await page.goto(`${page.base}/demo/chat?user=${encodeURIComponent(user)}${to ? `#to=${encodeURIComponent(to)}` : ""}`);
  await up(page);
  return page;
}

export const up = (page) => page.locator('#state[data-state="up"]').waitFor();
export const down = (page) => page.locator('#state[data-state="wait"]').waitFor();

// direct is the channel of two plain names.
export const direct = (...users) => `dm:${users.sort().join(":")}`;
// pair opens the windows of ann and bob on what they say to each other.
export const pair = (more = {}) => Promise.all(["ann", "bob"].map((user) => open(user, { to: direct("ann", "bob"), ...more[user] })));
export const row = (page, title) => page.locator("#list a", { has: page.locator("b").getByText(title, { exact: true }) });
export const choose = async (page, title) => {
  await row(page, title).click();
  await page.locator("#title").getByText(title, { exact: true }).waitFor();
};
export const writeTo = async (page, user) => {
  await page.getByRole("button", { name: "New message to" }).click();
  await page.getByRole("textbox", { name: "To" }).fill(user);
  await page.getByRole("button", { name: "Write", exact: true }).click();
  await page.locator("#title").getByText(user, { exact: true }).waitFor();
};
export const makeGroup = async (page, title, ...users) => {
  await page.getByRole("button", { name: "New group" }).click();
  await page.getByRole("textbox", { name: "Title" }).fill(title);
  await page.getByRole("textbox", { name: /^People/ }).fill(users.join(", "));
  await page.getByRole("button", { name: "Make it" }).click();
  await page.locator("#title").getByText(title, { exact: true }).waitFor();
};
export const say = async (page, text) => {
  await page.locator("#text").fill(text);
  await page.locator("#text").press("Enter");
};

// shows waits until a window shows these texts of a conversation and no others, all stored.
export const shows = (page, ...texts) => page.waitForFunction((texts) => {
  const all = [...document.querySelectorAll("#messages > .message")];
  return all.every((el) => el.dataset.state === "sent") && JSON.stringify(all.map((el) => el.querySelector(".text").textContent)) === texts;
}, JSON.stringify(texts)).catch(async () => assert.deepEqual(await textsOf(page), texts));
export const textsOf = (page) => page.locator("#messages > .message .text").allTextContents();

export const message = (page, text) => page.locator("#messages > .message", { has: page.locator(".text").getByText(text, { exact: true }) });
export const isStatus = (page, text, status) => message(page, text).and(page.locator(`[data-status="${status}"]`)).waitFor();
export const does = async (page, text, what) => {
  await message(page, text).hover();
  await message(page, text).getByRole("button", { name: /What to do with it$/ }).click();
  await page.getByRole("menuitem", { name: what }).click();
};

// hasUnread waits for the badge of a conversation, 0 for none, and for the sum in the window's title.
export async function hasUnread(page, title, n, sum = n) {
  if (n) await row(page, title).locator(".badge").getByText(String(n), { exact: true }).waitFor();
  else await row(page, title).and(page.locator(":not(:has(.badge))")).waitFor();
  await page.waitForFunction((start) => (start ? document.title.startsWith(start) : !document.title.startsWith("(")), sum ? `(${sum}) ` : "");
}

// hide does what a browser does with a window that nobody sees any more.
export const hide = (page, hidden = true) => page.evaluate((hidden) => {
  Object.defineProperty(document, "visibilityState", { value: hidden ? "hidden" : "visible", configurable: true });
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}, hidden);

export const publish = (channel, ...texts) => texts.reduce((before, data) => before.then(() => api(server, "publish", { to: { channel }, data })), Promise.resolve());

// What the browser itself says about a server that is gone, and about an answer
// that is no success, is no fault of the page.
const ofBrowser = /WebSocket connection to|Failed to load resource|ERR_/;
export function nothingWrong(...pages) {
  for (const page of pages) assert.deepEqual(page.complaints.filter((c) => !ofBrowser.test(c)), []);
}
