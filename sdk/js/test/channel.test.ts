// Channels over every transport, against the real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SkeinError, type Message, type Notice } from "../src/index.js";
import { client, collect, eventually, lone, once, transports } from "./support/client.js";
import { start, type Server } from "./support/server.js";

let server: Server;
before(async () => { server = await start(); });
after(() => server.stop());

let made = 0;
const fresh = (namespace: string) => `${namespace}:${++made}-${process.pid}`;

for (const transport of transports) {
  const as = (user: string) => ({ user, transports: [transport] });

  test(`${transport}: what one publishes the others get, in order`, async (t) => {
    const [a, b] = [await client(t, server.base, as("ana")), await client(t, server.base, { ...as("ben"), device: "ipad" })];
    assert.equal(a.transport, transport);
    assert.equal(b.user, "ben");
    assert.equal(b.welcome!.device, "ipad");
    const name = fresh("event");
    const got = collect<Message>(b.channel(name), "message");
    await b.channel(name).open();
    const channel = a.channel(name);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => channel.publish("move", { i })));
    assert.deepEqual(answers.map(({ connections, users, stored }) => [connections, users, stored]), answers.map(() => [1, 1, false]));
    await got.until(50);
    assert.deepEqual(got.list.map(({ event, data }) => [event, data.i]), answers.map((_, i) => ["move", i]));
    assert.deepEqual(got.list[0]!.from, { user: "ana", connection: a.connection });
  });

  test(`${transport}: a log channel has a history, and begins where it is told`, async (t) => {
    const a = await client(t, server.base, as("ana"));
    const name = fresh("room");
    const channel = a.channel(name);
    for (let i = 1; i <= 5; i++) assert.equal((await channel.publish("message", i)).seq, i);
    assert.equal(channel.kind, "log");
    const page = await channel.history({ before: 5, limit: 2 });
    assert.deepEqual([page.messages.map((m) => m.seq), page.more, page.seq], [[3, 4], true, 5]);

    const seqs = async (user: string, options: object) => {
      const c = await client(t, server.base, as(user));
      const got = collect<Message>(c.channel(name, options), "message");
      await c.channel(name).open();
      await got.until((list) => list.at(-1)?.seq === 5);
      return got.list.map((m) => m.seq);
    };
    assert.deepEqual(await seqs("ben", { since: { seq: 0 } }), [1, 2, 3, 4, 5]);
    assert.deepEqual(await seqs("cleo", { since: { seq: 3, epoch: page.epoch } }), [4, 5]);
    assert.deepEqual(await seqs("dora", { last: 2 }), [4, 5]);
  });

  test(`${transport}: notices, and leaving`, async (t) => {
    const [a, b] = [await client(t, server.base, as("ana")), await client(t, server.base, as("ben"))];
    const name = fresh("room");
    const notices = collect<Notice>(b.channel(name), "notice");
    await b.channel(name).open();
    await a.channel(name).notice("typing", true);
    await notices.until(1);
    assert.deepEqual([notices.list[0]!.event, notices.list[0]!.data, notices.list[0]!.from!.user], ["typing", true, "ana"]);
    b.channel(name).close();
    await eventually(async () => (await server.api("channels", { prefix: name })).items.length === 0, "nobody is subscribed");
  });

  test(`${transport}: refusals have codes, and tell the channel`, async (t) => {
    const a = await client(t, server.base, as("ana"));
    await assert.rejects(a.channel("nowhere:x").open(), (e: SkeinError) => e instanceof SkeinError && e.code === "not_found" && e.channel === "nowhere:x");
    await assert.rejects(a.channel("nowhere:x").publish("message", 1), { code: "not_found" });
    await assert.rejects(a.call("no such method"), { code: "not_found" });
    const told = once<SkeinError>(a, "error");
    a.channel("nowhere:y").on("message", () => {});
    assert.equal((await told).code, "not_found");
    const here = once<SkeinError>(a.channel("nowhere:z"), "error");
    a.channel("nowhere:z").on("message", () => {});
    assert.equal((await here).channel, "nowhere:z");
  });

  test(`${transport}: a big message goes, and one that is too big is refused without an endless loop`, async (t) => {
    const a = await client(t, server.base, as("ana"));
    const name = fresh("room");
    const got = collect<Message>(a.channel(name), "message");
    const big = "ü".repeat(25_000);
    await a.channel(name).publish("message", big);
    await got.until(1);
    assert.equal(got.list[0]!.data, big);
    const fine = a.channel(name).publish("message", "fine");
    await assert.rejects(a.channel(name).publish("message", "x".repeat(100_000)), { code: "too_large" });
    assert.ok((await fine).seq, "the one before it is stored");
    assert.ok((await a.channel(name).publish("message", "after")).stored);
  });

  test(`${transport}: subscriptions above the limit of frames are made all the same`, async (t) => {
    const a = await client(t, server.base, as("ana"));
    const name = fresh("event");
    const channels = Array.from({ length: 250 }, (_, i) => a.channel(`${name}.${i}`));
    await Promise.all(channels.map((channel) => channel.open()));
    assert.equal((await server.api("channels", { prefix: name, limit: 500 })).items.length, 250);
  });

  test(`${transport}: the server calls, and is answered`, async (t) => {
    const a = await client(t, server.base, as(`called-${transport}`));
    const off = a.handle("double", async (n) => n * 2);
    a.handle("fail", () => { throw new SkeinError("denied", "not today"); });
    const call = async (method: string, data?: any) => (await server.api("call", { connection: a.connection, method, data })).replies[0];
    assert.equal((await call("double", 21)).data, 42);
    assert.deepEqual((await call("fail")).error, { code: "denied", message: "not today" });
    off();
    assert.equal((await call("double", 1)).error.code, "not_found");
  });

  test(`${transport}: direct messages, and subscriptions that the server makes and ends`, async (t) => {
    const a = await client(t, server.base, as("ana"));
    const direct = once<Message>(a, "direct");
    await server.api("publish", { to: { connection: a.connection }, event: "hello", data: 1 });
    assert.deepEqual([(await direct).event, (await direct).data], ["hello", 1]);

    const name = fresh("room");
    const told = once<{ channel: string }>(a, "subscribed");
    await server.api("subscribe", { channel: name, connection: a.connection });
    assert.equal((await told).channel, name);
    const channel = a.channel(name);
    const got = collect<Message>(channel, "message");
    await channel.open();
    await channel.publish("message", 1);
    await got.until(1);
    const ended = once(channel, "unsubscribed");
    await server.api("unsubscribe", { channel: name, connection: a.connection });
    assert.equal((await ended as any).reason, "server");
    await channel.publish("message", 2);
    await channel.open(); // listens anew
    await channel.publish("message", 3);
    await got.until((list) => list.at(-1)?.data === 3);
  });
}

test("publishing before there is a connection waits for it, in order", async (t) => {
  const a = lone(t, server.base, { user: "ana" });
  const channel = a.channel(fresh("room"));
  const answers = await Promise.all([1, 2, 3].map((n) => channel.publish("message", n)));
  assert.deepEqual(answers.map((ok) => ok.seq), [1, 2, 3]);
});

test("a channel is one object, subscribed as long as anybody listens", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const name = fresh("event");
  const channel = a.channel(name);
  assert.equal(a.channel(name), channel);
  const subs: string[] = [];
  const send = (a as any)._ask;
  (a as any)._ask = function (frame: any, ...rest: any[]) {
    subs.push(frame.type);
    return send.call(this, frame, ...rest);
  };
  const off = [channel.on("message", () => {}), channel.on("notice", () => {})];
  for (const stop of off) stop();
  const again = channel.on("message", () => {}); // within the same turn: nobody is told
  await channel.open();
  assert.deepEqual(subs, ["sub"]);
  again();
  await Promise.resolve();
  assert.deepEqual(subs, ["sub"], "open holds it");
  channel.close();
  assert.deepEqual(subs, ["sub", "unsub"]);
});

test("an unsubscribe function may be called twice, and a listener may listen twice", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const b = await client(t, server.base, { user: "ben" });
  const channel = a.channel(fresh("event"));
  let calls = 0;
  const listener = () => { calls++; };
  const first = channel.on("message", listener);
  channel.on("message", listener);
  const got = collect(channel, "message");
  await channel.open();
  await b.channel(channel.name).publish("message", 1);
  await got.until(1);
  assert.equal(calls, 2);
  first();
  first();
  await b.channel(channel.name).publish("message", 1);
  await got.until(2);
  assert.equal(calls, 3);
});

test("what is published with echo: false does not come back, and the place goes on", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const b = await client(t, server.base, { user: "ben" });
  const channel = a.channel(fresh("room"), { echo: false });
  const got = collect<Message>(channel, "message");
  await channel.open();
  await channel.publish("message", "own");
  await b.channel(channel.name).publish("message", "other");
  await got.until(1);
  assert.deepEqual(got.list.map((m) => m.data), ["other"]);
});

test("an iterator gives every message, and ends with the channel", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const channel = a.channel<{ step: number }>(fresh("room"));
  const seen: number[] = [];
  const reading = (async () => {
    for await (const message of channel) {
      seen.push(message.data);
      if (message.data === 3) break;
    }
  })();
  await Promise.all([1, 2, 3].map((n) => channel.publish("step", n)));
  await reading;
  assert.deepEqual(seen, [1, 2, 3]);

  const iterator = channel.messages();
  const next = iterator.next();
  channel.close();
  assert.deepEqual(await next, { done: true, value: undefined });
  const denied = a.channel("nowhere:x").messages();
  await assert.rejects(denied.next(), { code: "not_found" });
  assert.deepEqual(await denied.next(), { done: true, value: undefined });
});

test("an iterator that is not read drops the oldest on an event channel, and fails on a log channel", async (t) => {
  const [a, b] = [await client(t, server.base, { user: "ana" }), await client(t, server.base, { user: "ben" })];
  const event = a.channel(fresh("event"));
  const dropped = collect(event, "dropped");
  const slow = event.messages({ buffer: 2 });
  await event.open();
  for (let i = 1; i <= 5; i++) await b.channel(event.name).publish("message", i);
  await dropped.until(3);
  assert.deepEqual([(await slow.next()).value!.data, (await slow.next()).value!.data], [4, 5]);

  const log = a.channel(fresh("room"));
  const late = log.messages({ buffer: 2 });
  const all = collect(log, "message");
  await log.open();
  for (let i = 1; i <= 5; i++) await b.channel(log.name).publish("message", i);
  await all.until(5);
  assert.deepEqual([(await late.next()).value!.data, (await late.next()).value!.data], [1, 2]);
  await assert.rejects(late.next(), { code: "too_large" });
});

test("withdrawn messages are told, also in their place", async (t) => {
  const [a, b] = [await client(t, server.base, { user: "ana" }), await client(t, server.base, { user: "ben" })];
  const channel = a.channel(fresh("room"));
  const recalls = collect<{ seq: number }>(channel, "recall");
  await channel.open();
  for (let i = 1; i <= 3; i++) await channel.publish("message", i);
  await server.api("recall", { channel: channel.name, seq: 2 });
  await recalls.until(1);
  assert.equal(recalls.list[0]!.seq, 2);
  const late = b.channel(channel.name, { since: { seq: 0 } });
  const order: string[] = [];
  late.on("message", (m) => order.push(`message ${m.seq}`));
  late.on("recall", (r) => order.push(`recall ${r.seq}`));
  await eventually(() => order.length >= 3, "three came");
  assert.deepEqual(order, ["message 1", "recall 2", "message 3"]);
});

test("an error in a listener stops neither the others nor the client", async (t) => {
  const [a, b] = [await client(t, server.base, { user: "ana" }), await client(t, server.base, { user: "ben" })];
  const channel = a.channel(fresh("event"));
  const thrown: unknown[] = [];
  const catcher = (error: unknown) => { thrown.push(error); };
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", catcher);
  t.after(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of before) process.on("uncaughtException", listener);
  });
  channel.on("message", () => { throw new Error("mine"); });
  const got = collect(channel, "message");
  await channel.open();
  await b.channel(channel.name).publish("message", 1);
  await b.channel(channel.name).publish("message", 2);
  await got.until(2);
  assert.deepEqual(thrown.map((error) => (error as Error).message), ["mine", "mine"]);
});
