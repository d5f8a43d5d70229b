// The page of the conversations: who can use it, on what, and what it looks like.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { eventually } from "./browser.mjs";
import { choose, desktop, direct, does, hasUnread, makeGroup, message, nothingWrong, open, phone, row, say, server, shows, textsOf, up, window, writeTo } from "./chat.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// faults are what axe finds: the rules of WCAG 2.2 AA, and what it thinks is good practice.
async function faults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, impact, nodes }) => `${impact}: ${id}: ${nodes.map((n) => `${n.html.slice(0, 160)} ${n.failureSummary}`).join(" | ")}`);
}

// talk has people say something worth looking at; ann's window is the one that is looked at.
async function talk(options) {
  const bob = await open("bob"), eve = await open("eve"), ann = await open("ann", { options });
  await writeTo(eve, "ann");
  await say(eve, "Did you see the photos from Saturday?");
  await say(eve, "The second one is the best");
  await writeTo(bob, "ann");
  for (const text of ["Morning! Are you coming to the launch on Friday?", "Kim has two more seats in the car."]) await say(bob, text);
  await row(ann, "bob").waitFor();
  await choose(ann, "bob");
  await say(ann, "Morning Bob! Yes, if the weather holds.");
  await shows(bob, "Morning! Are you coming to the launch on Friday?", "Kim has two more seats in the car.", "Morning Bob! Yes, if the weather holds.");
  await does(bob, "Morning Bob! Yes, if the weather holds.", "Reply");
  await say(bob, "They say it will be clear from noon on");
  await message(ann, "They say it will be clear from noon on").waitFor();
  await say(ann, "Perfect. I bring the telescope and the big thermos, you bring the cake");
  await makeGroup(bob, "Rocket club", "ann", "eve", "kim");
  await say(bob, "@ann do we have the permit?");
  await ann.waitForFunction(() => document.title.startsWith("(3) "));
  return { ann, bob, eve };
}

test("nothing that somebody writes becomes part of the page, and names may be anything", async () => {
  const evil = '<img src=x onerror="document.title=1">', other = "</script><script>alert(1)</script>", name = "a:b % ü <b>";
  const ann = await open(evil), bob = await open(name);
  await writeTo(ann, name);
  await say(ann, other);
  await say(ann, evil);
  await choose(bob, evil);
  await shows(bob, other, evil);
  await say(bob, `to @${evil} and more`);
  await message(ann, `to @${evil} and more`).locator(".mention.me").waitFor();
  await does(ann, `to @${evil} and more`, "Reply");
  await say(ann, "&lt;i&gt;");
  await message(bob, "&lt;i&gt;").locator(".quote span").getByText(evil).waitFor();
  await makeGroup(ann, evil, name, "<svg onload=alert(1)>");
  await say(ann, `@${name} look`);
  await ann.getByRole("button", { name: "Details" }).click();
  await ann.locator("#members li").nth(2).waitFor();
  await bob.locator("#list a").nth(1).waitFor();
  for (const page of [ann, bob]) {
    await eventually(async () => assert.deepEqual(await page.locator("img, #app b b, svg[onload], script:not([type])").count(), 0));
    assert.match(await page.title(), / · Chat · Skein$/);
  }
  nothingWrong(ann, bob);
});

test("who has no name is asked for one, which stays in the address", async () => {
  const page = await window(desktop);
  await page.goto(`${server.base}/demo/chat`);
  await page.getByRole("textbox", { name: "Your name" }).fill("ann & co");
  await page.keyboard.press("Enter");
  await up(page);
  await page.getByRole("heading", { name: "ann & co" }).waitFor();
  assert.equal(new URL(page.url()).searchParams.get("user"), "ann & co");
  nothingWrong(page);
});

test("a server without the client says so", async () => {
  const page = await window(desktop);
  await page.route("**/sdk/chat.js", (route) => route.fulfill({ status: 404 }));
  await page.goto(`${server.base}/demo/chat?user=ann`);
  await page.getByText("This server has no JavaScript client to give").waitFor();
});

test("the keyboard does all", async () => {
  const { ann, bob } = await talk(desktop);
  const focused = (locator) => locator.evaluate((el) => el === document.activeElement);
  const tabTo = async (locator, key = "Tab") => {
    for (let i = 0; i < 20 && !(await focused(locator)); i++) await ann.keyboard.press(key);
    assert.ok(await focused(locator), "the keyboard does not get there");
  };
  // The list is one stop; the arrows go through it.
  await ann.locator("#text").focus();
  await tabTo(row(ann, "bob"), "Shift+Tab");
  await ann.keyboard.press("Home");
  assert.ok(await focused(row(ann, "Rocket club")));
  await ann.keyboard.press("ArrowDown");
  await ann.keyboard.press("ArrowUp");
  await say(bob, "Anybody?"); // what comes meanwhile does not take the focus away
  await row(ann, "Rocket club").getByText("bob: Anybody?").waitFor();
  assert.ok(await focused(row(ann, "Rocket club")));
  await ann.keyboard.press("Enter");
  await ann.locator("#title").getByText("Rocket club").waitFor();
  assert.ok(await focused(ann.locator("#text")), "one may write at once");
  await ann.keyboard.type("first");
  await ann.keyboard.press("Shift+Enter");
  await ann.keyboard.type("second @");
  await ann.locator("#names").getByRole("option").first().waitFor();
  await ann.keyboard.press("Escape");
  await ann.locator("#names").waitFor({ state: "hidden" });
  await ann.keyboard.type("b");
  await ann.locator("#names").getByRole("option", { name: "bob" }).waitFor();
  await ann.keyboard.press("Enter");
  await ann.keyboard.press("Enter");
  await message(bob, "first\nsecond @bob").locator(".mention.me").waitFor();
  // Messages are one stop, too.
  const actions = (text) => message(ann, text).getByRole("button", { name: /What to do with it$/ });
  await tabTo(actions("first\nsecond @bob"), "Shift+Tab");
  await ann.keyboard.press("ArrowUp");
  assert.ok(await focused(actions("Anybody?")));
  await ann.keyboard.press("Enter");
  await ann.getByRole("menu").waitFor();
  await ann.keyboard.press("ArrowDown");
  await ann.keyboard.press("Escape");
  await ann.getByRole("menu").waitFor({ state: "detached" });
  assert.ok(await focused(actions("Anybody?")), "the focus is back");
  await ann.keyboard.press("Enter");
  await ann.keyboard.press("Enter"); // Reply
  await ann.locator("#about").getByText("Reply to bob").waitFor();
  await ann.keyboard.type("draft");
  await ann.keyboard.press("Escape");
  await ann.locator("#about").waitFor({ state: "hidden" });
  await eventually(async () => assert.equal(await ann.locator("#text").inputValue(), "draft"));
  await tabTo(ann.locator("#info"), "Shift+Tab");
  await ann.keyboard.press("Enter");
  await ann.locator("#members li").nth(3).waitFor();
  await ann.keyboard.press("Escape");
  assert.ok(await focused(ann.locator("#info")));
  await tabTo(ann.getByRole("button", { name: "New group" }), "Shift+Tab");
  await ann.keyboard.press("Enter");
  await ann.getByRole("dialog", { name: "New group" }).waitFor();
  await ann.keyboard.press("Escape");
  await ann.getByRole("dialog").waitFor({ state: "detached" });
  // What was being written is there when one comes back.
  await choose(ann, "eve");
  await eventually(async () => assert.equal(await ann.locator("#text").inputValue(), ""));
  await choose(ann, "Rocket club");
  await eventually(async () => assert.equal(await ann.locator("#text").inputValue(), "draft"));
  nothingWrong(ann, bob);
});

test("on a phone the list and a conversation are two screens", async () => {
  const { ann, bob } = await talk(phone);
  await eventually(async () => assert.equal(await ann.locator("#side").isVisible(), false));
  await ann.getByRole("button", { name: "Back to the list" }).tap();
  await ann.locator("#pane").waitFor({ state: "hidden" });
  await row(ann, "Rocket club").tap();
  await ann.locator("#side").waitFor({ state: "hidden" });
  await message(ann, "@ann do we have the permit?").waitFor();
  await ann.waitForFunction(() => document.title.startsWith("(2) "));
  await ann.goBack();
  await ann.locator("#pane").waitFor({ state: "hidden" });
  await hasUnread(ann, "Rocket club", 0, 2);
  // A conversation that is not on the screen is not read.
  await say(bob, "Hello?");
  await hasUnread(ann, "Rocket club", 1, 3);
  await row(ann, "Rocket club").tap();
  await ann.getByRole("button", { name: "Details" }).tap();
  await ann.locator("#members li").nth(3).waitFor();
  await ann.getByRole("button", { name: "Close the details" }).tap();
  await say(ann, "Yes, since Monday");
  await shows(bob, "@ann do we have the permit?", "Hello?", "Yes, since Monday");
  await eventually(async () => assert.equal(await ann.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0));
  nothingWrong(ann, bob);
});

for (const [name, options] of Object.entries({ light: { ...desktop, colorScheme: "light" }, dark: { ...desktop, colorScheme: "dark" }, phone: { ...phone, colorScheme: "light" }, "dark phone": { ...phone, colorScheme: "dark" } })) {
  test(`${name}: no rule of accessibility is broken, in any state of the page`, async (t) => {
    const folder = process.env.SCREENSHOTS ?? mkdtempSync(join(tmpdir(), "skein-chat-"));
    const shoot = (page, what) => page.screenshot({ path: join(folder, `${name}-${what}.png`.replace(" ", "-")), animations: "disabled" });
    const { ann, bob } = await talk({ ...options, reducedMotion: "reduce" });
    await message(ann, "Perfect. I bring the telescope and the big thermos, you bring the cake").and(ann.locator('[data-status="read"], [data-status="delivered"]')).waitFor();
    const check = async (what) => {
      await shoot(ann, what);
      assert.deepEqual(await faults(ann), [], what);
    };
    await check("direct");
    const list = async (title) => {
      if (await ann.locator("#back").isVisible()) await ann.locator("#back").click();
      if (title === undefined) return;
      await choose(ann, title);
    };
    await list();
    await check("list");
    await list("Rocket club");
    await say(ann, "It came on Monday @bob, and @everybody may see it");
    await does(ann, "It came on Monday @bob, and @everybody may see it", "Edit");
    await say(ann, "It came on Monday, @bob");
    await bob.locator("#text").pressSequentially("Great");
    await ann.locator("#typing").getByText("bob is typing").waitFor();
    await check("group");
    await ann.getByRole("button", { name: "Details" }).click();
    await ann.locator("#members li").nth(3).waitFor();
    await check("details");
    await ann.getByRole("button", { name: "Close the details" }).click();
    await message(ann, "It came on Monday, @bob").getByRole("button", { name: /What to do with it$/ }).click();
    await check("menu");
    await ann.keyboard.press("Escape");
    await list();
    await ann.getByRole("button", { name: "New group" }).click();
    await check("dialog");
    t.diagnostic(`screenshots in ${folder}`);
    nothingWrong(ann, bob);
  });
}

test("the login has no faults either, and one letter in a conversation is enough", async () => {
  const page = await window(desktop);
  await page.goto(`${server.base}/demo/chat`);
  await page.getByRole("textbox", { name: "Your name" }).waitFor();
  assert.deepEqual(await faults(page), []);
  const ann = await open("ann", { to: direct("ann", "bob") });
  assert.deepEqual(await faults(ann), []);
  await say(ann, "x");
  await shows(ann, "x");
  assert.deepEqual(await textsOf(ann), ["x"]);
  nothingWrong(page, ann);
});
