// The pages of the game: the way in, what they look like, and who can use them.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { basics as checked } from "./basics.mjs";
import { eventually, watch } from "./browser.mjs";
import { browser, desktop, ends, entry, game, nothingWrong, open, phone, place, press, read, says, server, shows, table, up } from "./game.mjs";

test("the way in: plain links, and all on one screen", async () => {
  const page = await open("start", { viewport: { width: 1500, height: 1000 } });
  const href = (name) => page.getByRole("link", { name }).getAttribute("href");
  assert.equal(await href(/^The desk/), `/demo/game?desk&game=${game}`);
  assert.equal(await href(/^Tablet of Anna/), `/demo/game?player=anna&game=${game}`);
  const [popup] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("link", { name: /^The desk/ }).click()]);
  await popup.locator('[data-player="cleo"]').waitFor();
  await popup.close();
  await page.getByRole("button", { name: "Show a desk and two tablets here" }).click();
  const desk = page.frameLocator('iframe[title="The desk"]'), tablet = page.frameLocator('iframe[title="Tablet of Ben"]');
  await desk.getByLabel("Ben: Gold +1", { exact: true }).click();
  await tablet.locator(place("ben", "gold"), { hasText: /^6$/ }).waitFor();
  nothingWrong(page);
});

test("the index leads to the game, and its five lines work", async () => {
  const context = await browser.newContext(desktop);
  ends.push(() => context.close());
  const complaints = watch(context, server.base);
  const index = await context.newPage();
  await index.goto(`${server.base}/demo/`);
  const shown = (await index.locator("#five").textContent()).trim();
  const [start] = await Promise.all([context.waitForEvent("page"), index.getByRole("link", { name: "Choose", exact: true }).click()]);
  await up(start);
  const a = await context.newPage(), b = await context.newPage();
  for (const page of [a, b]) {
    await page.goto(`${server.base}/demo/points.html`);
    await page.locator("#points", { hasText: /^\d+$/ }).waitFor();
  }
  assert.equal((await a.locator("script").textContent()).trim(), shown);
  const n = Number(await a.locator("#points").textContent());
  await a.getByRole("button", { name: "One more" }).click();
  await b.locator("#points", { hasText: new RegExp(`^${n + 1}$`) }).waitFor();
  for (let i = 0; i <= n + 1; i++) await b.getByRole("button", { name: "One less" }).click();
  await b.locator("#note", { hasText: "min" }).waitFor();
  await a.locator("#points", { hasText: /^0$/ }).waitFor();
  assert.deepEqual(complaints, []);
});

test("a server without the client says so, and one without the channel, too", async () => {
  const context = await browser.newContext(desktop);
  ends.push(() => context.close());
  await context.route("**/sdk/skein.js", (route) => route.fulfill({ status: 404 }));
  const page = await context.newPage();
  await page.goto(`${server.base}/demo/game?desk`);
  await page.getByText("This server has no JavaScript client to give").waitFor();
  await context.unroute("**/sdk/skein.js");
  await page.goto(`${server.base}/demo/game?desk&game=a%20b%00`);
  await page.locator('#state[data-state="down"]').waitFor();
  await page.locator("#notes").getByText("This demo needs a server in development mode").waitFor();
});

const more = ".label span, .value span, .value i, .here, .what";
const basics = (page, smallest) => checked(page, smallest, more);

for (const colorScheme of ["light", "dark"]) {
  test(`in the ${colorScheme}, on a desk and on a small phone: all fits, has a name and can be read`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "skein-game-"));
    const desk = await open("desk", { ...desktop, colorScheme });
    await desk.locator('[data-player="cleo"]').waitFor();
    const anna = await open("player=anna", { ...phone, colorScheme, viewport: { width: 320, height: 640 } });
    await shows(anna, "anna", "gold", 12);
    await press(desk, "Ben: Hit points −5");
    await desk.getByRole("button", { name: "Heal all" }).click();
    await press(anna, "Anna: bow +1");
    await press(anna, "Anna: Hit points −1");
    await press(anna, "Ben: Hit points −1");
    await says(anna, "Only the desk may change Ben.");
    await desk.getByRole("button", { name: "Next round" }).click();
    await entry(desk, "Ben: hit points 32 → 27").getByRole("button").click();
    await desk.getByRole("alert").waitFor();
    await anna.getByText("Round 2").waitFor();
    await desk.screenshot({ path: join(folder, "desk.png"), animations: "disabled" });
    await anna.screenshot({ path: join(folder, "tablet.png"), animations: "disabled", fullPage: true });
    t.diagnostic(`screenshots in ${folder}`);
    assert.deepEqual(await basics(desk, 24), []); // WCAG 2.2, 2.5.8
    assert.deepEqual(await basics(anna, 32), []);
    const start = await open("start", { ...phone, colorScheme, viewport: { width: 320, height: 640 } });
    await start.getByRole("link", { name: /^Tablet of Ben/ }).waitFor();
    assert.deepEqual(await basics(start, 24), []);
    const small = await open("desk", { ...phone, colorScheme });
    await small.locator('[data-player="cleo"]').waitFor();
    assert.deepEqual(await basics(small, 24), []);
    nothingWrong(desk, anna, start, small);
  });
}

test("the keyboard does all, and keeps its place", async () => {
  const [desk, anna] = await table("anna");
  const minus = anna.getByLabel("Anna: Hit points −1", { exact: true });
  for (let i = 0; i < 10 && !(await minus.evaluate((el) => el === document.activeElement)); i++) await anna.keyboard.press("Tab");
  for (let i = 0; i < 26; i++) await anna.keyboard.press("Enter");
  // The end of the hit points takes neither the focus nor a click.
  await shows(anna, "anna", "hp", 0);
  await eventually(async () => assert.equal(await minus.getAttribute("aria-disabled"), "true"));
  await eventually(async () => assert.equal(await minus.evaluate((el) => el === document.activeElement), true));
  await shows(desk, "anna", "hp", 0);
  const undo = entry(desk, "Anna: hit points 1 → 0").getByRole("button");
  await undo.focus();
  await desk.keyboard.press("Space");
  await shows(anna, "anna", "hp", 1);
  await desk.locator(".feed li", { hasText: "by undo: Anna: hit points 0 → 1" }).waitFor();
  await eventually(async () => assert.equal(await undo.evaluate((el) => el === document.activeElement), true));
  nothingWrong(desk, anna);
});
