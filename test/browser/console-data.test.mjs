// Connections and channels in the console: what an operator does there, seen in the page, by
// the server, and by the clients that it is done to.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, test } from "node:test";
import { eventually } from "./browser.mjs";
import { accessible, begin, fits, harmless, hostile, phone, quiet, until } from "./console.mjs";

const it = await begin({ config: "durability: relaxed\nlimits: {frames_per_second: 1000000}\n" }); // some tests say a lot at once
const { api } = it;
after(() => it.end());
afterEach(() => it.close());

// A probe of what a channel is may be refused, which browsers write to the console; and so
// they do when the server is away.
const probe = /the server responded with a status of 400/;
const away = /the server responded with a status of (400|404|50\d)|net::ERR_/;

let clientPage;

// client connects somebody by a plain WebSocket; frames are all that it got.
async function client(user, { device, sub = [] } = {}) {
  if (!clientPage || clientPage.isClosed()) {
    clientPage = await (await it.browser.newContext()).newPage();
    await clientPage.goto(`${it.server.base}/healthz`);
  }
  const page = clientPage;
  const query = new URLSearchParams({ ...(user ? { user } : {}), ...(device ? { device } : {}) });
  const ws = await page.evaluateHandle((address) => new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    const it = { socket, frames: [], closed: undefined };
    socket.onerror = () => reject(new Error("no connection"));
    socket.onclose = (e) => { it.closed = e.code; };
    socket.onopen = () => { if (!address.includes("user=")) socket.send('{"type":"connect"}'); };
    socket.onmessage = (e) => {
      it.frames.push(JSON.parse(e.data));
      if (it.frames.length === 1) resolve(it);
    };
  }), `${it.server.base.replace("http", "ws")}/ws?${query}`);
  const me = {
    frames: () => ws.evaluate((c) => c.frames),
    closed: () => ws.evaluate((c) => c.closed),
    send: (frame) => ws.evaluate((c, f) => c.socket.send(JSON.stringify(f)), frame),
    flood: (channel, n) => ws.evaluate((c, [channel, n]) => { for (let i = 0; i < n; i++) c.socket.send(JSON.stringify({ type: "pub", channel, data: { n: i } })); }, [channel, n]),
    close: () => ws.evaluate((c) => c.socket.close()),
    got: (what) => until(async () => (await me.frames()).find((f) => Object.entries(what).every(([k, v]) => JSON.stringify(f[k]) === JSON.stringify(v))), { message: `no frame ${JSON.stringify(what)}` }),
  };
  me.id = (await me.frames())[0].connection;
  for (const [i, channel] of sub.entries()) {
    await me.send({ type: "sub", id: `s${i}`, channel });
    await me.got({ type: "ok", id: `s${i}` });
  }
  return me;
}

const button = (within, name) => within.getByRole("button", { name, exact: true });
const dialog = (page) => page.getByRole("dialog");
const row = (page, text) => page.locator("tr[data-row]").filter({ hasText: text });
const channel = (name, query = "") => `/console/channels/${encodeURIComponent(name)}${query}`;
const gone = (page) => dialog(page).waitFor({ state: "hidden" });

test("connections: the list is live, and its filters are in the address", async () => {
  const ann = await client("list-ann", { device: "phone", sub: ["room:list", "event:list"] });
  await client("list-bob", { sub: ["event:list"] });
  const page = await it.open("/console/connections?user=list-ann");
  await row(page, "list-ann").waitFor();
  await eventually(async () => assert.equal(await page.locator("tr[data-row]").count(), 1));
  const line = await row(page, "list-ann").locator("td").allTextContents();
  assert.deepEqual([line[0], line[2], line[3], line[6]], [ann.id.slice(-8), "phone", "websocket", "2"]);
  await client("list-ann", { device: "desk" });
  await row(page, "desk").waitFor();
  assert.equal((await api("connections", { user: "list-ann" })).items.length, 2);

  await page.getByLabel("User, in full").fill("");
  await page.getByLabel("Channel, in full").fill("event:list");
  await row(page, "list-bob").waitFor();
  await page.waitForURL(/\?channel=event%3Alist$/);
  await page.reload();
  await row(page, "list-bob").waitFor();
  await eventually(async () => assert.equal(await page.locator("tr[data-row]").count(), 2));
  await ann.close();
  await row(page, "list-ann").waitFor({ state: "detached" });
  await row(page, "list-bob").getByRole("link").first().click();
  await page.getByRole("heading", { level: 1, name: /^Connection / }).waitFor();
  await page.goBack();
  await row(page, "list-bob").waitFor();
  quiet(page);
});

test("a connection: session, subscriptions, messages, whose it is, and its end", async () => {
  const bob = await client("one-bob", { device: "pad", sub: ["room:one"] });
  const page = await it.open(`/console/connections/${bob.id}`);
  await page.getByText("one-bob").first().waitFor();

  await api("session.set", { connection: bob.id, data: { a: 1, big: 1 } });
  await page.getByRole("region", { name: "Session" }).getByText('"a"').waitFor();
  await button(page, "Edit").click();
  await dialog(page).getByLabel("Session", { exact: true }).fill('{"a": 2, "big": 9007199254740993}');
  await eventually(async () => assert.match(await dialog(page).locator(".diff tr").first().textContent(), /^\/a12$/));
  await button(dialog(page), "Save").click();
  await gone(page);
  const kept = await (await fetch(`${it.server.base}/api/v1/session.get`, { method: "POST", headers: { Authorization: "Bearer dev", "Content-Type": "application/json" }, body: JSON.stringify({ connection: bob.id }) })).text();
  assert.match(kept, /"big": ?9007199254740993/);
  await button(page, "Merge").click();
  await dialog(page).getByLabel("Merge patch").fill('{"a": null, "b": [1]}');
  await button(dialog(page), "Save").click();
  await gone(page);
  assert.deepEqual((await api("session.get", { connection: bob.id })).data.b, [1]);
  await page.getByRole("region", { name: "Session" }).getByText("9007199254740993").waitFor();

  await button(page, "Subscribe").click();
  await dialog(page).getByLabel("Channel").fill("event:one");
  await button(dialog(page), "Subscribe").click();
  await bob.got({ type: "subscribed", channel: "event:one" });
  await row(page, "event:one").waitFor();
  await button(page, "Unsubscribe: room:one").click();
  await button(dialog(page), "Unsubscribe").click();
  await bob.got({ type: "unsubscribed", channel: "room:one" });
  await row(page, "room:one").waitFor({ state: "detached" });

  await button(page, "Send a message").click();
  await dialog(page).getByLabel("Event").fill("hint");
  await dialog(page).getByLabel("Data (JSON)").fill('{"text": ');
  await eventually(async () => assert.equal(await button(dialog(page), "Send").isDisabled(), true));
  await dialog(page).getByText(/^Not JSON: line 1/).waitFor();
  await dialog(page).getByLabel("Data (JSON)").fill('{"text": "psst"}');
  await button(dialog(page), "Send").click();
  await bob.got({ type: "msg", channel: "@direct", event: "hint", data: { text: "psst" } });

  await button(page, "Bind").click();
  await dialog(page).getByLabel("User").fill("one-eve");
  await button(dialog(page), "Bind").click();
  await page.getByRole("link", { name: "one-eve" }).waitFor();
  assert.equal((await api("online", { users: ["one-eve"] }))["one-eve"].online, true);
  await button(page, "Unbind").click();
  await button(dialog(page), "Unbind").click();
  await page.getByText("anonymous", { exact: true }).waitFor();
  assert.equal((await api("online", { users: ["one-eve"] }))["one-eve"].online, false);

  await button(page, "Disconnect").click();
  await dialog(page).getByLabel("Message (optional)").fill("good night");
  await dialog(page).getByLabel("Close code (optional)").fill("3000");
  await button(dialog(page), "Disconnect").click(); // the browser holds it: 4000 at least
  assert.equal(await bob.closed(), undefined);
  await dialog(page).getByLabel("Close code (optional)").fill("4321");
  await dialog(page).getByLabel("The client should come back").check();
  await dialog(page).getByLabel("Event of the last message").fill("farewell");
  await dialog(page).getByLabel("Data (JSON)").fill('"bye"');
  await button(dialog(page), "Disconnect").click();
  await bob.got({ type: "msg", event: "farewell", data: "bye" });
  await bob.got({ type: "bye", message: "good night", reconnect: true });
  await until(async () => await bob.closed() === 4321);
  await page.getByText("This connection has ended.").waitFor();
  await eventually(async () => assert.equal(await button(page, "Disconnect").count(), 0));
  quiet(page, away); // its session is asked for once more
});

test("the live tail shows frames of both directions, bounded, filtered, paused and exported", async () => {
  const ann = await client("tail-ann", { sub: ["event:tail"] });
  const page = await it.open(`/console/connections/${ann.id}?tab=live`);
  const tail = page.getByRole("region", { name: "Live tail" });
  await tail.getByText("following begins").waitFor();
  await ann.send({ type: "pub", id: 7, channel: "event:tail", data: { needle: 1 } });
  await row(tail, '"needle":1').filter({ hasText: "← in" }).waitFor();
  await api("publish", { to: { channel: "event:tail" }, data: { needle: 2 } });
  await row(tail, '"needle":2').filter({ hasText: "→ out" }).waitFor();

  await tail.getByLabel("Only lines that contain").fill('"type":"pub"');
  await until(async () => await tail.locator("tr[data-row]").count() === 1);
  await tail.getByRole("button", { name: "Show" }).click();
  await dialog(page).getByText('"needle"').waitFor();
  await page.keyboard.press("Escape");
  await gone(page);
  const [download] = await Promise.all([page.waitForEvent("download"), button(tail, "Export NDJSON").click()]);
  const lines = readFileSync(await download.path(), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map((l) => [l.direction, l.frame.type, l.frame.data]), [["in", "pub", { needle: 1 }]]);
  assert.match(download.suggestedFilename(), /\.ndjson$/);
  await tail.getByLabel("Only lines that contain").fill("");

  await button(tail, "Pause").click();
  await ann.send({ type: "pub", channel: "event:tail", data: "later" });
  await tail.getByText("Paused, 1 new").waitFor();
  await eventually(async () => assert.equal(await row(tail, '"later"').count(), 0));
  await button(tail, "Resume").click();
  await row(tail, '"later"').first().waitFor();
  await button(tail, "Clear").click();
  await tail.getByText("Nothing has passed yet").waitFor();

  await ann.flood("event:tail", 1100);
  await tail.getByText(/^The newest 1,000 lines are kept; \d+ older ones went\.$/).waitFor();
  await eventually(async () => assert.equal(await tail.locator("table").getAttribute("aria-rowcount"), "1001"));
  await page.getByRole("tab", { name: "Facts" }).click();
  await page.getByText("Subscriptions (1)").waitFor();
  quiet(page);
});

test("channels: by prefix, those with members, opened by name; publishing without some", async () => {
  const ann = await client("chan-ann", { sub: ["event:chan-1", "game:chan-1"] });
  const bob = await client("chan-bob", { sub: ["event:chan-1"] });
  const page = await it.open("/console/channels?prefix=event%3Achan");
  await row(page, "event:chan-1").waitFor();
  assert.deepEqual((await row(page, "event:chan-1").locator("td").allTextContents()).slice(1, 4), ["event", "2", "2"]);
  await eventually(async () => assert.equal(await page.locator("tr[data-row]").count(), 1));
  await page.getByLabel("Name begins with").fill("game:chan");
  await row(page, "game:chan-1").getByText("document").waitFor();

  await api("members.add", { channel: "team:chan", users: ["chan-x", "chan-y"] });
  await page.getByRole("tab", { name: "With members" }).click();
  await page.getByLabel("Name begins with").fill("team:chan");
  await row(page, "team:chan").getByText("2").waitFor();
  await page.getByRole("link", { name: "team:chan" }).click();
  await page.getByText("conversation · group").waitFor();
  await page.goBack();

  await button(page, "Open").click();
  await dialog(page).getByLabel("Name of the channel").fill("event:chan-1");
  await button(dialog(page), "Open").click();
  const tail = page.getByRole("region", { name: "Live tail" });
  await tail.getByText("following begins").waitFor();
  await button(page, "Publish").click();
  await dialog(page).getByLabel("Event").fill("goal");
  await dialog(page).getByLabel("Data (JSON)").fill('{"by": 10}');
  await dialog(page).getByLabel("Without these users").fill("chan-bob");
  await button(dialog(page), "Send").click();
  await page.getByText("Sent to 1 connections of 1 users").waitFor();
  await ann.got({ type: "msg", event: "goal", data: { by: 10 } });
  assert.equal((await bob.frames()).filter((f) => f.type === "msg").length, 0);
  await row(tail, '"by":10').waitFor();
  await page.goto(it.server.base + channel("nowhere:x"));
  await page.getByText(/namespace "nowhere" is not configured/).waitFor();
  quiet(page, away);
});

test("a log: older messages page by page, new ones by themselves, a recall that is confirmed", async () => {
  for (let i = 1; i <= 150; i++) await api("publish", { to: { channel: "room:log" }, data: { n: i } });
  const ann = await client("log-ann", { sub: ["room:log"] });
  const page = await it.open(channel("room:log"));
  await row(page, '{"n":150}').waitFor();
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.getByText("150 rows").waitFor();
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await row(page, '{"n":1}').waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await ann.send({ type: "pub", id: 1, channel: "room:log", event: "note", data: { n: "new" } });
  await row(page, '{"n":"new"}').getByText("log-ann").waitFor();
  await page.getByText("151 rows").waitFor();

  await button(page, "Recall message 150").click();
  await button(dialog(page), "Cancel").click();
  assert.equal((await ann.frames()).some((f) => f.type === "recall"), false);
  await button(page, "Recall message 150").click();
  await button(dialog(page), "Recall").click();
  await ann.got({ type: "recall", channel: "room:log", seq: 150 });
  await page.locator('tr[aria-rowindex="3"]').getByText("recalled").waitFor();
  assert.equal((await api("history", { channel: "room:log", after: 149, limit: 1 })).messages[0].recalled, true);

  await button(page, "Show message 151").click();
  await dialog(page).getByText('"new"').waitFor();
  assert.match(page.url(), /message=151/);
  await page.reload();
  await dialog(page).getByRole("link", { name: ann.id }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByLabel("Up to number").fill("40");
  await row(page, '{"n":40}').waitFor();
  await eventually(async () => assert.equal(await row(page, '{"n":41}').count(), 0));
  quiet(page, probe);
});

test("who is subscribed, and who is a member", async () => {
  const ann = await client("team-ann", { sub: ["room:team"] });
  const bob = await client("team-bob");
  await ann.send({ type: "presence", id: 9, channel: "room:team", data: { mood: "fine" } });
  const page = await it.open(channel("room:team", "?tab=subscribers"));
  await row(page, "team-ann").getByText('{"mood":"fine"}').waitFor();
  await button(page, "Subscribe a user").click();
  await dialog(page).getByLabel("User").fill("team-bob");
  await button(dialog(page), "Subscribe").click();
  await bob.got({ type: "subscribed", channel: "room:team" });
  await row(page, "team-bob").waitFor();
  await button(page, "Unsubscribe everybody").click();
  await eventually(async () => assert.equal(await button(dialog(page), "Unsubscribe everybody").isDisabled(), true));
  await dialog(page).getByLabel("Type room:team to go on").fill("room:team");
  await button(dialog(page), "Unsubscribe everybody").click();
  await ann.got({ type: "unsubscribed", channel: "room:team" });
  await page.getByText("Nobody is subscribed").waitFor();

  await page.getByRole("tab", { name: "Members" }).click();
  await button(page, "Add members").click();
  await dialog(page).getByLabel("Users").fill("team-ann\nteam-bob\n\nteam-cleo\nteam-ann");
  await button(dialog(page), "Add 3").click();
  await page.getByText("3 became members, 2 connections subscribed").waitFor();
  await page.getByRole("heading", { name: "Members (3)" }).waitFor();
  await button(page, "Remove: team-cleo").click();
  await button(dialog(page), "Remove").click();
  await row(page, "team-cleo").waitFor({ state: "detached" });
  assert.equal((await api("members.count", { channel: "room:team" })).count, 2);
  await button(page, "Remove all").click();
  await dialog(page).getByLabel("Type room:team to go on").fill("room:team");
  await button(dialog(page), "Remove all").click();
  await page.getByText("It has no members").waitFor();
  assert.equal((await api("members.count", { channel: "room:team" })).count, 0);
  quiet(page, probe);
});

test("a document is edited as text: what changes is shown before, and a conflict loses nothing", async () => {
  await fetch(`${it.server.base}/api/v1/doc.put`, { method: "POST", headers: { Authorization: "Bearer dev", "Content-Type": "application/json" }, body: '{"channel":"game:edit","data":{"gold":9007199254740993,"price":12.50,"name":"Anna","list":[1,2]}}' });
  const page = await it.open(channel("game:edit"));
  await page.getByText("9007199254740993").waitFor();
  await button(page, "Edit").click();
  const editor = page.getByLabel("Document", { exact: true });
  const text = await editor.inputValue();
  assert.match(text, /"price": 12\.50/);
  await editor.fill(text.replace('"Anna"', '"Änna"').replace("[\n    1,\n    2\n  ]", "[\n    1,\n    3\n  ]").replace(/,?\n}$/, ',\n  "new": null\n}'));
  await page.getByText("3 places differ").waitFor();
  // Somebody else is faster.
  await api("doc.patch", { channel: "game:edit", ops: [{ op: "set", path: "/name", value: "Ben" }, { op: "inc", path: "/gold", by: 1 }], by: "anna" });
  await button(page, "Review changes").click();
  await eventually(async () => assert.deepEqual(await dialog(page).locator(".diff tr").allTextContents(), ['/name"Anna""Änna"', "/list[1,2][1,3]", "/newnull"]));
  await button(dialog(page), "Send 3 operations").click();
  await dialog(page).getByText(/Somebody was faster; nothing was written/).waitFor();
  assert.equal((await api("doc.get", { channel: "game:edit" })).data.name, "Ben");
  await button(dialog(page), "Cancel").click();
  await page.getByRole("heading", { name: "Version 2 is there; you are editing version 1" }).waitFor();
  await eventually(async () => assert.match(await page.locator(".newer").textContent(), /90071992547409939007199254740994.*"Anna""Ben".*"Ben""Änna"/));
  await eventually(async () => assert.match(await editor.inputValue(), /Änna/));
  await button(page, "Put mine onto it").click();
  await eventually(async () => assert.match(await editor.inputValue(), /9007199254740994/));
  await button(page, "Review changes").click();
  await dialog(page).getByLabel("In the name of a user (optional)").fill("desk");
  await button(dialog(page), "Send 3 operations").click();
  await page.getByRole("heading", { name: "Version 3" }).waitFor();
  const raw = await (await fetch(`${it.server.base}/api/v1/doc.get`, { method: "POST", headers: { Authorization: "Bearer dev", "Content-Type": "application/json" }, body: '{"channel":"game:edit"}' })).text();
  assert.match(raw, /"gold":9007199254740994,"price":12\.50,"name":"Änna","list":\[1,3\],"new":null/);

  await button(page, "Operations").click();
  await dialog(page).getByLabel("Operations").fill('[{"op":"inc","path":"/gold","by":5},{"op":"remove","path":"/new"}]');
  await eventually(async () => assert.deepEqual(await dialog(page).locator(".diff tr").allTextContents(), ["/gold90071992547409949007199254740999", "/newnull"]));
  await button(dialog(page), "Send").click();
  await page.getByText("9007199254740999").waitFor();
  await button(page, "Operations").click();
  await dialog(page).getByLabel("Operations").fill('[{"op":"inc","path":"/name","by":5}]');
  await button(dialog(page), "Send").click();
  await dialog(page).getByRole("alert").getByText(/ops\[0\]/).waitFor();
  await button(dialog(page), "Cancel").click();
  await button(page, "Delete").click();
  await dialog(page).getByLabel("Type game:edit to go on").fill("game:edit");
  await button(dialog(page), "Delete").click();
  await page.getByText("It was deleted: there is nothing.").waitFor();
  quiet(page, /status of (400|409)/);
});

test("what was changed in a document and not saved is not lost by going elsewhere", async () => {
  await api("doc.put", { channel: "game:leave", data: { n: 1 } });
  const page = await it.open(channel("game:leave"));
  const asked = [];
  let leave = false;
  page.on("dialog", (d) => {
    asked.push(d.message());
    return leave ? d.accept() : d.dismiss();
  });
  await button(page, "Edit").click();
  await page.getByRole("link", { name: "Users" }).click();
  await page.getByRole("heading", { level: 1, name: "Users" }).waitFor();
  await page.goBack();
  const editor = page.getByLabel("Document", { exact: true });
  await editor.fill('{"n": 2');
  assert.deepEqual(asked, [], "nothing was changed yet");
  await page.getByRole("link", { name: "Users" }).click();
  await page.goForward(); // to the users, where one has been
  await until(() => asked.length === 2);
  assert.deepEqual(asked, Array(2).fill("What you have changed here is not saved. Leave it?"));
  await eventually(async () => assert.equal(await editor.inputValue(), '{"n": 2'));
  assert.match(page.url(), /game%3Aleave\?edit=1$/);
  leave = true;
  await page.getByRole("link", { name: "Users" }).click();
  await page.getByRole("heading", { level: 1, name: "Users" }).waitFor();
  await page.goto(`${it.server.base}/console/hooks`); // and it does not hold up anything afterwards
  assert.equal(asked.length, 3);
  assert.equal((await api("doc.get", { channel: "game:leave" })).data.n, 1);
  quiet(page, probe);
});

test("who changed what and when is recorded, and undone from the console before a client's eyes", async () => {
  const game = "game:undo";
  await api("doc.put", { channel: game, data: { hp: 20, items: ["bow"], name: "Anna" }, by: "gm" });
  const anna = await client("anna", { sub: [game] });
  await anna.got({ type: "snapshot", data: { hp: 20, items: ["bow"], name: "Anna" } });
  await anna.send({ type: "patch", id: 1, channel: game, ops: [{ op: "inc", path: "/hp", by: -7 }] });
  await anna.got({ type: "ok", id: 1, version: 2 });
  await api("doc.patch", { channel: game, ops: [{ op: "append", path: "/items", value: "rope" }, { op: "set", path: "/name", value: "Anne" }], by: "gm" });

  const page = await it.open(channel(game, "?tab=history"));
  const lines = page.locator("tr[data-row]");
  await lines.nth(2).waitFor();
  const told = await lines.evaluateAll((list) => list.map((tr) => [...tr.cells].slice(0, 4).map((td) => td.textContent)));
  assert.deepEqual(told.map(([version, , who, what]) => [version, who, what]), [["3", "gm", '/items/1: – → "rope"+1 more'], ["2", "anna", "/hp: 20 → 13"], ["1", "gm", '/: – → {"hp":20,"items":["bow"],"name":"Anna"}']]);
  const when = await lines.first().locator("time").getAttribute("datetime");
  assert.ok(Math.abs(Date.parse(when) - Date.now()) < 60_000, when);

  // What undoing would change is shown first, for what is there now.
  await anna.send({ type: "patch", id: 2, channel: game, ops: [{ op: "inc", path: "/hp", by: 2 }] });
  await button(page, "Undo version 2").click();
  await dialog(page).getByText("/hp").waitFor();
  await until(async () => (await dialog(page).locator(".diff tr").allTextContents()).join() === "/hp1522");
  await button(dialog(page), "Undo").click();
  await gone(page);
  await anna.got({ type: "patch", version: 5, ops: [{ op: "inc", path: "/hp", by: 7, value: 22 }] });
  assert.equal((await api("doc.get", { channel: game })).data.hp, 22);
  await lines.filter({ hasText: "undoes 2" }).getByText("/hp: 15 → 22").waitFor();
  assert.equal((await api("doc.history", { channel: game, limit: 1 })).patches[0].undoes, 2);

  // What somebody has changed again since is a conflict, which is told, and may be overridden.
  await anna.send({ type: "patch", id: 3, channel: game, ops: [{ op: "set", path: "/name", value: "Anna the Great" }] });
  await until(async () => (await api("doc.get", { channel: game })).data.name === "Anna the Great");
  await button(page, "Show version 3").click();
  await eventually(async () => assert.deepEqual(await dialog(page).locator(".diff tr").allTextContents(), ['/items/1"rope"', '/name"Anna""Anne"']));
  assert.match(page.url(), /version=3/);
  await button(dialog(page), "Undo version 3").click();
  await until(async () => (await dialog(page).locator(".diff tr").allTextContents()).join() === '/items/1"rope",/name"Anna the Great""Anna"');
  await button(dialog(page), "Undo").click();
  await dialog(page).getByText(/version 6 \(user "anna"\) has changed \/name since/).waitFor();
  assert.equal((await api("doc.get", { channel: game })).version, 6);
  await dialog(page).getByLabel("Undo it anyway").check();
  await button(dialog(page), "Undo anyway").click();
  const back = await anna.got({ type: "patch", version: 7 });
  assert.ok(back.ops.some((op) => op.path === "/name" && op.value === "Anna"), JSON.stringify(back));
  assert.deepEqual((await api("doc.get", { channel: game })).data, { hp: 22, items: ["bow"], name: "Anna" });
  quiet(page, /status of (400|409)/);
});

test("what users may name is only ever a text", async () => {
  const evil = hostile.map((text) => text.replaceAll(" ", "/")); // names have no spaces
  const clients = [];
  for (const [i, text] of evil.entries()) {
    clients.push(await client(text, { device: text.slice(0, 40), sub: [`event:${text}`, `room:evil`] }));
    await clients[i].send({ type: "presence", id: 5, channel: "room:evil", data: { [text]: text } });
    await clients[i].send({ type: "pub", id: 6, channel: "room:evil", event: "evil", data: { [text]: text } });
    await clients[i].got({ type: "ok", id: 6 });
    await api("session.set", { connection: clients[i].id, data: { [text]: text } });
  }
  await api("members.add", { channel: "room:evil", users: evil });
  await api("doc.put", { channel: "game:evil", data: Object.fromEntries(evil.map((text) => [text, text])), by: evil[0] });
  const page = await it.open("/console/connections?channel=room%3Aevil");
  for (const text of evil) await row(page, text).first().waitFor();
  await harmless(page);
  for (const [path, ready] of [
    [`/console/connections/${clients[0].id}`, `event:${evil[0]}`],
    ["/console/channels?prefix=event%3A", `event:${evil[1]}`],
    [channel("room:evil"), JSON.stringify({ [evil[0]]: evil[0] })],
    [channel("room:evil", "?message=1"), "Message 1"],
    [channel("room:evil", "?tab=subscribers"), evil[2]],
    [channel("room:evil", "?tab=members"), evil[2]],
    [channel("game:evil"), JSON.stringify(evil[0])],
    [channel("game:evil", "?tab=history"), evil[0]],
    [channel("game:evil", "?tab=history&version=1"), "What changed"],
    [channel(`event:${evil[0]}`), "following begins"],
    [channel(`event:${evil[1]}`, "?tab=subscribers"), evil[1]],
  ]) {
    await page.goto(it.server.base + path);
    await page.locator("main").getByText(ready).first().waitFor();
    await harmless(page);
  }
  // The link of a hostile name leads to its page and nowhere else.
  await page.goto(`${it.server.base}/console/channels?prefix=event%3A`);
  await page.getByRole("link", { name: `event:${evil[0]}` }).click();
  await page.getByRole("heading", { level: 1, name: `event:${evil[0]}` }).waitFor();
  await page.getByText("following begins").waitFor();
  await api("publish", { to: { channel: `event:${evil[0]}` }, event: "evil", data: evil });
  await row(page, "onerror").waitFor();
  await harmless(page);
  quiet(page, probe);
});

test("a viewer sees everything and is offered nothing", async () => {
  const ann = await client("view-ann", { sub: ["room:view", "game:view"] });
  await api("publish", { to: { channel: "room:view" }, data: "seen" });
  await api("doc.put", { channel: "game:view", data: { a: 1 }, by: "gm" });
  await api("members.add", { channel: "room:view", users: ["view-ann"] });
  const page = await it.open("/console/connections?user=view-ann", { role: "viewer" });
  await row(page, "view-ann").waitFor();
  const offered = async () => (await page.locator("main").getByRole("button").allTextContents()).filter((name) => !/^(Show|Load more|Refresh|⧉|)$/.test(name.trim()));
  assert.deepEqual(await offered(), []);
  for (const [path, ready] of [
    [`/console/connections/${ann.id}?tab=live`, "Subscriptions (2)"],
    [channel("room:view"), '"seen"'],
    [channel("room:view", "?tab=subscribers"), "view-ann"],
    [channel("room:view", "?tab=members"), "Members (1)"],
    [channel("game:view", "?edit=1"), '"a"'],
    [channel("game:view", "?tab=history"), "gm"],
  ]) {
    await page.goto(it.server.base + path);
    await page.locator("main").getByText(ready).first().waitFor();
    assert.deepEqual(await offered(), [], path);
    await eventually(async () => assert.equal(await page.getByRole("tab", { name: "Live tail" }).count(), 0));
  }
  // Nor does the server let it.
  const status = await page.evaluate(async (id) => {
    const { csrf } = await (await fetch("/console/session")).json();
    return (await fetch("/api/v1/disconnect", { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf }, body: JSON.stringify({ connection: id }) })).status;
  }, ann.id);
  assert.equal(status, 403);
  assert.equal(await ann.closed(), undefined);
});

test("by the keyboard alone: a channel is found, written to, and a message recalled", async () => {
  await client("keys-ann", { sub: ["room:keys"] });
  const page = await it.open("/console/channels");
  await row(page, "room:keys").waitFor();
  const tab = async (name) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((n) => { const el = document.activeElement; return (el.ariaLabel ?? el.labels?.[0]?.textContent ?? el.textContent).trim() === n; }, name)) return;
    }
    assert.fail(`the keyboard does not reach ${name}`);
  };
  await tab("Name begins with");
  await page.keyboard.type("room:keys");
  await page.waitForURL(/prefix=room%3Akeys/);
  await tab("room:keys");
  await page.keyboard.press("Enter");
  await button(page, "Publish").waitFor();
  await tab("Publish");
  await page.keyboard.press("Enter");
  await dialog(page).waitFor();
  await tab("Data (JSON)");
  await page.keyboard.type('"by hand"');
  await tab("Send");
  await page.keyboard.press("Enter");
  await gone(page);
  await row(page, '"by hand"').waitFor();
  await tab("Recall message 1");
  await page.keyboard.press("Enter");
  await dialog(page).waitFor();
  await tab("Recall");
  await page.keyboard.press("Enter");
  await page.locator("tr[data-row]").getByText("recalled").waitFor();
  assert.equal((await api("history", { channel: "room:keys" })).messages[0].recalled, true);
  await page.getByRole("tab", { name: "Messages" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.waitForURL(/tab=subscribers/);
  quiet(page, probe);
});

test("on a phone nothing is wider than the screen, and everybody can use it in light and dark", async () => {
  const ann = await client("phone-ann-with-a-name-that-is-rather-long-for-a-phone", { device: "a-device-with-a-long-name", sub: ["room:phone", "event:phone", "game:phone"] });
  for (let i = 0; i < 3; i++) await api("publish", { to: { channel: "room:phone" }, data: { text: "long ".repeat(60) } });
  await api("doc.put", { channel: "game:phone", data: { ["place".repeat(20)]: "x".repeat(400) }, by: "gm" });
  await api("members.add", { channel: "room:phone", users: ["phone-ann"] });
  const views = [
    ["/console/connections?channel=room%3Aphone", "phone-ann"], [`/console/connections/${ann.id}`, "Subscriptions (3)"], [`/console/connections/${ann.id}?tab=live`, "following begins"],
    ["/console/channels", "room:phone"], [channel("room:phone"), "long long"], [channel("room:phone", "?message=1"), "Message 1"], [channel("room:phone", "?tab=subscribers"), "phone-ann"],
    [channel("room:phone", "?tab=members"), "phone-ann"], [channel("game:phone"), "Version 1"], [channel("game:phone", "?edit=1"), "Editing version 1"], [channel("game:phone", "?tab=history&version=1"), "What changed"],
  ];
  const small = await it.open("/console/", { ...phone, theme: "dark" });
  const wide = await it.open("/console/", { theme: "light" });
  const look = async (page) => {
    for (const [path, ready] of views) {
      await page.goto(it.server.base + path);
      await page.getByText(ready).first().waitFor();
      await fits(page);
      await accessible(page);
    }
  };
  await Promise.all([look(small), look(wide)]);
  await wide.goto(it.server.base + channel("room:phone"));
  for (const name of ["Publish", "Recall message 1"]) {
    await button(wide, name).click();
    await accessible(wide);
    await wide.keyboard.press("Escape");
  }
  const chinese = await it.open(channel("room:phone"), { language: "zh" });
  await chinese.getByRole("tab", { name: "消息" }).waitFor();
  await button(chinese, "发布").waitFor();
});

test("10,000 messages: to the last one, with a hundred rows at most, and without a long frame", async (t) => {
  for (let i = 0; i < 20; i++) await (await client(`many-${i}`)).flood("room:many", 500);
  await until(async () => (await api("history", { channel: "room:many", limit: 1 })).seq === 10_000, { timeout: 30_000 });
  const page = await it.open(channel("room:many"));
  await page.locator("tr[data-row]").first().waitFor();
  await page.evaluate(() => {
    window.most = 0;
    new MutationObserver(() => { window.most = Math.max(window.most, document.querySelectorAll("tr[data-row]").length); }).observe(document.querySelector("main"), { childList: true, subtree: true });
  });
  await until(() => page.evaluate(() => {
    scrollTo(0, document.documentElement.scrollHeight);
    return document.querySelector(".list-foot").textContent === "10,000 rows";
  }), { timeout: 30_000 });
  await page.waitForFunction(() => document.querySelector("tr[aria-rowindex='10001']"));
  const frames = await page.evaluate(() => new Promise((resolve) => {
    const times = [];
    const height = document.documentElement.scrollHeight;
    let y = height, last = performance.now();
    const step = () => {
      const now = performance.now();
      times.push(now - last);
      last = now;
      y -= height / 120;
      scrollTo(0, y);
      if (y > 0) requestAnimationFrame(step);
      else resolve(times.slice(1).sort((a, b) => a - b));
    };
    requestAnimationFrame(step);
  }));
  const most = await page.evaluate(() => window.most);
  t.diagnostic(`frames while scrolling: median ${frames[frames.length >> 1].toFixed(1)} ms, longest ${frames.at(-1).toFixed(1)} ms of ${frames.length}; at most ${most} rows`);
  assert.ok(most <= 100, `${most} rows are in the document`);
  assert.ok(frames.at(-1) < 1500, `a frame takes ${frames.at(-1)} ms`);
  await page.locator("tr[aria-rowindex='2']").getByText("10000").waitFor();
});

test("the server starts again under the page: it says so, and comes back by itself", async () => {
  await api("publish", { to: { channel: "room:again" }, data: "before" });
  const list = await it.open(channel("room:again"));
  const tail = await it.open(channel("event:again"));
  await row(list, '"before"').waitFor();
  await tail.getByText("following begins").waitFor();
  await it.server.stop();
  await list.getByText(/^The server does not answer\. What is on this page is from/).waitFor();
  await tail.getByText("Lost, trying again …").waitFor();
  await row(list, '"before"').waitFor(); // still there, and marked as old
  await it.restart();
  await api("publish", { to: { channel: "room:again" }, data: "after" });
  await row(list, '"after"').waitFor();
  await list.getByText(/^The server does not answer/).waitFor({ state: "hidden" });
  await tail.getByText("Live", { exact: true }).nth(1).waitFor();
  await tail.getByText("The server did not answer here: lines may be missing").waitFor();
  await api("publish", { to: { channel: "event:again" }, data: "heard" });
  await row(tail, '"heard"').waitFor();
  await list.getByRole("tab", { name: "Subscribers" }).click();
  await list.getByText("Nobody is subscribed").waitFor();
  quiet(list, away);
});
