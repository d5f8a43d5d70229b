// The inbox against the real server: what is pushed comes until one device of the
// user has acknowledged it, whatever happens to connections and to the server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Held, Inbox, InboxMessage, InboxState, Recall } from "../src/index.js";
import { client, collect, eventually, lone, transports } from "./support/client.js";
import { proxy } from "./support/proxy.js";
import { freePort, start, type Server } from "./support/server.js";

const categories = { promo: { caps: ["1 per 1s"] }, news: {}, orders: { bypass: true } };

let server: Server;
before(async () => { server = await start({ config: { categories } }); });
after(() => server.stop());

let made = 0;
const fresh = () => `user${++made}`;
const dataOf = (messages: readonly InboxMessage[]) => messages.map(({ data }) => data);

async function push(user: string, data: unknown, more: object = {}, to = server): Promise<string> {
  return (await to.api("push", { to: { users: [user] }, data, ...more })).id;
}

/** Waits until the server has nothing for the user that is not acknowledged. */
async function acknowledged(box: Inbox): Promise<void> {
  await eventually(async () => (await box.history({ limit: 500 })).messages.every(({ outcome }) => outcome === "delivered"), "all is acknowledged");
}

for (const transport of transports) {
  const as = (user: string, device: string) => ({ user, device, transports: [transport] });

  test(`${transport}: a push comes to all devices, and after the acknowledgement of one to none`, async (t) => {
    const user = fresh();
    const [phone, desk] = [await client(t, server.base, as(user, "phone")), await client(t, server.base, as(user, "desk"))];
    const deskFrames = collect<any>(desk, "frame"); // without a listener of its inbox: it acknowledges nothing
    const got = collect<InboxMessage>(phone.inbox(), "message");
    const id = await push(user, { no: 17 }, { event: "order", category: "orders", expires: "2h", collapse: "order:17" });
    const [first] = await got.until(1);
    assert.deepEqual([first!.id, first!.seq, first!.event, first!.data], [id, 1, "order", { no: 17 }]);
    assert.deepEqual([first!.category, first!.collapse], ["orders", "order:17"]);
    assert.ok(first!.expires! > first!.time);
    await deskFrames.until((list) => list.some(({ type, seq }) => type === "msg" && seq === 1));
    await acknowledged(phone.inbox());

    desk.close();
    const tablet = await client(t, server.base, as(user, "tablet"));
    const came = collect<InboxMessage>(tablet.inbox(), "message");
    await push(user, "next");
    await came.until(1);
    assert.deepEqual(dataOf(came.list), ["next"], "what was acknowledged before did not come");
  });

  test(`${transport}: what was pushed while the user was away comes in order, before what is newer, and once`, async (t) => {
    const user = fresh();
    for (let i = 1; i <= 150; i++) await push(user, i); // more than are under way at a time
    const a = await client(t, server.base, as(user, "phone"));
    const got = collect<InboxMessage>(a.inbox(), "message");
    await got.until(100);
    await push(user, 151);
    await got.until(151);
    assert.deepEqual(dataOf(got.list), Array.from({ length: 151 }, (_, i) => i + 1));
    await acknowledged(a.inbox());
  });

  test(`${transport}: a message whose acknowledgement is lost with the connection is handed out once`, async (t) => {
    const user = fresh();
    const net = await proxy(server.port);
    t.after(() => net.close());
    const a = await client(t, net.base, as(user, "phone"));
    const got = collect<InboxMessage>(a.inbox(), "message");
    await push(user, 1);
    await got.until(1);
    net.freeze(); // the acknowledgement waits for its moment, and goes nowhere
    net.cut();
    await push(user, 2);
    await got.until(2);
    await acknowledged(a.inbox());
    assert.deepEqual(dataOf(got.list), [1, 2]);
  });

  test(`${transport}: a server that is killed has forgotten neither pushes nor acknowledgements`, async (t) => {
    const user = fresh();
    const port = await freePort();
    let mortal = await start({ port });
    t.after(() => mortal.kill());
    const a = await client(t, mortal.base, as(user, "phone"));
    const got = collect<InboxMessage>(a.inbox(), "message");
    await push(user, 1, {}, mortal);
    await got.until(1);
    await acknowledged(a.inbox());
    a.close();
    await push(user, 2, {}, mortal);
    await push(user, 3, {}, mortal);
    await mortal.kill();
    mortal = await start({ port });
    const b = await client(t, mortal.base, as(user, "phone"));
    const again = collect<InboxMessage>(b.inbox(), "message");
    await again.until(2);
    await mortal.kill(); // perhaps before the acknowledgement, perhaps after it
    mortal = await start({ port });
    await push(user, 4, {}, mortal);
    await again.until(3);
    await acknowledged(b.inbox());
    assert.deepEqual(dataOf(again.list), [2, 3, 4]);
  });
}

test("what a listener has not done with is sent to the next device", async (t) => {
  const user = fresh();
  const phone = await client(t, server.base, { user, device: "phone" });
  let begun = false;
  phone.inbox().on("message", () => {
    begun = true;
    return new Promise(() => {});
  });
  await push(user, 1);
  await eventually(() => begun, "the phone works on it");
  const desk = await client(t, server.base, { user, device: "desk" });
  const got = collect<InboxMessage>(desk.inbox(), "message");
  await got.until(1);
  await acknowledged(desk.inbox());
  assert.deepEqual(dataOf(got.list), [1]);
});

test("the mark is one for all devices, and the history says what was read", async (t) => {
  const user = fresh();
  const [phone, desk] = [await client(t, server.base, { user, device: "phone" }), await client(t, server.base, { user, device: "desk" })];
  const marks = collect<InboxState>(desk.inbox(), "mark");
  const own = collect<InboxState>(phone.inbox(), "mark");
  for (let i = 1; i <= 5; i++) await push(user, i);
  const state = ({ read, unread }: InboxState) => ({ read, unread });
  assert.deepEqual(state(await phone.inbox().read(2)), { read: 2, unread: 3 });
  assert.deepEqual(state(await phone.inbox().read(1)), { read: 2, unread: 3 });
  assert.deepEqual(state(await phone.inbox().read(99)), { read: 5, unread: 0 });
  await marks.until(2);
  assert.deepEqual(marks.list.map(state), [{ read: 2, unread: 3 }, { read: 5, unread: 0 }]);
  assert.deepEqual(own.list, []);

  await push(user, 6);
  const all = await desk.inbox().history();
  assert.deepEqual(dataOf(all.messages), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(all.messages.map(({ read }) => Boolean(read)), [true, true, true, true, true, false]);
  assert.deepEqual([all.more, all.seq, all.read, all.unread], [false, 6, 5, 1]);
  assert.deepEqual(dataOf((await desk.inbox().history({ before: 6, limit: 2 })).messages), [4, 5]);
  assert.deepEqual(dataOf((await desk.inbox().history({ after: 1, limit: 2 })).messages), [2, 3]);
  assert.deepEqual(dataOf((await desk.inbox().history({ unread: true })).messages), [6]);
});

test("a new device shows the newest messages, whatever became of them", async (t) => {
  const user = fresh();
  const phone = await client(t, server.base, { user, device: "phone" });
  const first = collect<InboxMessage>(phone.inbox(), "message");
  for (let i = 1; i <= 5; i++) await push(user, i);
  await first.until(5);
  await acknowledged(phone.inbox());
  await phone.inbox().read(4);
  const desk = await client(t, server.base, { user, device: "desk" });
  const got = collect<InboxMessage>(desk.inbox(), "message");
  const { seq, read, unread } = await desk.inbox().latest(3);
  assert.deepEqual({ seq, read, unread }, { seq: 5, read: 4, unread: 1 });
  await got.until(3);
  assert.deepEqual(dataOf(got.list), [3, 4, 5]);
  const tablet = await client(t, server.base, { user, device: "tablet" });
  const rest = collect<InboxMessage>(tablet.inbox(), "message");
  await tablet.inbox().latest(10, { unread: true });
  await rest.until(1);
  assert.deepEqual(dataOf(rest.list), [5]);
});

test("what is muted does not come by itself, on any device", async (t) => {
  const user = fresh();
  const [phone, desk] = [await client(t, server.base, { user, device: "phone" }), await client(t, server.base, { user, device: "desk" })];
  const got = collect<InboxMessage>(desk.inbox(), "message");
  assert.deepEqual(await phone.inbox().muted(), []);
  assert.deepEqual(await phone.inbox().mute("news"), ["news"]);
  await push(user, "muted", { category: "news" });
  await push(user, "heard");
  await got.until(1);
  assert.deepEqual(await desk.inbox().muted(), ["news"]);
  assert.deepEqual(await desk.inbox().mute("news", false), []);
  await push(user, "heard again", { category: "news" });
  await got.until(2);
  assert.deepEqual(dataOf(got.list), ["heard", "heard again"]);
  await assert.rejects(phone.inbox().mute("orders"), { code: "denied" });
  await assert.rejects(phone.inbox().mute("nothing"), { code: "not_found" });
});

test("what is over a cap waits in the inbox, and the user is told how much it is", async (t) => {
  const user = fresh();
  for (let i = 1; i <= 3; i++) { // each might come when it is pushed, but not all of them when the user does
    await eventually(async () => (await server.api("explain", { user, category: "promo" })).deliver, "the cap allows one");
    await push(user, i, { category: "promo" });
  }
  await push(user, 4);
  const a = lone(t, server.base, { user }); // who listens later may miss it
  const [got, held] = [collect<InboxMessage>(a.inbox(), "message"), collect<Held>(a.inbox(), "held")];
  await held.until(1);
  assert.deepEqual(held.list, [{ count: 2, categories: { promo: 2 } }]);
  await got.until(2);
  assert.deepEqual(dataOf(got.list), [3, 4]);
  assert.deepEqual(dataOf((await a.inbox().history()).messages), [1, 2, 3, 4]);
});

test("what is withdrawn is told to who may have it, and what is replaced does not come", async (t) => {
  const user = fresh();
  const phone = await client(t, server.base, { user, device: "phone" }); // it listens to no messages yet
  const frames = collect<any>(phone, "frame");
  const recalls = collect<Recall>(phone.inbox(), "recall");
  const wrong = await push(user, "wrong");
  await push(user, "on its way", { collapse: "order:1" });
  await frames.until((list) => list.filter(({ type }) => type === "msg").length === 2);
  assert.equal((await server.api("recall", { message: wrong })).count, 1);
  await recalls.until(1);
  assert.deepEqual([recalls.list[0]!.id, recalls.list[0]!.seq], [wrong, 1]);
  await push(user, "arrived", { collapse: "order:1" });
  await frames.until((list) => list.filter(({ type }) => type === "msg").length === 3);
  const got = collect<InboxMessage>(phone.inbox(), "message");
  await got.until(1);
  await acknowledged(phone.inbox());
  assert.deepEqual(dataOf(got.list), ["arrived"]);
});

test("who is nobody has no inbox", async (t) => {
  const a = await client(t, server.base);
  await assert.rejects(a.inbox().history(), { code: "unauthorized" });
  await assert.rejects(a.inbox().read(1), { code: "unauthorized" });
});
