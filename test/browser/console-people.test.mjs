// The console's pages about people: users and what came to them, pushes with a preview of
// whom they reach, categories, and campaigns. What an operator does is seen in the page,
// in the server, and by devices.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { eventually } from "./browser.mjs";
import { accessible, begin, fits, harmless, hostile, phone, quiet, until } from "./console.mjs";

let it;
before(async () => { it = await begin(); });
afterEach(async () => { await it.close(); });
after(async () => { await it?.end(); });

// What the browser itself says about an answer that is no success, or a server that is gone.
const ofBrowser = /Failed to load resource|ERR_|WebSocket connection/;

const go = (page, path) => page.goto(it.server.base + path);
const button = (page, name) => page.getByRole("button", { name, exact: true });
const link = (page, name) => page.locator("#main").getByRole("link", { name, exact: true });
const dialog = (page) => page.getByRole("dialog");
const says = (page, text) => page.locator("#main").getByText(text).first().waitFor();
const record = async (params) => (await it.api("records", params)).items[0];
const becomes = (message, user, outcome) => until(async () => {
  const found = await record({ message, user });
  return found?.outcome === outcome && found;
});

// devices connects each of some users with a WebSocket of a browser's page; they acknowledge
// what comes. The page's got gives what came to a user.
async function devices(...users) {
  const page = await it.open("/healthz", { role: "" });
  page.got = (user) => page.evaluate((user) => window.got[user], user);
  await page.evaluate((users) => {
    window.got = {};
    return Promise.all(users.map((user) => new Promise((up) => {
      window.got[user] = [];
      const ws = new WebSocket(`${location.origin.replace("http", "ws")}/ws?user=${encodeURIComponent(user)}&device=phone`);
      ws.onopen = () => ws.send(JSON.stringify({ type: "connect" }));
      ws.onmessage = (e) => {
        const frame = JSON.parse(e.data);
        if (frame.type === "welcome" || frame.type === "connected") up();
        if (frame.type !== "msg" || frame.channel !== "@inbox") return;
        window.got[user].push(frame);
        ws.send(JSON.stringify({ type: "ack", messages: [frame.id] }));
      };
    })));
  }, users);
  return page;
}

const comes = (clients, user, text) => until(async () => (await clients.got(user)).some((f) => f.data.text === text), { message: `${text} did not come to ${user}` });

// capped gives a user a message that a cap has held back.
async function capped(user, category) {
  await it.api("categories.put", { name: category, caps: [{ per: "720h", max: 1 }] });
  await it.api("users.put", { id: user, attributes: { tz: "Europe/Oslo" } });
  await it.api("push", { to: { users: [user] }, category, data: { text: "first" } });
  return (await it.api("push", { to: { users: [user] }, category, event: "offer", data: { text: "second" } })).id;
}

test("why a user did not get a message is told three clicks from any page", async () => {
  const id = await capped("42", "three-clicks");
  const page = await it.open("/console/");
  let clicks = 0;
  const click = async (what) => {
    clicks++;
    await what.click();
  };
  await click(page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Users" }));
  await click(link(page, "42"));
  await click(page.getByRole("row").filter({ hasText: "capped" }).getByRole("link"));
  await says(page, "It did not interrupt the user: the cap “three-clicks: 1 per 720h” was used up.");
  await says(page, "It can be read in the inbox.");
  assert.equal(clicks, 3);
  assert.ok(page.url().endsWith(`/console/users/42/messages/${id}`), page.url());
  await says(page, "Content: offer");
  const life = await page.locator(".lifeline li strong").allTextContents();
  assert.deepEqual(life, ["queued", "capped"]);
  await page.goBack();
  await page.getByRole("heading", { name: "42", exact: true }).waitFor();
  quiet(page);
});

test("users are found by id and by a filter that is rows and JSON at once", async () => {
  const users = [["find-1", "Oslo", 3], ["find-2", "Oslo", 12], ["find-3", "Beijing", 20], ["find-4", "Bern", 30]];
  await it.api("users.put", { users: users.map(([id, city, level]) => ({ id, attributes: { city, level, ...(level > 10 ? { tags: ["found"] } : {}) } })) });
  await it.api("push", { to: { users: ["find-only-heard-of"] }, data: 1 });
  const page = await it.open("/console/users");
  const rows = () => page.locator("tr[data-row] td:first-child").allTextContents();
  const shows = (...ids) => until(async () => (await rows()).join() === ids.join(), { message: `not ${ids}` });
  await page.getByLabel("Beginning of the id").fill("find-");
  await shows("find-1", "find-2", "find-3", "find-4");
  await page.getByLabel("Beginning of the id").fill("find-only-heard-of");
  await shows("find-only-heard-of");
  await page.getByLabel("Beginning of the id").fill("");
  await button(page, "Filter by attributes").click();
  await button(page, "Add a condition").click();
  await says(page, "A condition is not filled in yet.");
  await page.getByLabel("Attribute").fill("city");
  await page.getByLabel("Comparison").selectOption("in");
  await page.getByLabel("Value", { exact: true }).fill("Oslo, Beijing");
  await shows("find-1", "find-2", "find-3");
  await button(page, "Add a tag").click();
  await page.getByLabel("Tag", { exact: true }).fill("found");
  await shows("find-2", "find-3");
  await says(page, "2 users found");
  await button(page, "Write it as JSON").click();
  const json = page.getByLabel("Filter as JSON");
  await eventually(async () => assert.equal(await json.inputValue(), '{"all":[{"field":"/city","in":["Oslo","Beijing"]},{"tag":"found"}]}'));
  // The other way round, also with what one row cannot say, and with a number as it is written.
  await json.fill('{"any":[{"field":"/level","gte":3,"lt":12.50},{"not":{"any":[{"field":"/level","exists":true},{"tag":"found"}]}}]}');
  await until(async () => (await rows()).join().startsWith("42,") || (await rows()).includes("find-1"));
  assert.ok((await rows()).includes("find-2") && !(await rows()).includes("find-3"));
  assert.equal(new URL(page.url()).searchParams.get("where"), '{"any":[{"field":"/level","gte":3,"lt":12.50},{"not":{"any":[{"field":"/level","exists":true},{"tag":"found"}]}}]}');
  const { count } = await it.api("users.query", { where: JSON.parse(new URL(page.url()).searchParams.get("where")), count: true });
  await says(page, `${count} users found`);
  await eventually(async () => assert.deepEqual(await page.getByLabel("How the conditions belong together").evaluateAll((all) => all.map((el) => el.value)), ["any", "all", "none"]));
  // The address is the search.
  const other = await it.open(new URL(page.url()).pathname + new URL(page.url()).search);
  await says(other, `${count} users found`);
  await json.fill('{"tag":');
  await page.getByText("Not JSON: line 1").first().waitFor();
  quiet(page, ofBrowser);
});

test("what is known of a user is changed, as it was written, and mutes and blocks with it", async () => {
  await it.api("categories.put", { name: "to-mute", caps: [{ per: "720h", max: 1 }] });
  await it.api("users.put", { id: "edit", attributes: { city: "Oslo" } });
  await it.api("members.add", { channel: "team:people", users: ["edit"] });
  const clients = await devices("edit");
  const page = await it.open("/console/users/edit?tab=profile");
  await button(page, "Edit").click();
  await dialog(page).getByLabel("Attributes").fill('{"city": "Bergen", "account": 9007199254740993, "share": 0.10}');
  await dialog(page).getByText("/account").waitFor();
  await button(dialog(page), "Save").click();
  await dialog(page).waitFor({ state: "detached" });
  await says(page, "9007199254740993");
  const raw = await (await fetch(`${it.server.base}/api/v1/users.get`, { method: "POST", headers: { Authorization: "Bearer dev", "Content-Type": "application/json" }, body: '{"id":"edit"}' })).text();
  assert.ok(raw.includes('"account":9007199254740993') && raw.includes('"share":0.10'), raw);
  // What somebody else changes meanwhile is not overwritten.
  await button(page, "Edit").click();
  await dialog(page).getByLabel("Attributes").fill('{"city": "Tromsø"}');
  await it.api("users.put", { id: "edit", attributes: { city: "Moss" } });
  await button(dialog(page), "Save").click();
  await dialog(page).getByText("changed by somebody else meanwhile").waitFor();
  await button(dialog(page), "Cancel").click();
  // Mutes.
  await page.getByRole("tab", { name: "Would it arrive?" }).click();
  const card = page.locator('[data-category="to-mute"]');
  await card.getByText("would arrive now", { exact: true }).waitFor();
  await button(page, "Mute: to-mute").click();
  await card.getByText("would not interrupt").waitFor();
  assert.deepEqual((await it.api("categories.mute", { user: "edit" })).muted, ["to-mute"]);
  await button(page, "Unmute: to-mute").click();
  await until(async () => (await it.api("categories.mute", { user: "edit" })).muted.length === 0);
  await it.api("push", { to: { users: ["edit"] }, category: "to-mute", data: { text: "one" } });
  await card.getByText("to-mute: 1 of 1 per 720h").waitFor();
  await card.getByText("would not interrupt").waitFor();
  // Connections and memberships.
  await page.getByRole("tab", { name: "Connections" }).click();
  await page.getByRole("row").filter({ hasText: "websocket" }).getByRole("link").waitFor();
  await link(page, "team:people").waitFor();
  // A block ends the connection, and is told.
  await button(page, "Block").click();
  await dialog(page).getByLabel("Reason").fill("spam");
  await button(dialog(page), "Block").click();
  await says(page, "This user is blocked");
  assert.equal((await it.api("users.blocked", { users: ["edit"] })).users.edit.reason, "spam");
  await until(async () => !(await it.api("online", { users: ["edit"] })).edit.online);
  await button(page, "Let in again").click();
  await button(dialog(page), "Let in again").click();
  await button(page, "Block").waitFor();
  assert.equal((await it.api("users.blocked", { users: ["edit"] })).users.edit.blocked, false);
  // Deleting needs the id.
  await button(page, "Delete user").click();
  await eventually(async () => assert.ok(await button(dialog(page), "Delete").isDisabled()));
  await dialog(page).getByLabel("Type edit to go on").fill("edit");
  await button(dialog(page), "Delete").click();
  await page.getByRole("heading", { name: "Users" }).waitFor();
  await assert.rejects(it.api("users.get", { id: "edit" }), /not_found/);
  await clients.context().close();
  quiet(page, ofBrowser);
});

test("the life of a message is followed on its page, and each outcome is told in words", async () => {
  await it.api("users.put", { id: "life", attributes: {} });
  const { id } = await it.api("push", { to: { users: ["life"] }, category: "orders", data: { text: "follow me" } });
  const page = await it.open(`/console/users/life/messages/${id}`);
  await says(page, "It waits until a device of the user is there.");
  const clients = await devices("life");
  await says(page, "The device phone has acknowledged it.");
  const delivered = await becomes(id, "life", "delivered");
  assert.ok(delivered.sent && delivered.delivered);
  await it.api("inbox.mark", { user: "life", read: delivered.seq });
  await page.locator(".story .badge").getByText("read", { exact: true }).waitFor();
  await eventually(async () => assert.deepEqual(await page.locator(".lifeline li.done strong").allTextContents(), ["queued", "sent", "delivered", "read"]));
  await clients.context().close();
  await until(async () => !(await it.api("online", { users: ["life"] })).life.online);
  // Muted, quiet, replaced, expired, recalled by hand.
  await it.api("categories.mute", { user: "life", category: "news", muted: true });
  await it.api("categories.put", { name: "night", quiet: { from: "00:00", to: "23:59" }, on_quiet: "inbox" });
  const push = async (more) => (await it.api("push", { to: { users: ["life"] }, data: { text: "x" }, ...more })).id;
  const ids = { muted: await push({ category: "news" }), replaced: await push({ collapse: "c" }), again: await push({ collapse: "c" }), expired: await push({ expires: "1s" }), recall: await push({}) };
  const told = { muted: "who has muted its category.", replaced: "A newer message with the same collapse took its place", again: "It waits until a device of the user is there.", expired: "Its time was over before a device had acknowledged it." };
  for (const [name, text] of Object.entries(told)) {
    await go(page, `/console/users/life/messages/${ids[name]}`);
    await says(page, text);
  }
  await go(page, `/console/users/life/messages/${ids.recall}`);
  await button(page, "Recall").click();
  await dialog(page).getByLabel("Type recall to go on").fill("recall");
  await button(dialog(page), "Recall").click();
  await says(page, "It was withdrawn before a device had acknowledged it.");
  await becomes(ids.recall, "life", "recalled");
  // The list of the user, by outcome.
  await go(page, "/console/users/life?outcome=recalled");
  await until(async () => (await page.locator("tr[data-row]").count()) === 2);
  await page.getByLabel("Outcome").selectOption("muted");
  await page.getByRole("row").filter({ hasText: "muted by the user" }).waitFor();
  assert.ok(page.url().includes("outcome=muted"));
  quiet(page);
});

// write fills in what a push says.
async function write(page, text) {
  await page.getByLabel("Data (JSON)").fill(JSON.stringify({ text }));
  await page.locator(".push-card").getByText(text, { exact: true }).waitFor();
}

test("a push goes to users by id and to a list, after a test to oneself", async () => {
  await capped("list-2", "list-cap");
  const clients = await devices("list-1", "list-3", "myself");
  const page = await it.open("/console/users/list-2");
  await link(page, "Push to this user").click();
  await page.locator(".estimate-count", { hasText: "1 people · 0 online" }).waitFor();
  await page.getByLabel("Ids of users, one a line").fill("list-1\nlist-2\n\nlist-3\nlist-1");
  await page.locator(".estimate-count", { hasText: "3 people · 2 online" }).waitFor();
  await page.getByLabel("Category").selectOption("list-cap");
  await page.locator(".estimate li", { hasText: "over the cap “list-cap: 1 per 720h”" }).getByText("1", { exact: true }).waitFor();
  await page.locator(".people li", { hasText: "list-2" }).getByText("list-cap: 1 per 720h").waitFor();
  await write(page, "to a list");
  await page.getByLabel("Test it on yourself: your user id").fill("myself");
  await button(page, "Send a test").click();
  await comes(clients, "myself", "to a list");
  await page.locator(".test-result").getByText("The device phone has acknowledged it.").waitFor();
  assert.deepEqual(await clients.got("list-1"), []);
  await button(page, "Send now …").click();
  await dialog(page).getByText("3 people").waitFor();
  await button(dialog(page), "Send").click();
  for (const user of ["list-1", "list-3"]) await comes(clients, user, "to a list");
  const sent = page.locator(".sent");
  await sent.locator('[data-outcome="delivered"]').getByText("2", { exact: true }).waitFor();
  await sent.locator('[data-outcome="capped"]').getByText("1", { exact: true }).waitFor();
  const message = new URL(page.url()).searchParams.get("sent");
  const { items } = await it.api("records", { message });
  assert.deepEqual(items.map((r) => `${r.user} ${r.outcome}`).sort(), ["list-1 delivered", "list-2 capped", "list-3 delivered"]);
  // What is in the browser is still there after a reload, also oneself.
  await page.reload();
  await eventually(async () => assert.equal(await page.getByLabel("Test it on yourself: your user id").inputValue(), "myself"));
  assert.equal(JSON.parse(await page.getByLabel("Data (JSON)").inputValue()).text, "to a list");
  quiet(page);
});

test("a push goes to users by filter, to members and to everybody; to many, their number is typed", async () => {
  const users = [...Array(25)].map((_, i) => ({ id: `many-${i}`, attributes: { club: "chess" } }));
  await it.api("users.put", { users });
  await it.api("members.add", { channel: "team:chess", users: ["many-1", "many-2"] });
  const clients = await devices("many-1", "many-2", "many-24", "outsider");
  const page = await it.open("/console/push");
  await page.getByLabel("Users by filter").check();
  await button(page, "Add a condition").click();
  await page.getByLabel("Attribute").fill("/club");
  // Not complete: nobody is meant yet, rather than everybody.
  await page.getByLabel("Value", { exact: true }).fill("chess");
  await page.locator(".estimate-count", { hasText: "25 people · 3 online" }).waitFor();
  await write(page, "by filter");
  await button(page, "Send now …").click();
  await dialog(page).getByText("25 people").waitFor();
  await eventually(async () => assert.ok(await button(dialog(page), "Send").isDisabled()));
  await dialog(page).getByLabel("Type 25, the number of people, to go on").fill("25");
  await button(dialog(page), "Send").click();
  for (const user of ["many-1", "many-2", "many-24"]) await comes(clients, user, "by filter");
  await says(page, "25 of 25 people pushed to");
  await page.locator('[data-outcome="delivered"]').getByText("3", { exact: true }).waitFor();
  await page.locator('[data-outcome="queued"]').getByText("22", { exact: true }).waitFor();
  assert.equal((await it.api("records", { campaign: page.url().split("/").pop(), outcome: "delivered" })).items.length, 3);
  // Members of a channel.
  await go(page, "/console/push?to=members&channel=team:chess");
  await page.locator(".estimate-count", { hasText: "2 people · 2 online" }).waitFor();
  await write(page, "to members");
  await button(page, "Send now …").click();
  await dialog(page).getByText("2 people").waitFor();
  await button(dialog(page), "Send").click();
  for (const user of ["many-1", "many-2"]) await comes(clients, user, "to members");
  // Everybody.
  await go(page, "/console/push?to=all");
  await write(page, "to everybody");
  await button(page, "Send now …").click();
  await dialog(page).locator(".estimate-count").waitFor();
  const n = (await it.api("campaigns.estimate", { to: { all: "users" } })).audience;
  await dialog(page).getByLabel(`Type ${n}, the number of people, to go on`).fill(String(n));
  await button(dialog(page), "Send").click();
  for (const user of ["many-1", "many-2", "many-24", "outsider"]) await comes(clients, user, "to everybody");
  await says(page, "Pushed to everybody at once");
  const frames = (await clients.got("outsider")).map((f) => f.data.text);
  assert.deepEqual(frames, ["to everybody"]);
  assert.equal((await record({ user: "outsider" })).outcome, "delivered");
  quiet(page);
});

test("a campaign is made, estimated, started, paused, resumed, watched by outcome and recalled", async () => {
  await it.api("categories.put", { name: "camp-cap", caps: [{ per: "720h", max: 1 }] });
  const users = [...Array(60)].map((_, i) => `camp-${i}`);
  await it.api("users.put", { users: users.map((id) => ({ id, attributes: { camp: true } })) });
  await it.api("push", { to: { users: users.slice(0, 7) }, category: "camp-cap", data: 1 });
  await it.api("categories.mute", { user: "camp-10", category: "camp-cap", muted: true });
  const clients = await devices("camp-20", "camp-21");
  const where = encodeURIComponent('{"field":"/camp","eq":true}');
  const page = await it.open(`/console/push?to=where&where=${where}&category=camp-cap`);
  await write(page, "campaign");
  await button(page, "Make it a campaign …").click();
  await dialog(page).getByLabel("Name").fill("Spring");
  await dialog(page).getByLabel("People a second, at most").fill("15");
  await button(dialog(page), "Make a draft").click();
  await page.getByRole("heading", { name: "Spring" }).waitFor();
  const id = page.url().split("/").pop().split("?")[0];
  await page.locator(".estimate-count", { hasText: "60 people · 2 online" }).waitFor();
  await says(page, "over the cap “camp-cap: 1 per 720h”");
  await button(page, "Start").click();
  await dialog(page).getByLabel("Type 60, the number of people, to go on").fill("60");
  await button(dialog(page), "Start").click();
  await button(page, "Pause").click();
  await page.locator("#main .badge", { hasText: "paused" }).waitFor();
  const paused = await it.api("campaigns.get", { id });
  assert.equal(paused.state, "paused");
  await page.locator('.legend [data-outcome="rest"]').getByText(String(60 - paused.progress), { exact: true }).waitFor();
  await button(page, "Resume").click();
  await page.locator("#main .badge", { hasText: "done" }).waitFor();
  await says(page, "60 of 60 people pushed to");
  for (const [outcome, n] of [["delivered", 2], ["capped", 7], ["muted", 1], ["queued", 50]]) await page.locator(`.legend [data-outcome="${outcome}"]`).getByText(String(n), { exact: true }).waitFor();
  await page.locator("section", { has: page.getByRole("heading", { name: "Why it has not arrived" }) }).getByText("camp-cap: 1 per 720h").waitFor();
  await page.locator('.legend [data-outcome="muted"]').getByRole("button").click();
  await link(page, "camp-10").waitFor();
  await eventually(async () => assert.equal(await page.locator("tr[data-row]").count(), 1));
  await page.locator('.legend [data-outcome="muted"]').getByRole("button").click();
  await comes(clients, "camp-20", "campaign");
  await button(page, "Recall").click();
  await eventually(async () => assert.ok(await button(dialog(page), "Recall").isDisabled()));
  await dialog(page).getByLabel("Type Spring to go on").fill("Spring");
  await button(dialog(page), "Recall").click();
  await page.locator('.legend [data-outcome="recalled"]').waitFor();
  const recalled = await it.api("campaigns.get", { id });
  assert.equal(recalled.counts.delivered, 2);
  assert.ok(recalled.counts.recalled >= 50, JSON.stringify(recalled.counts));
  quiet(page);
});

test("a campaign is scheduled at a time, cancelled, copied and deleted", async () => {
  await it.api("users.put", { id: "later", attributes: { later: true } });
  const made = await it.api("campaigns.create", { name: "Later", to: { where: { field: "/later", eq: true } }, category: "news", event: "note", data: { text: "later", n: 1 }, pace: 5 });
  const page = await it.open("/console/campaigns");
  await link(page, "Later").click();
  await button(page, "Schedule …").click();
  await dialog(page).getByLabel("Begins").fill("2035-01-31T09:30");
  await button(dialog(page), "Schedule …").click();
  await page.locator("#main .badge", { hasText: "scheduled" }).waitFor();
  const id = page.url().split("/").pop();
  const { items } = await it.api("campaigns.list", { state: "scheduled" });
  assert.deepEqual(items.map((c) => [c.id, c.name, c.event, c.pace, c.data]), [[id, "Later", "note", 5, { text: "later", n: 1 }]]);
  const at = await page.evaluate(() => new Date("2035-01-31T09:30").getTime());
  assert.equal(Date.parse(items[0].at), at);
  await assert.rejects(it.api("campaigns.get", { id: made.id }), /not_found/);
  await button(page, "Cancel campaign").click();
  await button(dialog(page), "Cancel campaign").click();
  await page.locator("#main .badge", { hasText: "cancelled" }).waitFor();
  await link(page, "Copy as new").click();
  await page.locator(".estimate-count", { hasText: "1 people" }).waitFor();
  assert.deepEqual(JSON.parse(await page.getByLabel("Data (JSON)").inputValue()), { text: "later", n: 1 });
  assert.deepEqual([await page.getByLabel("Event").inputValue(), await page.getByLabel("Category").inputValue()], ["note", "news"]);
  await go(page, `/console/campaigns/${id}`);
  await button(page, "Delete").click();
  await button(dialog(page), "Delete").click();
  await page.getByRole("heading", { name: "Campaigns" }).waitFor();
  await page.getByLabel("State").selectOption("scheduled");
  await says(page, "There are no campaigns.");
  assert.ok(page.url().includes("state=scheduled"));
  quiet(page, ofBrowser);
});

test("categories are made, changed and deleted, and those of the configuration are not", async () => {
  const page = await it.open("/console/push/categories");
  await button(page, "New category").click();
  await dialog(page).getByLabel("Name").fill("Bad Name");
  await button(dialog(page), "Save").click();
  await dialog(page).getByText("is not the name of a category").waitFor();
  await dialog(page).getByLabel("Name").fill("weekly");
  await dialog(page).getByLabel("Parent").selectOption("news");
  await button(dialog(page), "Add a cap").click();
  await dialog(page).getByLabel("At most").fill("2");
  await dialog(page).getByLabel("Per", { exact: true }).fill("week");
  await dialog(page).getByLabel("From").fill("22:00");
  await dialog(page).getByLabel("To").fill("08:00");
  await dialog(page).getByLabel("What is over a cap").selectOption("drop");
  await dialog(page).getByLabel("Good for").fill("72h");
  await button(dialog(page), "Save").click();
  await page.getByRole("heading", { name: "weekly" }).waitFor();
  const find = async () => (await it.api("categories.list")).items.find((c) => c.name === "weekly");
  const { caps, quiet: hours, parent, on_cap, ttl } = await find();
  assert.deepEqual([caps, hours, parent, on_cap, ttl], [[{ per: "week", max: 2 }], { from: "22:00", to: "08:00" }, "news", "drop", "72h"]);
  await button(page, "Edit").click();
  await dialog(page).getByLabel("Never held back").check();
  await button(dialog(page), "Save").click();
  await page.getByRole("row").filter({ hasText: "weekly" }).getByText("never held back").waitFor();
  assert.equal((await find()).bypass, true);
  await button(page, "Delete").click();
  await dialog(page).getByLabel("Type weekly to go on").fill("weekly");
  await button(dialog(page), "Delete").click();
  await until(async () => !(await find()));
  await page.getByRole("button", { name: "promo" }).click();
  await says(page, "stands in the configuration");
  await eventually(async () => assert.equal(await button(page, "Edit").count(), 0));
  quiet(page, ofBrowser);
});

test("a viewer is offered nothing that changes anything", async () => {
  const id = await capped("viewed", "viewer-cap");
  const draft = await it.api("campaigns.create", { name: "Not mine", to: { all: "users" }, data: 1 });
  const page = await it.open("/console/users", { role: "viewer" });
  const offered = async (path, ...allowed) => {
    await go(page, path);
    await page.locator("#main h1").waitFor();
    await page.locator(path.includes("/users/viewed?") ? "#main .strip" : "#main .card").first().waitFor();
    await page.waitForFunction(() => !document.getElementById("main").textContent.includes("Loading …"));
    const names = page.locator("#main .page-head button, #main .page-head a, #main .card-head button, #main .rule-foot button");
    await eventually(async () => assert.deepEqual(await names.allTextContents(), allowed, path));
  };
  await offered("/console/users");
  for (const tab of ["inbox", "rules", "connections", "profile"]) await offered(`/console/users/viewed?tab=${tab}`);
  await offered(`/console/users/viewed/messages/${id}`);
  await offered("/console/push");
  await page.getByRole("heading", { name: "Categories" }).waitFor();
  await offered("/console/push/categories?show=viewer-cap&edit=viewer-cap");
  await eventually(async () => assert.equal(await dialog(page).count(), 0));
  await offered("/console/campaigns");
  await offered(`/console/campaigns/${draft.id}`);
  quiet(page);
});

test("what users and applications write is only ever a text", async () => {
  const [image, script, link_] = hostile;
  const user = image;
  await it.api("users.put", { id: user, attributes: { [script]: image, note: link_, tags: [script.slice(0, 60)], "</script>": hostile } });
  await it.api("push", { to: { users: [user] }, event: "x", data: { title: image, text: script, url: link_ }, collapse: script });
  await it.api("push", { to: { users: [user] }, data: link_ });
  await it.api("members.add", { channel: "team:<b>x<i>", users: [user] }).catch(() => {});
  await it.api("users.block", { user, reason: image });
  await it.api("users.unblock", { user });
  const campaign = await it.api("campaigns.create", { name: image, to: { where: { field: `/${script.replaceAll("/", "~1")}`, eq: image } }, data: { text: script } });
  await it.api("campaigns.start", { id: campaign.id });
  const { items: [message] } = await it.api("records", { user });
  const where = encodeURIComponent(JSON.stringify({ field: "/note", eq: link_ }));
  const at = encodeURIComponent(user);
  const page = await it.open("/console/users");
  for (const path of [
    "/console/users", `/console/users?where=${where}`, `/console/users?id=${at}`, `/console/users/${at}`, `/console/users/${at}?tab=rules`, `/console/users/${at}?tab=connections`, `/console/users/${at}?tab=profile`,
    `/console/users/${at}/messages/${message.message}`, `/console/push?to=users&users=${at}&category=${encodeURIComponent(script)}`, `/console/push?to=where&where=${where}`, `/console/push/categories?show=${at}`,
    "/console/campaigns", `/console/campaigns/${campaign.id}`, `/console/campaigns/${at}`,
  ]) {
    await go(page, path);
    await page.locator("#main h1").waitFor();
    await page.locator("#main").getByText("Loading …").first().waitFor({ state: "detached" });
    await harmless(page);
  }
  await go(page, `/console/users/${at}`);
  await page.getByRole("heading", { name: image }).waitFor();
  await page.getByRole("row").first().waitFor();
  await page.locator("tr[data-row] a").first().click();
  await page.getByRole("heading", { name: `Message to ${image}` }).waitFor();
  // An id that is a step in a path is an id all the same.
  await it.api("users.put", { id: "..", attributes: {} });
  await go(page, "/console/users?id=..");
  await link(page, "..").click();
  await page.getByRole("heading", { name: "..", exact: true }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "..", exact: true }).waitFor();
  await go(page, `/console/push?to=users&users=${at}`);
  await page.getByLabel("Data (JSON)").fill(JSON.stringify({ title: image, text: script }));
  await page.locator(".push-card strong").getByText(image).waitFor();
  await harmless(page);
  quiet(page, ofBrowser);
});

test("a server that restarts under the page is told, and the page comes back by itself", async () => {
  const id = await capped("restart", "restart-cap");
  const page = await it.open("/console/users/restart");
  await page.getByRole("row").filter({ hasText: "capped" }).waitFor();
  await it.server.stop();
  await page.getByText("The server does not answer.").first().waitFor();
  await it.restart();
  await page.locator(".pulse.live").waitFor();
  const { id: after } = await it.api("push", { to: { users: ["restart"] }, category: "orders", data: { text: "after" } });
  await page.getByRole("row").filter({ hasText: "after" }).getByText("queued").waitFor();
  await until(async () => (await page.locator("#main .note.warn, #main .note.bad").count()) === 0);
  assert.ok((await it.api("records", { message: id })).items[0] && after);
  quiet(page, ofBrowser);
});

test("by keyboard alone a push is written, looked at and sent", async () => {
  await it.api("users.put", { id: "keys", attributes: {} });
  const page = await it.open("/console/push?to=users");
  const key = (name) => page.keyboard.press(name);
  // tab goes on until the control with this label has the focus.
  const tab = async (label) => {
    for (let i = 0; i < 60; i++) {
      await key("Tab");
      const at = await page.evaluate(() => {
        const el = document.activeElement;
        return el.labels?.[0]?.textContent ?? el.getAttribute("aria-label") ?? el.textContent;
      });
      if (at.trim() === label) return;
    }
    assert.fail(`the keyboard does not reach ${label}`);
  };
  await page.getByLabel("Ids of users, one a line").waitFor();
  await tab("Ids of users, one a line");
  await page.keyboard.type("keys");
  await tab("Category");
  await page.keyboard.type("ord");
  await tab("Event");
  await page.keyboard.type("ring");
  await tab("Data (JSON)");
  await key("Control+a");
  await page.keyboard.type('{"text": "by keyboard"}');
  await page.locator(".estimate-count", { hasText: "1 people" }).waitFor();
  await tab("Send now …");
  await key("Enter");
  await dialog(page).getByText("1 people").waitFor();
  await tab("Send");
  await key("Enter");
  await page.locator('.sent [data-outcome="queued"]').waitFor();
  const { items } = await it.api("inbox.list", { user: "keys" });
  assert.deepEqual(items.map((i) => [i.event, i.category, i.data]), [["ring", "orders", { text: "by keyboard" }]]);
  await tab("Close");
  await key("Enter");
  await page.locator(".sent").waitFor({ state: "detached" });
  quiet(page);
});

test("all pages are accessible in light and dark, fit a phone, and speak Chinese", async () => {
  const id = await capped("seen", "seen-cap");
  await it.api("users.put", { users: [...Array(30)].map((_, i) => ({ id: `seen-${i}`, attributes: { city: "Oslo", about: "x".repeat(300) } })) });
  const campaign = await it.api("campaigns.create", { name: "Seen ".repeat(20).trim(), to: { where: { field: "/city", eq: "Oslo" } }, category: "seen-cap", data: { text: "y".repeat(300) } });
  const draft = await it.api("campaigns.create", { name: "Draft", to: { all: "users" }, data: 1 });
  await it.api("campaigns.start", { id: campaign.id });
  const where = encodeURIComponent('{"all":[{"field":"/city","in":["Oslo","Bergen"]},{"any":[{"tag":"vip"},{"not":{"field":"/level","gte":3}}]}]}');
  const paths = [
    `/console/users?where=${where}`, "/console/users/seen", "/console/users/seen?tab=rules", "/console/users/seen?tab=connections", "/console/users/seen?tab=profile", `/console/users/seen/messages/${id}`,
    `/console/push?to=where&where=${where}&category=seen-cap&sent=${id}`, "/console/push/categories?show=seen-cap", "/console/push/categories?new=1", "/console/campaigns", `/console/campaigns/${campaign.id}`, `/console/campaigns/${draft.id}`,
  ];
  const settled = async (page, path) => {
    await go(page, path);
    await page.locator("#main h1").waitFor();
    await page.waitForFunction(() => !/Loading …|加载中/.test(document.getElementById("main").textContent));
  };
  for (const theme of ["light", "dark"]) {
    const page = await it.open("/console/users", { theme });
    for (const path of theme === "light" ? paths : paths.filter((p) => /rules|messages|push|users\/seen$|campaigns\/./.test(p))) {
      await settled(page, path);
      await accessible(page);
    }
    quiet(page);
  }
  const small = await it.open("/console/users", { ...phone, language: "zh" });
  for (const path of paths) {
    await settled(small, path);
    await fits(small);
    await eventually(async () => assert.doesNotMatch(await small.locator("#main").textContent(), /\{\w+\}(?!")|undefined|\[object/));
  }
  await small.getByText("草稿").first().waitFor();
  quiet(small);
});
