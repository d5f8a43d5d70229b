// Every page of the console, with something on it: in light, in the dark, and on a phone.
// With UPDATE_SCREENSHOTS=1 it also makes the pictures of the documentation.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { accessible, begin, desk, fits, phone, quiet } from "./console.mjs";
import { root } from "./server.mjs";

const backend = createServer((req, res) => {
  req.resume().on("end", () => {
    res.writeHead(req.headers["skein-hook"] === "batch" ? 503 : 200, { "Content-Type": "application/json" });
    res.end("{}");
  });
}).listen(0, "127.0.0.1");
await once(backend, "listening");

const it = await begin({ config: `hooks:
  url: http://127.0.0.1:${backend.address().port}/hooks
  secret: "0123456789abcdef0123456789abcdef"
  events: [connect, online, offline]
  on_failure: allow
namespaces:
  room: {kind: log, subscribe: anyone, publish: anyone}
  game: {kind: doc, subscribe: anyone, patch: anyone}
  tick: {kind: event, subscribe: anyone, publish: anyone}
` });
const { api } = it;
after(async () => {
  await it.end();
  backend.closeAllConnections();
  backend.close();
});
afterEach(() => it.close());

// prepared is what there is to see: a busy little shop.
async function prepared() {
  const cities = ["Oslo", "Bergen", "Tromsø", "Berlin", "上海"];
  await api("users.put", { users: Array.from({ length: 40 }, (_, n) => ({ id: String(42 + n), attributes: { city: cities[n % 5], level: n, tags: n % 3 ? ["reader"] : ["reader", "vip"] } })) });
  await api("categories.put", { name: "offers", caps: [{ per: "24h", max: 1 }] });
  for (const text of ["Boots at half price", "And coats, too"]) await api("push", { to: { users: ["42"] }, category: "offers", event: "offer", data: { text } });
  const { id: campaign } = await api("campaigns.create", { name: "Autumn sale", to: { where: { field: "/city", eq: "Oslo" } }, category: "offers", event: "offer", data: { text: "Everything must go" } });
  await api("campaigns.start", { id: campaign });
  for (let n = 1; n <= 30; n++) await api("publish", { to: { channel: "room:help" }, event: "said", data: { n, text: `Question ${n}` } });
  for (let n = 1; n <= 4; n++) await api("doc.put", { channel: "game:chess", data: { move: n, white: { time: 600 - n, name: "Ann" }, black: { time: 598 } } });
  await api("schedules.put", { name: "clock", every: "5s", verb: "publish", params: { to: { channel: "tick:time" }, event: "time", data: { from: "the clock" } } });
  await api("schedules.put", { name: "report", cron: "30 8 * * MON-FRI", zone: "Europe/Berlin", jitter: "5m", verb: "publish", params: { to: { channel: "room:office" }, data: "good morning" } });
  await api("schedules.put", { name: "broken", every: "1s", count: 1, verb: "doc.get", params: { channel: "room:help" } });
  const clients = await (await it.browser.newContext()).newPage();
  await clients.goto(`${it.server.base}/healthz`);
  const connection = await clients.evaluate(async (address) => {
    const open = (n) => new Promise((resolve, reject) => {
      const socket = new WebSocket(`${address}/ws?user=${42 + n}&device=${n % 2 ? "phone" : "desk"}`);
      socket.onerror = () => reject(new Error("no connection"));
      socket.onmessage = (e) => {
        const frame = JSON.parse(e.data);
        if (frame.type !== "welcome") return;
        for (const channel of ["room:help", "game:chess", "tick:time"]) socket.send(JSON.stringify({ type: "sub", id: 1, channel }));
        setInterval(() => socket.send(JSON.stringify({ type: "pub", id: 2, channel: "tick:time", data: { n } })), 300);
        resolve(frame.connection ?? frame.conn ?? frame.id);
      };
    });
    return (await Promise.all([0, 1, 2, 3, 4].map(open)))[0];
  }, it.server.base.replace("http", "ws"));
  const { items } = await api("inbox.list", { user: "42" });
  return { campaign, connection: connection ?? (await api("connections", { user: "42" })).items[0].id, message: items[0].id };
}

let seen;
before(async () => { seen = await prepared(); });

// addresses are all pages and the parts of them, by the name of their picture.
const addresses = () => ({
  overview: "",
  connections: "connections",
  connection: `connections/${seen.connection}`,
  channels: "channels",
  "channel-log": "channels/room%3Ahelp",
  "channel-doc": "channels/game%3Achess",
  "channel-history": "channels/game%3Achess?tab=history",
  "channel-members": "channels/room%3Ahelp?tab=members",
  users: "users",
  user: "users/42",
  "user-rules": "users/42?tab=rules",
  "user-profile": "users/42?tab=profile",
  message: `users/42/messages/${seen.message}`,
  push: "push",
  categories: "push/categories",
  campaigns: "campaigns",
  campaign: `campaigns/${seen.campaign}`,
  schedules: "schedules",
  schedule: "schedules/clock",
  "schedule-edit": "schedules/report?edit=1",
  hooks: "hooks",
  explorer: "explorer",
  verb: "explorer/publish",
  audit: "audit",
  settings: "settings",
  nowhere: "no/such/page",
});

// What a browser says of a question that a page asks to find out what there is.
const probes = /the server responded with a status of 40[04]/;

const looks = { light: { ...desk, colorScheme: "light" }, dark: { ...desk, colorScheme: "dark" }, phone: { ...phone, colorScheme: "light" } };
const folder = join(root, "docs/images/console");

for (const [look, options] of Object.entries(looks)) {
  test(`every page in ${look}: it complains about nothing, fits, and can be heard`, async () => {
    const page = await it.open("/console/", options);
    const wrong = [];
    for (const [name, address] of Object.entries(addresses())) {
      await page.goto(`${it.server.base}/console/${address}`);
      await page.locator("main h1").first().waitFor();
      await page.waitForFunction(() => !document.querySelector(".waiting") && document.title !== "Skein");
      for (const check of [fits, accessible]) await check(page).catch((e) => wrong.push(`${name}: ${e.message}`));
      if (await page.locator("main .note.bad[role=alert]").count()) wrong.push(`${name}: ${await page.locator("main .note.bad").first().textContent()}`);
      if (process.env.UPDATE_SCREENSHOTS && name !== "nowhere") {
        mkdirSync(folder, { recursive: true });
        await page.screenshot({ path: join(folder, `${name}-${look}.png`), animations: "disabled", scale: "css" });
      }
    }
    assert.deepEqual(wrong, []);
    quiet(page, probes);
  });
}

test("what is printed is dark on white, without what is only for clicking", async () => {
  const page = await it.open("/console/", { ...desk, theme: "dark" });
  const wrong = [];
  for (const [name, address] of Object.entries(addresses())) {
    await page.emulateMedia({ media: "screen" });
    await page.goto(`${it.server.base}/console/${address}`);
    await page.locator("main h1").first().waitFor();
    await page.waitForFunction(() => !document.querySelector(".waiting") && document.title !== "Skein");
    await page.emulateMedia({ media: "print" });
    for (const [what, ok] of Object.entries(await page.evaluate(() => {
      const shown = (all) => [...document.querySelectorAll(all)].some((el) => el.checkVisibility());
      const light = (el) => getComputedStyle(el).backgroundColor.match(/[\d.]+/g).every((n, i) => i === 3 ? true : n > 200);
      return {
        "the menu is hidden": !shown(".top, .menu, .actions, .toasts, .filters"),
        "the page is there": shown("main h1"),
        "the paper is white": getComputedStyle(document.documentElement).backgroundColor === "rgb(255, 255, 255)",
        "cards are light": [...document.querySelectorAll(".card, .stat")].every(light),
        "the text is dark": getComputedStyle(document.querySelector("main h1")).color.match(/\d+/g).every((n) => n < 100),
      };
    }))) if (!ok) wrong.push(`${name}: not so: ${what}`);
    for (const check of [fits, accessible]) await check(page).catch((e) => wrong.push(`${name}: ${e.message}`));
    if (process.env.PRINTED) await page.screenshot({ path: join(process.env.PRINTED, `${name}.png`), animations: "disabled", scale: "css" });
  }
  assert.deepEqual(wrong, []);
});
