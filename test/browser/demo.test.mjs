// The demo pages, as a person would use them: several windows, a server that
// dies and comes back, a phone, the dark.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { eventually, launch, watch } from "./browser.mjs";
import { api, build, freePort, root, start } from "./server.mjs";

let binary, browser, server, context, complaints;

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
  context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  complaints = watch(context, server.base);
});

afterEach(async () => {
  await context?.close();
  await server?.stop();
});

// open gives a page of the live demo that is connected.
async function open(address, from = context) {
  const page = await from.newPage();
  await page.goto(server.base + address);
  await connected(page);
  return page;
}

const connected = (page) => page.waitForSelector('#state[data-state="up"] #connection');
const count = (page, n) => page.waitForFunction((n) => document.getElementById("connections")?.textContent === String(n), n);
const said = (page, text) => page.locator("#log li", { hasText: text }).waitFor();
const nothingWrong = () => assert.deepEqual(complaints, []);

test("what is typed in one window shows up in the other while it is typed", async () => {
  const a = await open("/demo/live.html?user=ana");
  const b = await open("/demo/live.html?user=ben");
  await a.locator("#say").pressSequentially("hello wor");
  const line = b.locator("#typing li");
  await line.filter({ hasText: "hello wor" }).waitFor();
  await eventually(async () => assert.equal(await line.locator(".who").textContent(), "ana"));
  await eventually(async () => assert.equal(await a.locator("#typing li").count(), 0, "the window that types sees no line of its own"));

  await a.locator("#say").pressSequentially("ld");
  await a.locator("#say").press("Enter");
  await said(b, "hello world");
  await said(a, "hello world");
  await eventually(async () => assert.equal(await b.locator("#typing li").count(), 0));
  await eventually(async () => assert.equal(await a.locator("#log li").count(), 1, "no echo"));
  await eventually(async () => assert.equal(await a.locator("#say").inputValue(), ""));
  nothingWrong();
});

test("every window has a connection id, and the count is right when one closes", async () => {
  const a = await open("/demo/live.html");
  await count(a, 1);
  const b = await open("/demo/live.html");
  const c = await open("/demo/live.html");
  for (const page of [a, b, c]) await count(page, 3);
  const ids = await Promise.all([a, b, c].map((page) => page.locator("#connection").textContent()));
  assert.equal(new Set(ids).size, 3);
  assert.equal((await api(server, "channels")).items[0].subscribers, 3);
  await b.close();
  await count(a, 2);
  await count(c, 2);
  nothingWrong();
});

test("a server that is killed and started again gets its windows back", async () => {
  const a = await open("/demo/live.html?user=ana");
  const b = await open("/demo/live.html?user=ben");
  const before = await a.locator("#connection").textContent();
  await server.kill();
  for (const page of [a, b]) await page.waitForSelector('#state[data-state="wait"]');
  await eventually(async () => assert.match(await a.locator("#state-text").textContent(), /Connection lost|Connecting again/));
  server = await start(binary.path, server.port);
  for (const page of [a, b]) await connected(page);
  await count(a, 2);
  await eventually(async () => assert.notEqual(await a.locator("#connection").textContent(), before, "a new connection has a new id"));
  await a.locator("#say").fill("back again");
  await a.locator("#say").press("Enter");
  await said(b, "back again");
  // What the browser itself says about attempts that failed is no fault of the page.
  assert.deepEqual(complaints.filter((c) => !c.includes("WebSocket connection to")), []);
});

test("a connection that ends while the page waits for an answer leaves nothing behind", async () => {
  let first = true;
  await context.routeWebSocket(/\/ws\?/, (page) => {
    const real = page.connectToServer();
    page.onMessage((text) => {
      if (first && JSON.parse(text).type === "presence") {
        first = false;
        real.close();
        page.close({ code: 1001 });
        return;
      }
      real.send(text);
    });
  });
  const a = await context.newPage();
  await a.goto(`${server.base}/demo/live.html`);
  await count(a, 1);
  assert.equal(first, false);
  nothingWrong();
});

test("a server that stops tells its windows when to come back", async () => {
  const a = await open("/demo/live.html");
  await server.stop();
  await a.waitForSelector('#state[data-state="wait"]');
  server = await start(binary.path, server.port);
  await connected(a);
  await count(a, 1);
});

test("the part after # is the channel", async () => {
  const a = await open("/demo/live.html#event:one");
  const b = await open("/demo/live.html");
  await eventually(async () => assert.equal(await a.locator("#channel").inputValue(), "event:one"));
  await eventually(async () => assert.equal(await b.locator("#channel").inputValue(), "event:demo"));
  await api(server, "publish", { to: { channel: "event:one" }, data: { text: "only for one" } });
  await said(a, "only for one");
  await eventually(async () => assert.equal(await b.locator("#log li").count(), 0));

  await b.locator("#channel").fill("event:one");
  await b.locator("#channel").press("Enter");
  await count(a, 2);
  assert.match(b.url(), /#event%3Aone$/);
  await api(server, "publish", { to: { channel: "event:one" }, data: { text: "for both" } });
  await said(b, "for both");
  assert.deepEqual((await api(server, "channels")).items.map((c) => c.channel), ["event:one"], "the old channel was left");
  nothingWrong();
});

test("a channel that does not exist is said to", async () => {
  const a = await open("/demo/live.html#nowhere:x");
  await said(a, "nowhere");
  nothingWrong();
});

test("messages from the server, and what is no text, are shown as text", async () => {
  const a = await open("/demo/live.html");
  await count(a, 1);
  await api(server, "publish", { to: { channel: "event:demo" }, data: { text: "<b>bold</b><img src=x onerror=alert(1)>" } });
  await api(server, "publish", { to: { channel: "event:demo" }, data: [1, { two: 2 }] });
  await said(a, "<b>bold</b>");
  await said(a, '[1,{"two":2}]');
  await eventually(async () => assert.equal(await a.locator("#log b, #log img").count(), 0));
  await eventually(async () => assert.equal(await a.locator("#log .who").first().textContent(), "server"));
  nothingWrong();
});

test("a client that is sent away stays away", async () => {
  const a = await open("/demo/live.html?user=ana");
  await api(server, "disconnect", { user: "ana", message: "that is enough" });
  await a.waitForSelector('#state[data-state="down"]');
  await eventually(async () => assert.match(await a.locator("#state-text").textContent(), /that is enough/));
  nothingWrong();
});

test("development mode is said on the page", async () => {
  const a = await open("/demo/live.html");
  await eventually(async () => assert.equal(await a.locator("#dev").textContent(), "Development mode: anyone on this machine may connect as anyone."));
  await eventually(async () => assert.equal(await a.locator("#dev").isVisible(), true));
});

test("the index shows three windows that see each other, and the ten lines", async () => {
  const page = await context.newPage();
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(`${server.base}/`);
  assert.match(page.url(), /\/demo\/$/);
  const frames = [];
  for (const name of ["Ana", "Ben", "Chloe"]) frames.push(page.frameLocator(`iframe[title="Window of ${name}"]`));
  for (const f of frames) await f.locator("#connections", { hasText: "3" }).waitFor();
  await frames[0].locator("#say").fill("Hello from Ana");
  await frames[0].locator("#say").press("Enter");
  for (const f of frames) await f.locator("#log li", { hasText: "Hello from Ana" }).waitFor();
  await frames[1].locator("#say").fill("Hi Ana! No reload, no polling.");
  await frames[1].locator("#say").press("Enter");
  await frames[2].locator("#log li", { hasText: "No reload" }).waitFor();
  await frames[2].locator("#say").pressSequentially("I see you both ty");
  await frames[0].locator("#typing li", { hasText: "I see you both ty" }).waitFor();
  await eventually(async () => assert.match(await page.locator("#ten").textContent(), /^const ws = new WebSocket\(/));
  if (process.env.UPDATE_SCREENSHOTS === "1") {
    mkdirSync(join(root, "docs/images"), { recursive: true });
    await page.screenshot({ path: join(root, "docs/images/demo.png") });
  }
  await page.locator("#copy").click();
  await page.waitForFunction(() => /Copied|Selected/.test(document.getElementById("copy").textContent));
  nothingWrong();
});

test("the ten lines on the index are a working client", async () => {
  const index = await context.newPage();
  await index.goto(`${server.base}/demo/`);
  const shown = (await index.locator("#ten").textContent()).trim();
  const small = await context.newPage();
  await small.goto(`${server.base}/demo/ten.html`);
  assert.equal((await small.locator("script").textContent()).trim(), shown);
  assert.equal(shown.split("\n").length, 10);
  const live = await open("/demo/live.html");
  // The smallest page says nothing about itself, so ask the server who is there.
  while ((await api(server, "presence", { channel: "event:demo" })).connections < 5) await small.waitForTimeout(20);
  await small.locator("#box").fill("from ten lines");
  await small.locator("#box").press("Enter");
  await said(live, "from ten lines");
  await live.locator("#say").fill("and back");
  await live.locator("#say").press("Enter");
  await small.locator("#log", { hasText: "and back" }).waitFor();
  nothingWrong();
});

for (const colorScheme of ["light", "dark"]) {
  test(`a phone in the ${colorScheme}: everything fits and can be read`, async () => {
    const phone = await browser.newContext({ viewport: { width: 360, height: 640 }, colorScheme, hasTouch: true });
    try {
      const wrong = watch(phone, server.base);
      const page = await open("/demo/live.html", phone);
      await page.locator("#say").fill("x".repeat(400));
      await page.locator("#say").press("Enter");
      await said(page, "xxx");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `the page is ${wide} px wider than the screen`);
      await eventually(async () => assert.ok(await page.locator("#say").isVisible()));
      const contrasts = await page.evaluate(() => {
        const rgb = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
        const luminance = (c) => {
          const [r, g, b] = c.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
          return .2126 * r + .7152 * g + .0722 * b;
        };
        const paper = luminance(rgb(getComputedStyle(document.body).backgroundColor));
        return ["#state-text", "#log li span:last-child", "#log .who", ".top label"].map((selector) => {
          const ink = luminance(rgb(getComputedStyle(document.querySelector(selector)).color));
          return { selector, ratio: (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05) };
        });
      });
      // 4.5 is what WCAG 2.2 asks of text (1.4.3, level AA).
      for (const { selector, ratio } of contrasts) assert.ok(ratio >= 4.5, `${selector}: contrast ${ratio.toFixed(2)}`);
      assert.deepEqual(wrong, []);
    } finally {
      await phone.close();
    }
  });
}

test("every control has a name, and what changes is announced", async () => {
  const page = await open("/demo/live.html");
  await eventually(async () => assert.ok(await page.getByLabel("Message", { exact: true }).isVisible()));
  await eventually(async () => assert.ok(await page.getByLabel("Channel").isVisible()));
  await eventually(async () => assert.ok(await page.getByRole("button", { name: "Send" }).isVisible()));
  await eventually(async () => assert.equal(await page.getByRole("log", { name: "Messages" }).getAttribute("aria-live"), "polite"));
  await eventually(async () => assert.equal(await page.getByRole("status").count(), 1));
  await page.keyboard.press("Tab");
  await eventually(async () => assert.equal(await page.evaluate(() => document.activeElement.id), "channel", "the keyboard reaches the controls"));
});
