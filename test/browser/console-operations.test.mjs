// Overview, schedules, hooks, API explorer, audit log and settings in the console: what an
// operator does there, seen in the page and by the server.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, afterEach, test } from "node:test";
import { eventually } from "./browser.mjs";
import { accessible, begin, fits, harmless, hostile, phone, quiet, until } from "./console.mjs";

// The application's backend fails whenever it is told to, with what a page must not run.
let failing = false;
const backend = createServer((req, res) => {
  req.resume().on("end", () => {
    res.writeHead(failing ? 500 : 200, { "Content-Type": "application/json" });
    res.end(failing ? hostile[0] : "{}");
  });
}).listen(0, "127.0.0.1");
await once(backend, "listening");

const secret = "a secret that is never shown 0123456789";
const it = await begin({ config: `hooks:
  url: http://joe:${"hush"}@127.0.0.1:${backend.address().port}/hooks?key=hush
  secret: "${secret}"
  events: [connect, online, offline]
  on_failure: allow
namespaces:
  room: {kind: log, subscribe: anyone, publish: anyone}
  game: {kind: event, subscribe: anyone, publish: anyone}
` });
const { api } = it;
after(async () => {
  await it.end();
  backend.closeAllConnections();
  backend.close();
});
afterEach(() => it.close());

const refused = /the server responded with a status of (40\d|409|503)/;
const away = /Failed to load resource/;
const main = (page) => page.locator("main");
const heading = (page, name) => page.getByRole("heading", { name, level: 1, exact: true }).waitFor();
const schedule = async (name) => api("schedules.get", { name }).catch(() => undefined);

// client connects somebody by a plain WebSocket, and gives what ends it.
async function client(page, user) {
  return page.evaluateHandle((address) => new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    socket.onerror = () => reject(new Error("no connection"));
    socket.onmessage = () => resolve(socket);
  }), `${it.server.base.replace("http", "ws")}/ws?user=${user}`);
}

test("the overview says what is wrong, leads to where one can do something, and draws without drawing anew", async () => {
  const name = `fails ${hostile[0]}`;
  await api("schedules.put", { name, every: "1s", verb: "doc.get", params: { channel: "game:no-document" } });
  const page = await it.open("/console/");
  await main(page).getByText("Development mode: whoever can reach this server").waitFor();
  const line = page.locator('.ops-problem[data-code="schedule_failed"]');
  await line.getByText(`The last run of the schedule ${name} failed`).waitFor();
  const chart = page.locator("figure", { hasText: "Connections by transport" });
  const canvas = await chart.locator("canvas").elementHandle();
  const people = await (await it.browser.newContext()).newPage();
  await people.goto(`${it.server.base}/healthz`);
  for (const user of ["ann", "bob", "cid"]) await client(people, user);
  await chart.locator('[role="img"][aria-label*="WebSocket 3"]').waitFor();
  await page.locator(".stat", { hasText: "Connections" }).locator(".stat-value", { hasText: "3" }).waitFor();
  await eventually(async () => assert.ok(await canvas.evaluate((el) => el.isConnected), "the chart was made anew"));
  await people.context().close();
  await chart.locator('[role="img"][aria-label*="WebSocket 0"]').waitFor();
  await line.getByRole("link", { name: "The schedule" }).click();
  await heading(page, name);
  await main(page).getByText("not_found").or(main(page).getByText("bad_request")).first().waitFor();
  await harmless(page);
  await api("schedules.delete", { name });
  await page.goto(`${it.server.base}/console/`);
  await main(page).getByText("Development mode").waitFor();
  await line.waitFor({ state: "detached" });
  quiet(page, refused);
});

test("the overview lives through a restart: it is old meanwhile, and has no rates below zero afterwards", async () => {
  const page = await it.open("/console/");
  const figures = page.locator(".stats .stat-value");
  await page.locator('figure [role="img"]').first().waitFor();
  await it.server.kill();
  await page.locator(".shell.lost").waitFor();
  await main(page).locator(".note.warn", { hasText: "Old: this did not come through since" }).first().waitFor();
  await it.restart();
  await page.locator(".shell.lost").waitFor({ state: "detached" });
  await main(page).locator(".note.warn").first().waitFor({ state: "detached" });
  const labels = await page.locator('figure [role="img"]').evaluateAll((all) => all.map((el) => el.ariaLabel));
  assert.equal(labels.length, 9);
  assert.ok(!labels.concat(await figures.allTextContents()).some((text) => /-\d|NaN|undefined/.test(text)), labels.join("\n"));
  quiet(page, away);
});

test("a schedule is made by the keyboard alone, and its numbers stay as they were typed", async () => {
  const page = await it.open("/console/schedules");
  const field = async (label) => {
    const el = page.locator("dialog").getByLabel(label, { exact: true });
    for (let i = 0; i < 30 && !(await el.evaluate((e) => e === document.activeElement)); i++) await page.keyboard.press("Tab");
    await eventually(async () => assert.ok(await el.evaluate((e) => e === document.activeElement), `the keyboard does not reach ${label}`));
    return el;
  };
  await page.getByRole("button", { name: "New schedule" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("dialog option", { hasText: "publish" }).waitFor({ state: "attached" });
  assert.equal(new URL(page.url()).search, "?new=1");
  await field("Name");
  await page.keyboard.type("by hand");
  await field("Verb");
  await page.keyboard.type("publish");
  await field("Interval");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("1h");
  await field("Params");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type('{"to":{"channel":"room:1"},"data":{"n":12345678901234567890,"price":0.10}');
  await page.locator("dialog").getByText("Not JSON: line 1").waitFor();
  await page.keyboard.type("}");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await field("Name");
  await page.keyboard.press("Enter");
  await heading(page, "by hand");
  await main(page).getByText("12345678901234567890").waitFor();
  const raw = await (await fetch(`${it.server.base}/api/v1/schedules.get`, { method: "POST", headers: { Authorization: "Bearer dev", "Content-Type": "application/json" }, body: '{"name":"by hand"}' })).text();
  assert.ok(raw.includes('"n":12345678901234567890,"price":0.10'), raw);
  assert.ok(raw.includes('"every":"1h"'), raw);
  quiet(page);
});

test("a schedule is run, paused, changed and deleted; what was not touched stays as it was written", async () => {
  const at = "2035-01-31T18:00:00+01:00";
  const name = hostile[1];
  await api("schedules.put", { name, at, verb: "publish", params: { to: { channel: "room:run" }, data: hostile[0] } });
  const page = await it.open(`/console/schedules?q=${encodeURIComponent('"')}`);
  await page.getByRole("link", { name }).click();
  await heading(page, name);
  await page.getByRole("button", { name: "Run now" }).click();
  assert.equal((await api("history", { channel: "room:run" })).messages?.length ?? 0, 0, "nothing runs before it is confirmed");
  await page.locator("dialog").getByRole("button", { name: "Run now" }).click();
  await main(page).getByText("It ran. This is what publish gave:").waitFor();
  assert.equal((await api("history", { channel: "room:run" })).messages.length, 1);
  await page.getByRole("button", { name: "Pause" }).click();
  await main(page).getByText("paused", { exact: true }).waitFor();
  assert.equal((await schedule(name)).state, "paused");
  await page.getByRole("button", { name: "Resume" }).click();
  await main(page).getByText("active", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Edit" }).click();
  const dialog = page.locator("dialog");
  await eventually(async () => assert.ok(await dialog.getByLabel("Name").isDisabled()));
  await dialog.getByText("More", { exact: true }).click();
  await dialog.getByLabel("Not after").fill("2001-01-01T00:00:00");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByRole("alert").getByText("until").waitFor(); // the server's word, where it was typed
  await dialog.getByLabel("Not after").fill("");
  await dialog.getByLabel("While the run before goes on").selectOption("queue");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.waitFor({ state: "detached" });
  const now = await schedule(name);
  assert.deepEqual([now.at, now.overlap, now.params.data], [at, "queue", hostile[0]]);
  await harmless(page);
  await page.getByRole("button", { name: "Delete" }).click();
  await page.locator("dialog").getByRole("button", { name: "Delete" }).click();
  await heading(page, "Schedules");
  assert.equal(await schedule(name), undefined);
  quiet(page, refused);
});

test("hooks show how the application's backend does, without secrets", async () => {
  const page = await it.open("/console/hooks");
  await main(page).getByText(`http://127.0.0.1:${backend.address().port}/hooks`).waitFor();
  const people = await (await it.browser.newContext()).newPage();
  await people.goto(`${it.server.base}/healthz`);
  failing = true;
  await client(people, "dan");
  await main(page).locator("table").getByText("500").first().waitFor();
  failing = false;
  const { hooks } = await api("hooks.list");
  await until(async () => Number(await page.locator(".stat", { hasText: "Questions asked" }).locator(".stat-value").textContent()) >= hooks[0].asked);
  const text = await page.content();
  for (const hidden of ["hush", secret, "joe"]) assert.ok(!text.includes(hidden), hidden);
  await harmless(page);
  await people.context().close();
  quiet(page);
});

test("the explorer describes all verbs, and runs one that reads at once", async () => {
  const page = await it.open("/console/explorer");
  const doc = await (await fetch(`${it.server.base}/api/v1/openapi.json`)).json();
  await main(page).locator(`table[aria-rowcount="${Object.keys(doc.paths).length + 1}"]`).waitFor();
  await page.getByLabel("Search in verbs").fill("history");
  await page.locator("table tbody tr", { hasText: "doc.history" }).waitFor();
  await until(() => new URL(page.url()).search === "?q=history");
  await page.getByRole("link", { name: "history", exact: true }).click();
  await heading(page, "history");
  await main(page).getByText("reads only").waitFor();
  await page.goBack();
  await eventually(async () => assert.equal(await page.getByLabel("Search in verbs").inputValue(), "history"));
  await page.goto(`${it.server.base}/console/explorer/info`);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await main(page).getByText("Status 200").waitFor();
  await main(page).getByText('"version"').waitFor();
  await page.goto(`${it.server.base}/console/explorer/schedules.put`);
  const row = main(page).locator("tr", { has: page.locator("code", { hasText: /^name$/ }) }).first();
  await row.getByText("required").waitFor();
  await row.getByText("1 to 128 bytes").waitFor();
  quiet(page);
});

test("what changes something asks first, and what comes back is shown as it is", async () => {
  const page = await it.open("/console/explorer/publish");
  await main(page).getByText("sends or changes").waitFor();
  const body = page.getByLabel("Params as JSON");
  assert.deepEqual(JSON.parse(await body.inputValue()).to, { channel: "room:1" });
  await body.fill(`{"to":{"channel":"room:x"},"event":${JSON.stringify(hostile[0])},"data":{"n":9007199254740993,"text":${JSON.stringify(hostile[1])}}}`);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.equal((await api("history", { channel: "room:x" })).messages?.length ?? 0, 0);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.locator("dialog").getByRole("button", { name: "Run" }).click();
  await main(page).getByText("Status 200").waitFor();
  await page.goto(`${it.server.base}/console/explorer/history`);
  await body.fill('{"channel":"room:x"}');
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await main(page).getByText("9007199254740993").waitFor();
  await main(page).locator("pre", { hasText: "onerror" }).first().waitFor();
  await harmless(page);
  await body.fill('{"channel":"room:x","limit":-1}');
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await main(page).getByText("Status 400").waitFor();
  await main(page).locator(".ops-answer").getByText('"limit"').waitFor();
  const told = (await api("audit", { verb: "publish" })).lines;
  assert.deepEqual(told.map((l) => [l.by, l.role, l.target, l.outcome]), [["console", "admin", "room:x", "ok"]]);
  quiet(page, refused);
});

test("with an API key it is the key's call; the key is kept nowhere, and not in the command", async () => {
  const page = await it.open("/console/explorer/schedules.put", { role: "viewer" });
  await main(page).getByText("Your role may not run schedules.put").waitFor();
  const key = page.getByLabel("API key", { exact: true });
  await eventually(async () => assert.equal(await key.getAttribute("type"), "password"));
  const run = page.getByRole("button", { name: "Run", exact: true });
  await eventually(async () => assert.ok(await run.isDisabled()));
  await page.getByLabel("Params as JSON").fill(`{"name":"it's keyed","every":"1h","verb":"info"}`);
  await key.fill("not a key");
  await run.click();
  await main(page).getByText("Status 401").waitFor();
  await main(page).getByText("Try it").waitFor(); // it is the key that is wrong; the session goes on
  await key.fill("dev");
  await run.click();
  await main(page).getByText("Status 200").waitFor();
  assert.equal((await schedule("it's keyed")).every, "1h");
  assert.deepEqual((await api("audit", { verb: "schedules.put", limit: 1 })).lines.map((l) => [l.who, l.by, l.target]), [["dev", "key", "it's keyed"]]);
  await page.getByText("As a command").click();
  const command = await page.locator(".ops-curl pre").textContent();
  assert.ok(command.includes('-H "Authorization: Bearer $SKEIN_KEY"') && command.includes(`it'\\''s keyed`) && !command.includes("dev"), command);
  assert.ok(!(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, location.href, document.cookie]))).includes("dev\""));
  await page.reload();
  await main(page).getByText("Try it").waitFor();
  await eventually(async () => assert.equal(await key.inputValue(), ""));
  quiet(page, refused);
});

test("the audit log is filtered by its address, opens each line, and can be taken along", async () => {
  const name = `kept ${hostile[0]}`;
  await api("schedules.put", { name, every: "1h", verb: "publish", params: { to: { channel: "room:1" }, data: { password: "hush", text: hostile[1] } } });
  await assert.rejects(api("schedules.put", { name: "bad", cron: "61 * * * *", verb: "info" }));
  const page = await it.open("/console/audit");
  await page.getByLabel("Verb", { exact: true }).fill("schedules.*");
  await until(() => new URL(page.url()).searchParams.get("verb") === "schedules.*");
  await page.locator("tbody tr", { hasText: name }).first().waitFor();
  await page.getByLabel("Outcome").selectOption("failed");
  await page.locator("tbody tr", { hasText: name }).waitFor({ state: "detached" });
  await page.locator("tbody tr", { hasText: "bad_request" }).first().waitFor();
  assert.equal(new URL(page.url()).search, "?verb=schedules.*&outcome=failed");
  await page.getByLabel("Outcome").selectOption("open");
  await main(page).getByText("No lines that fit.").waitFor();
  await page.getByRole("button", { name: "Clear the filters" }).click();
  await until(() => new URL(page.url()).search === "");
  await page.locator("tbody tr", { hasText: name }).first().getByRole("link").click();
  const dialog = page.locator("dialog");
  await dialog.locator("pre", { hasText: '"every": "1h"' }).waitFor();
  assert.ok(!(await dialog.textContent()).includes("hush"), "what looks like a secret is masked");
  await harmless(page);
  await accessible(page);
  const link = page.url();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  const other = await it.open(new URL(link).pathname + new URL(link).search + "&verb=nothing"); // a line that is not among those that are loaded
  await other.locator("dialog").getByText(name, { exact: true }).waitFor();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export as NDJSON" }).click()]);
  const lines = readFileSync(await file.path(), "utf8").trim().split("\n").map((l) => JSON.parse(l));
  assert.ok(lines.some((l) => l.target === name && l.outcome === "ok"));
  quiet(page);
  quiet(other);
});

test("a long audit log comes page by page, and moments narrow it down", async () => {
  const commands = Array.from({ length: 240 }, (_, n) => ({ verb: "schedules.put", params: { name: `many/${n}`, every: "1h", verb: "info", enabled: false } }));
  const from = Date.now() - 1000;
  await api("batch", { commands });
  const page = await it.open(`/console/audit?verb=schedules.put&from=${from}`);
  const total = (await api("audit", { verb: "schedules.put", from, limit: 1000 })).lines.length;
  assert.ok(total >= 240);
  await until(async () => {
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    return main(page).getByText(`${total} rows`, { exact: true }).isVisible();
  });
  assert.ok((await page.locator("tbody tr[data-row]").count()) < 100, "only what can be seen is in the document");
  await page.getByLabel("From").fill("2035-01-01T00:00:00");
  await main(page).getByText("No lines that fit.").waitFor();
  quiet(page);
});

test("settings tell value, source and place, and no secrets", async () => {
  const page = await it.open("/console/settings");
  const line = (key) => page.locator(`.ops-setting[data-key="${key}"]`);
  await line("hooks.secret").getByText("********").waitFor();
  await line("hooks.on_failure").getByText("skein.yaml:").waitFor();
  await line("listen").getByText("flag").waitFor();
  const text = await page.content();
  for (const hidden of [secret, "hush"]) assert.ok(!text.includes(hidden), hidden);
  const { settings } = await api("settings");
  await main(page).getByText(`${settings.length} of ${settings.length} settings`).waitFor();
  await page.getByLabel("Only what is not the default").check();
  const changed = settings.filter((s) => s.source !== "default").length;
  await main(page).getByText(`${changed} of ${settings.length} settings`).waitFor();
  await page.getByLabel("Search in names").fill("on_failure");
  await main(page).getByText(`1 of ${settings.length} settings`).waitFor();
  assert.equal(new URL(page.url()).search, "?changed=1&q=on_failure");
  await page.reload();
  await main(page).getByText(`1 of ${settings.length} settings`).waitFor();
  quiet(page);
});

test("on a phone all of it fits, in both colours, and the menu opens and closes", async () => {
  await api("schedules.put", { name: hostile[0].repeat(2), every: "1h", verb: "info" });
  const page = await it.open("/console/schedules", phone);
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Audit log" }).click();
  await heading(page, "Audit log");
  await page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "hidden" });
  for (const theme of ["light", "dark"]) {
    const own = await it.open("/console/schedules?new=1", { ...phone, theme });
    await own.locator("dialog option", { hasText: "publish" }).waitFor({ state: "attached" });
    await fits(own);
    await accessible(own);
    await own.goto(`${it.server.base}/console/schedules/${encodeURIComponent(hostile[0].repeat(2))}`);
    await own.getByRole("heading", { name: "Plan" }).waitFor();
    await fits(own);
    await harmless(own);
    quiet(own);
  }
});
