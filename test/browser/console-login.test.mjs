// The door of the console, its frame, and what it does when the server or the way to it fails.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { broken } from "./broken.mjs";
import { eventually, watch } from "./browser.mjs";
import { accessible, begin, fits, phone, quiet, until } from "./console.mjs";
import { freePort, root, start } from "./server.mjs";

const password = "correct horse battery";
const hash = "$argon2id$v=19$m=19456,t=2,p=1$6zvj4xlVbC73+v4zf/6PKg$kIb+02Zl5RGUs4rlshM2p2pBB5y+gUmuvXdARsVYC0A";
const users = `console:
  users:
    - {name: ann, role: operator, password: "${hash}"}
    - {name: vic, role: viewer, password: "${hash}"}
    - {name: root, role: admin, password: "${hash}"}
`;

const it = await begin({ config: users });
after(() => it.end());
afterEach(() => it.close());

// What browsers write to their console of every answer that is not 2xx.
const refused = /Failed to load resource: the server responded with a status of (401|429)/;
const away = /Failed to load resource/;

// shut opens the console for somebody who is not logged in.
async function shut(path = "/console/", { base = it.server.base, ...options } = {}) {
  const context = await it.context("", options);
  const page = await context.newPage();
  page.complaints = watch(context, base);
  page.setDefaultTimeout(20_000);
  await page.goto(base + path);
  await page.getByRole("button", { name: "Log in" }).waitFor();
  return page;
}

async function enter(page, user, secret = password) {
  await page.getByLabel("User", { exact: true }).fill(user);
  await page.getByLabel("Password").fill(secret);
  await page.getByRole("button", { name: "Log in" }).click();
}

async function loggedIn(user, path, options) {
  const page = await shut(path, options);
  await enter(page, user);
  await page.locator("#main").waitFor();
  return page;
}

const lines = async (params) => (await it.api("audit", params)).lines;
const pulse = (page, text) => page.locator(".top .pulse", { hasText: text }).waitFor();

test("somebody logs in with a password, by the keyboard alone; a wrong one is told, and both are written down", async () => {
  const page = await shut("/console/schedules?q=a");
  await accessible(page);
  await page.keyboard.press("Tab"); // from the field that has the focus, or to it
  await page.getByLabel("User", { exact: true }).focus();
  await page.keyboard.type("ann");
  await page.keyboard.press("Tab");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText("user or password is wrong").waitFor();
  await page.getByLabel("Password").focus();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Schedules", level: 1 }).waitFor();
  assert.equal(new URL(page.url()).search, "?q=a");
  await page.locator(".who", { hasText: "ann" }).getByText("operator").waitFor();
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path], ["skein_console", true, "Strict", "/"]);
  assert.equal(await page.evaluate(() => document.cookie), "");
  const told = await lines({ who: "ann", verb: "console.*" });
  assert.ok(told.some((l) => l.outcome === "unauthorized") && told.some((l) => l.outcome === "ok"), JSON.stringify(told));
  assert.ok(!JSON.stringify(told).includes(password));
  quiet(page, refused);
});

test("who tries too often is told how long to wait", async () => {
  const page = await shut();
  for (let i = 0; i < 9; i++) {
    const answer = await page.request.post(`${it.server.base}/console/login`, { data: { user: "ghost", password: "x" } });
    assert.equal(answer.status(), 401);
  }
  await enter(page, "ghost", "x");
  await page.getByRole("alert").waitFor();
  await enter(page, "ghost", "y");
  await page.getByRole("alert").getByText(/Too many tries\. Wait \d+ s\./).waitFor();
  quiet(page, refused);
});

test("a one-time link logs in once, and does not stay in the address or the history", async () => {
  const link = await it.link("operator");
  const context = await it.context("");
  const page = await context.newPage();
  page.complaints = watch(context, it.server.base);
  const asked = [];
  page.on("request", (r) => asked.push(`${r.url()} ${JSON.stringify(r.headers())}`));
  await page.goto(link);
  await page.locator("#main").waitFor();
  const token = new URL(link).hash.slice("#link=".length);
  assert.equal(new URL(page.url()).hash, "");
  assert.ok(!asked.some((a) => a.includes(token)), "the token is in an address or a header");
  await page.getByRole("link", { name: "Schedules" }).click();
  await page.goBack();
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  assert.ok(!page.url().includes(token));
  const other = await it.context("");
  const second = await other.newPage();
  await second.goto(link);
  await second.getByRole("alert").getByText("used up or too old").waitFor();
  assert.equal(new URL(second.url()).hash, "");
  const fresh = await it.link("viewer"); // pasted into the address of the page that is open
  await second.evaluate((hash) => { location.hash = hash; }, new URL(fresh).hash);
  await second.locator(".who", { hasText: "viewer" }).waitFor();
  assert.equal(new URL(second.url()).hash, "");
  quiet(page);
});

test("who logs out in one tab is out in the other", async () => {
  const page = await loggedIn("ann");
  const other = await page.context().newPage();
  await other.goto(`${it.server.base}/console/explorer`);
  await other.locator("#main").waitFor();
  await page.locator(".who summary").click();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Log in" }).waitFor();
  await other.getByText("Your session has ended").waitFor();
  assert.equal((await page.request.get(`${it.server.base}/console/session`)).status(), 401);
  quiet(page, refused);
});

test("a session that has expired asks for the password, and shows the same page with its filters again", async () => {
  const page = await loggedIn("root", "/console/audit?verb=schedules.*&outcome=failed");
  await page.getByRole("heading", { name: "Audit log" }).waitFor();
  await page.context().clearCookies(); // as browsers do when one is too old
  await page.getByText("Your session has ended").waitFor();
  await eventually(async () => assert.equal(await page.getByRole("heading", { name: "Audit log" }).count(), 0, "what was on the page is gone with the session"));
  await enter(page, "root");
  await page.getByRole("heading", { name: "Audit log" }).waitFor();
  assert.equal(new URL(page.url()).search, "?verb=schedules.*&outcome=failed");
  await eventually(async () => assert.equal(await page.getByLabel("Outcome").inputValue(), "failed"));
  quiet(page, refused);
});

test("a viewer sees nothing to change, and the server refuses it, too, and writes it down", async () => {
  await it.api("schedules.put", { name: "nightly", cron: "@daily", verb: "info" });
  const page = await loggedIn("vic");
  await eventually(async () => assert.deepEqual(await page.locator("nav.menu a").allTextContents().then((all) => all.filter((name) => ["Audit log", "Settings"].includes(name))), []));
  await page.goto(`${it.server.base}/console/schedules/nightly`);
  await page.getByRole("heading", { name: "Plan" }).waitFor();
  await eventually(async () => assert.deepEqual(await page.locator("main button").allTextContents().then((all) => all.filter((name) => /run|pause|resume|edit|delete/i.test(name))), []));
  await page.goto(`${it.server.base}/console/schedules?new=1`);
  await page.getByRole("link", { name: "nightly" }).waitFor();
  await eventually(async () => assert.equal(await page.getByRole("button", { name: "New schedule" }).count() + await page.locator("dialog").count(), 0));
  await page.goto(`${it.server.base}/console/explorer/schedules.delete`);
  await page.getByText("Your role may not run schedules.delete").waitFor();
  await page.goto(`${it.server.base}/console/audit`);
  await page.getByText("Your role may not see this page").waitFor();
  const answer = await page.evaluate(async () => {
    const { csrf } = await (await fetch("/console/session")).json();
    const run = (headers) => fetch("/api/v1/schedules.delete", { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: '{"name":"nightly"}' });
    return [await run({ "X-CSRF-Token": csrf }), await run({})].map((r) => r.status);
  });
  assert.deepEqual(answer, [403, 403]);
  const told = await lines({ who: "vic", verb: "schedules.delete" });
  assert.ok(told.some((l) => l.outcome === "denied" && l.role === "viewer" && l.target === "nightly"), JSON.stringify(told));
  assert.equal((await it.api("schedules.get", { name: "nightly" })).state, "active");
  quiet(page, /status of 40[13]/);
});

// words gives all texts of the page that are not code, data or the server's own words.
const words = (page) => page.evaluate(() => {
  const found = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const el = node.parentElement;
    if (!el.closest("code, pre, option, time, script, .who-name, .ops-setting-doc, .ops-docs td, .ops-url, td [title], td strong, .lead, .mark") && el.checkVisibility()) found.add(node.textContent.trim());
  }
  for (const el of document.querySelectorAll("[aria-label], [placeholder]")) for (const name of ["aria-label", "placeholder"]) found.add(el.getAttribute(name) ?? "");
  return [...found].filter((text) => /[A-Za-z]{3,}/.test(text) && !/[\u4e00-\u9fff]/.test(text));
});

test("every page speaks Chinese when asked to", async () => {
  await it.api("schedules.put", { name: "nightly", cron: "@daily", verb: "info" });
  const page = await loggedIn("root");
  await page.getByRole("button", { name: "中文" }).click();
  await page.getByRole("heading", { name: "概览", level: 1 }).waitFor();
  await eventually(async () => assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN"));
  // Names of products, of what stands in configurations, and of units are the same in both.
  const same = /^(Skein|English|SQLite|WebSocket|Socket\.IO|SSE|Idempotency-Key|[a-z_.*]+|.*(JSON|MiB|KiB|UTC|go\d|WebSocket|nightly|Skein).*)$/;
  const left = {};
  for (const at of ["", "connections", "channels", "users", "push", "campaigns", "schedules", "schedules/nightly", "schedules?new=1", "hooks", "explorer", "explorer/info", "audit", "settings"]) {
    await page.goto(`${it.server.base}/console/${at}`);
    await page.locator("main h1").waitFor();
    await page.waitForFunction(() => !document.querySelector(".waiting"));
    const english = (await words(page)).filter((text) => !same.test(text));
    if (english.length > 0) left[at] = english;
    await eventually(async () => assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN", "it is remembered"));
  }
  assert.deepEqual(left, {});
  await page.getByRole("button", { name: "English" }).click();
  await page.getByRole("heading", { name: "Settings", level: 1 }).waitFor();
  await eventually(async () => assert.equal(await page.evaluate(() => document.documentElement.lang), "en"));
});

test("the colours are the system's, or those that somebody chose", async () => {
  const page = await loggedIn("ann", "/console/", { colorScheme: "dark" });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), "dark");
  await page.emulateMedia({ colorScheme: "light" });
  await until(async () => (await theme()) === "light");
  await page.getByLabel("Colours").selectOption("dark");
  await page.reload();
  await page.locator("#main").waitFor();
  assert.equal(await theme(), "dark");
  quiet(page, refused);
});

for (const [mode, about] of [["502", "answers in its name"], ["cut", "cuts its answers"], ["hang", "lets all hang"]]) {
  test(`a proxy before the server ${about}: the page says so, and comes back by itself`, async () => {
    const proxy = await broken(it.server.port);
    try {
      const page = await loggedIn("ann", "/console/", { base: proxy.base });
      await pulse(page, "Live");
      proxy.be(mode);
      await pulse(page, "No answer since");
      await page.locator("main").getByRole("alert").getByText("The server does not answer").waitFor();
      await eventually(async () => assert.equal(await page.locator(".shell.lost").count(), 1));
      proxy.mend();
      await pulse(page, "Live");
      await page.locator("main .note.bad, main .note.warn").first().waitFor({ state: "detached" });
      await page.getByText("Running for").waitFor();
      quiet(page, away);
    } finally {
      await proxy.close();
    }
  });
}

test("the server is killed under the page, which says so, and goes on when it is there again", async () => {
  const page = await loggedIn("root", "/console/schedules");
  await page.locator("main h1").waitFor();
  await it.server.kill();
  await pulse(page, "No answer since");
  await page.locator("main").getByRole("alert").first().waitFor();
  await it.restart();
  await it.api("schedules.put", { name: "after the fall", every: "1h", verb: "info" });
  await pulse(page, "Live");
  await page.getByRole("link", { name: "after the fall" }).waitFor();
  await eventually(async () => assert.equal(await page.locator(".shell.lost").count(), 0));
  assert.ok((await lines({ who: "root", verb: "console.login" })).length > 0, "the session and the log outlived it");
  quiet(page, away);
});

test("the login fits a phone, in both colours, and can be heard", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await shut("/console/", { ...phone, colorScheme });
    await fits(page);
    await accessible(page);
    quiet(page, refused);
  }
});

test("the page may load nothing from elsewhere, and a program without the page says what to do", async () => {
  const res = await fetch(`${it.server.base}/console/`);
  const policy = res.headers.get("Content-Security-Policy");
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) assert.ok(policy.includes(part), part);
  assert.deepEqual(["X-Content-Type-Options", "Referrer-Policy", "Cache-Control"].map((name) => res.headers.get(name)), ["nosniff", "no-referrer", "no-store"]);
  const folder = join(root, "internal/edge/console/dist");
  const gone = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile() && e.name !== ".gitkeep").map((e) => [join(e.parentPath ?? e.path, e.name), ""]);
  const overlay = join(it.folder, "overlay.json");
  writeFileSync(overlay, JSON.stringify({ Replace: Object.fromEntries(gone) }));
  const binary = join(it.folder, "bare");
  const built = spawnSync("go", ["build", "-overlay", overlay, "-o", binary, "./cmd/skein"], { cwd: root, encoding: "utf8" });
  assert.equal(built.status, 0, built.stderr);
  const server = await start(binary, await freePort());
  try {
    const page = await (await it.context("")).newPage();
    const answer = await page.goto(`${server.base}/console/users`);
    assert.deepEqual([answer.status(), answer.headers()["x-console"]], [200, "missing"]);
    await page.getByRole("heading", { name: "The console is not in this program" }).waitFor();
  } finally {
    await server.stop();
    rmSync(binary);
  }
});
