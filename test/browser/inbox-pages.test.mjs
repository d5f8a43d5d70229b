// The pages of the inbox: the sender with its devices, what they look like, and
// who can use them.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { eventually } from "./browser.mjs";
import { basics } from "./basics.mjs";
import { acknowledge, byHand, desktop, device, isAcked, isOpen, nothingWrong, open, phone, push, says, shows, up } from "./inbox.mjs";

// sender opens the sender; its phone and its tablet are in it.
async function sender(options = desktop) {
  const page = await open("/demo/inbox", options);
  await up(page);
  const [one, two] = ["phone", "tablet"].map((kind) => page.frameLocator(`iframe[title="The ${kind} of ann"]`));
  for (const frame of [one, two]) await up(frame);
  return [page, one, two];
}

const send = async (page, text, { category = "orders", times = "1", ...more } = {}) => {
  await page.getByLabel("Text", { exact: true }).fill(text);
  await page.getByLabel("Category", { exact: true }).selectOption(category);
  await page.getByLabel("How many").selectOption(times);
  if (more.collapse !== undefined) await page.getByLabel("Takes the place of").fill(more.collapse);
  if (more.expires !== undefined) await page.getByLabel("Good for").selectOption(more.expires);
  await page.getByRole("button", { name: "Push", exact: true }).click();
};

const record = (page, text, outcome) => page.locator(`#records tr[data-text="${text}"][data-outcome="${outcome}"]`);
const textsIn = (frame) => frame.locator("#list .text").allTextContents();

test("four promos: three come, the fourth is in the inbox, and the records say why", async () => {
  const [page, one, two] = await sender();
  await page.locator('[data-explain="promo"]', { hasText: "it would come" }).waitFor();
  await send(page, "A sale", { category: "promo", times: "4" });
  for (const n of [1, 2, 3]) await record(page, `A sale (${n})`, "delivered").waitFor();
  const capped = record(page, "A sale (4)", "capped");
  await capped.getByText("promo: 3 per day", { exact: true }).waitFor();
  await capped.getByRole("button", { name: /^Recall/ }).waitFor({ state: "hidden" });
  for (const frame of [one, two]) {
    await frame.locator("#list li").nth(2).waitFor();
    assert.deepEqual(await textsIn(frame), ["A sale (3)", "A sale (2)", "A sale (1)"]);
  }
  await page.locator('[data-explain="promo"]', { hasText: /it would not come: capped by promo: 3 per day until .*; used 3 of 3 per day, 3 of 10 per week/ }).waitFor();
  await page.locator('[data-explain="orders"]', { hasText: "it would come" }).waitFor();
  await eventually(async () => assert.match(await page.locator("#answer").textContent(), /"counts":\{"capped":1\}/));
  await one.getByRole("button", { name: "Show all of the inbox" }).click();
  await one.locator("#list li", { hasText: "A sale (4)" }).getByText("over a cap: it did not interrupt").waitFor();
  nothingWrong(page);
});

test("the sender sees what its devices do, and takes back what none has acknowledged", async () => {
  const [page, one, two] = await sender();
  for (const frame of [one, two]) await byHand(frame);
  await send(page, "Wrong address");
  await record(page, "Wrong address", "sent").waitFor();
  await one.locator("#list li", { hasText: "Wrong address" }).waitFor();
  await page.getByRole("button", { name: /^Recall Wrong address/ }).click();
  await record(page, "Wrong address", "recalled").waitFor();
  for (const frame of [one, two]) await frame.locator("#list li").waitFor({ state: "detached" });

  await send(page, "Packed", { collapse: "order:17" });
  for (const frame of [one, two]) await frame.locator("#list li", { hasText: "Packed" }).waitFor();
  await two.getByRole("button", { name: /^Acknowledge \d+: Packed$/ }).click();
  await record(page, "Packed", "delivered").getByText("tablet", { exact: true }).waitFor();
  await one.locator('#list li[data-acked="true"]', { hasText: "Packed" }).waitFor();
  await send(page, "Shipped", { collapse: "order:17" });
  for (const frame of [one, two]) {
    await frame.locator("#list li", { hasText: "Shipped" }).waitFor();
    assert.deepEqual(await textsIn(frame), ["Shipped"]);
  }

  for (const frame of [one, two]) await frame.getByRole("switch", { name: "Online" }).uncheck();
  await send(page, "For later", { collapse: "" });
  await record(page, "For later", "queued").waitFor();
  await one.getByRole("switch", { name: "Online" }).check();
  await record(page, "For later", "sent").waitFor();
  await one.getByRole("button", { name: "Mark all read" }).click();
  await record(page, "For later", "delivered").getByText("phone", { exact: true }).waitFor();
  nothingWrong(page);
});

test("the sender pushes to somebody else, whose devices it then shows", async () => {
  const [page] = await sender();
  await page.getByLabel("To the user").fill("bob");
  await page.getByRole("button", { name: "Push", exact: true }).click();
  await page.getByRole("heading", { name: "A sender and two devices of bob" }).waitFor();
  await up(page.frameLocator('iframe[title="The phone of bob"]'));
  nothingWrong(page);
});

test("the index leads to the inbox and to the board", async () => {
  const page = await open("/demo/");
  for (const [link, heading] of [["Sender and devices", "A sender and two devices of ann"], ["Phone of Ann", "ann’s phone"], ["The board", "One connection, many values"]]) {
    const [popup] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("link", { name: link }).click()]);
    await popup.getByRole("heading", { name: heading }).waitFor();
    await up(popup);
    await popup.close();
  }
  nothingWrong(page);
});

test("a server without the client says so, and one that does not take the key, too", async () => {
  const page = await open("/demo/");
  await page.route("**/sdk/skein.js", (route) => route.fulfill({ status: 404 }));
  await page.goto(new URL("/demo/inbox?user=ann&device=phone", page.url()).href);
  await page.getByText("This server has no JavaScript client to give").waitFor();
  await page.route("**/api/v1/*", (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body: '{"code":"unauthorized","title":"no key"}' }));
  await page.goto(new URL("/demo/inbox", page.url()).href);
  await page.locator('#state[data-state="down"]', { hasText: "skein serve --dev" }).waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  test(`in the ${colorScheme}, on a desk and on a small phone: all fits, has a name and can be read`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "skein-inbox-"));
    const small = { ...phone, colorScheme, viewport: { width: 320, height: 640 } };
    const [page, one] = await sender({ ...desktop, colorScheme });
    await byHand(one);
    await one.getByRole("button", { name: "Show all of the inbox" }).click();
    await send(page, "Your order is on its way");
    await send(page, "A sale", { category: "promo", times: "4" });
    await send(page, "The weather", { category: "news", expires: "2h" });
    await record(page, "A sale (4)", "capped").waitFor();
    await record(page, "The weather", "delivered").waitFor(); // the tablet acknowledges
    await one.locator("#list li", { hasText: "A sale (4)" }).waitFor();
    await page.screenshot({ path: join(folder, "sender.png"), animations: "disabled", fullPage: true });
    assert.deepEqual(await basics(page, 24), []); // WCAG 2.2, 2.5.8

    const own = await device("watch", { options: small });
    await byHand(own);
    await push("Somebody is at the door", { category: "orders", expires: "1h" });
    await isOpen(own, "Somebody is at the door");
    await own.screenshot({ path: join(folder, "device.png"), animations: "disabled", fullPage: true });
    assert.deepEqual(await basics(own, 32), []);
    const little = await open("/demo/inbox", small);
    await up(little);
    assert.deepEqual(await basics(little, 24), []);
    t.diagnostic(`screenshots in ${folder}`);
    nothingWrong(page, own, little);
  });
}

test("the keyboard does all, and keeps its place", async () => {
  const page = await device("phone", { options: desktop });
  const focused = (locator) => locator.evaluate((el) => el === document.activeElement);
  const tabTo = async (locator) => {
    for (let i = 0; i < 20 && !(await focused(locator)); i++) await page.keyboard.press("Tab");
    assert.ok(await focused(locator), "the keyboard does not get there");
  };
  await tabTo(page.locator("#auto"));
  await page.keyboard.press("Space");
  await push("one");
  await isOpen(page, "one");
  const ack = page.getByRole("button", { name: "Acknowledge 1: one" });
  await tabTo(ack);
  await push("two"); // what comes meanwhile does not take the focus away
  await isOpen(page, "two");
  assert.ok(await focused(ack));
  await page.keyboard.press("Enter");
  await isAcked(page, "one");
  await acknowledge(page, "two");
  await isAcked(page, "two");
  await tabTo(page.locator("#read"));
  await page.keyboard.press("Enter");
  await page.locator('#read[aria-disabled="true"]').waitFor();
  assert.ok(await focused(page.locator("#read")), "a button that has nothing to do keeps the focus");
  await page.locator("#mute-orders").focus();
  await page.keyboard.press("Space");
  await says(page, "orders cannot be muted");
  await shows(page, "two", "one");
  nothingWrong(page);
});
