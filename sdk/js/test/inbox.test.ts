// The inbox against a model of its rules: what is not acknowledged comes again,
// on the next connection or when the server has waited long enough.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { connect, type Held, type InboxMessage, type InboxState, type Message, type Recall } from "../src/index.js";
import { collect, eventually } from "./support/client.js";
import { Model, replaces, type Letter } from "./support/inbox.js";

function inbox(t: TestContext, model: Model) {
  const skein = connect("http://model", { WebSocket: model.socket(), transports: ["websocket"] });
  t.after(() => skein.close());
  return { skein, inbox: skein.inbox() };
}

/** A connected one. */
async function device(t: TestContext, model: Model) {
  const made = inbox(t, model);
  await made.skein.ready();
  return made;
}

const frames = (model: Model, type: string) => model.heard.filter((frame) => frame.type === type).map(({ id, ...frame }) => frame);
const dataOf = (messages: readonly { data: unknown }[]) => messages.map(({ data }) => data);
const settle = () => new Promise((wake) => setImmediate(wake));

test("a message is acknowledged when its listeners are done", async (t) => {
  const model = new Model();
  const { inbox: box } = await device(t, model);
  let finish = () => {};
  const seen: unknown[] = [];
  box.on("message", async (m) => {
    seen.push(m.data);
    if (m.data === "a") await new Promise<void>((resolve) => { finish = resolve; });
  });
  model.push("a");
  await eventually(() => seen.length === 1, "it came");
  model.again(); // the server has waited long enough
  model.push("b");
  await eventually(() => model.acked.has("m2"), "the one after it is acknowledged");
  assert.deepEqual(seen, ["a", "b"], "the first is not handed out twice while it is worked on");
  assert.equal(model.acked.has("m1"), false);
  finish();
  await eventually(() => model.acked.has("m1"), "it is acknowledged");
});

test("what came before anybody listened is kept for the first who does", async (t) => {
  const model = new Model();
  model.push("a");
  model.push("b");
  const { skein, inbox: box } = inbox(t, model);
  const came = collect(skein, "frame");
  await came.until(2);
  model.again();
  await came.until(4);
  assert.equal(model.acked.size, 0);
  const got = collect<Message>(box, "message");
  await got.until(2);
  assert.deepEqual(dataOf(got.list), ["a", "b"]);
  await eventually(() => model.acked.size === 2, "both are acknowledged");
  assert.equal(frames(model, "ack").length, 1, "in one frame");
});

test("a listener that fails leaves its message to come again", async (t) => {
  const model = new Model();
  const { inbox: box } = await device(t, model);
  const thrown: unknown[] = [];
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => { thrown.push(error); });
  t.after(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of before) process.on("uncaughtException", listener);
  });
  let calls = 0;
  box.on("message", () => {
    if (++calls === 1) throw new Error("not now");
  });
  model.push("a");
  await eventually(() => thrown.length === 1, "the error is told");
  assert.equal(model.acked.size, 0);
  model.again();
  await eventually(() => model.acked.size === 1, "the second time it went well");
  assert.equal(calls, 2);
});

test("an acknowledgement that is lost is said again, and the message is not handed out again", async (t) => {
  const model = new Model();
  const { inbox: box } = await device(t, model);
  const got = collect<Message>(box, "message");
  model.deaf = true;
  model.push("a");
  await eventually(() => model.heard.some((f) => f.type === "ack"), "it acknowledged");
  model.cut();
  model.deaf = false;
  await eventually(() => model.acked.size === 1, "the next connection brought it again");
  assert.equal(got.list.length, 1);
});

test("acknowledging by hand, up to a message", async (t) => {
  const model = new Model();
  const { inbox: box } = await device(t, model);
  for (const data of ["a", "b", "c"]) model.push(data);
  await box.ack(2);
  assert.deepEqual([...model.acked], ["m1", "m2"]);
});

test("a message tells its category, its end and what it replaces", async (t) => {
  const model = new Model();
  const { inbox: box } = await device(t, model);
  const got = collect<InboxMessage>(box, "message");
  model.push("a", { category: "orders", expires: 1770086400000, collapse: "order:17" });
  const [{ seq, category, expires, collapse } = {} as InboxMessage] = await got.until(1);
  assert.deepEqual({ seq, category, expires, collapse }, { seq: 1, category: "orders", expires: 1770086400000, collapse: "order:17" });
});

test("the read mark is one for all devices: it never goes back, and what was read is delivered", async (t) => {
  const model = new Model();
  const [{ inbox: here }, { inbox: there }] = [await device(t, model), await device(t, model)];
  const [mine, others] = [collect<InboxState>(here, "mark"), collect<InboxState>(there, "mark")];
  for (const data of ["a", "b", "c"]) model.push(data);
  const pick = ({ read, unread }: InboxState) => ({ read, unread });
  assert.deepEqual(pick(await here.read(2)), { read: 2, unread: 1 });
  assert.deepEqual(pick(await here.read(1)), { read: 2, unread: 1 });
  assert.deepEqual([...model.acked], ["m1", "m2"]);
  assert.deepEqual(pick(await here.read(99)), { read: 3, unread: 0 });
  await others.until(2);
  assert.deepEqual(others.list.map(pick), [{ read: 2, unread: 1 }, { read: 3, unread: 0 }]);
  assert.deepEqual(mine.list, [], "who has moved it is told by the answer alone");
  assert.deepEqual(frames(model, "mark")[0], { type: "mark", channel: "@inbox", read: 2 });
});

test("the history has pages, says what was read, and acknowledges nothing", async (t) => {
  const model = new Model();
  const { inbox: box } = await device(t, model);
  for (let i = 1; i <= 5; i++) model.push(i);
  await box.read(3);
  const all = await box.history();
  assert.deepEqual(dataOf(all.messages), [1, 2, 3, 4, 5]);
  assert.deepEqual(all.messages.map(({ read }) => Boolean(read)), [true, true, true, false, false]);
  assert.deepEqual(all.messages.map(({ outcome }) => outcome), ["delivered", "delivered", "delivered", "sent", "sent"]);
  const { more, epoch, seq, read, unread } = all;
  assert.deepEqual({ more, epoch, seq, read, unread }, { more: false, epoch: "e", seq: 5, read: 3, unread: 2 });
  assert.deepEqual(dataOf((await box.history({ before: 5, limit: 2 })).messages), [3, 4]);
  assert.deepEqual(dataOf((await box.history({ after: 1, limit: 2 })).messages), [2, 3]);
  assert.deepEqual(dataOf((await box.history({ unread: true })).messages), [4, 5]);
  assert.equal(model.acked.size, 3);
  assert.deepEqual(frames(model, "history")[1], { type: "history", channel: "@inbox", before: 5, limit: 2 });
});

test("a new device asks for the newest messages; they come once", async (t) => {
  const model = new Model();
  for (let i = 1; i <= 5; i++) model.acked.add(model.push(i).id); // by another device
  const { inbox: box } = await device(t, model);
  model.push(6);
  const got = collect<Message>(box, "message");
  await eventually(() => model.acked.has("m6"), "the last one has come by itself");
  const { epoch, seq, read, unread } = await box.latest(3);
  assert.deepEqual({ epoch, seq, read, unread }, { epoch: "e", seq: 6, read: 0, unread: 6 });
  await settle();
  assert.deepEqual(dataOf(got.list), [6, 4, 5], "the one that was handed out did not come again");
  await box.read(1);
  await box.latest(10, { unread: true });
  await settle();
  assert.deepEqual(dataOf(got.list), [6, 4, 5, 2, 3], "what was read did not come");
  assert.deepEqual(frames(model, "sub"), [
    { type: "sub", channel: "@inbox", last: 3 }, { type: "sub", channel: "@inbox", last: 10, unread: true },
  ]);
});

test("a category is muted for all devices until it no longer is", async (t) => {
  const model = new Model();
  const [{ inbox: here }, { inbox: there }] = [await device(t, model), await device(t, model)];
  const got = collect<Message>(there, "message");
  assert.deepEqual(await here.muted(), []);
  assert.deepEqual(await here.mute("promo"), ["promo"]);
  assert.deepEqual(await here.mute("news", true), ["news", "promo"]);
  model.push("buy", { category: "promo" });
  assert.deepEqual(await there.muted(), ["news", "promo"]);
  assert.deepEqual(await there.mute("promo", false), ["news"]);
  model.push("more", { category: "promo" });
  await got.until(1);
  assert.deepEqual(dataOf(got.list), ["more"]);
  await assert.rejects(here.mute("nothing"), { name: "SkeinError", code: "not_found" });
  assert.deepEqual(frames(model, "mute").slice(0, 2), [
    { type: "mute", channel: "@inbox" }, { type: "mute", channel: "@inbox", category: "promo", muted: true },
  ]);
});

test("what may not interrupt is told by its number, and other notices are not taken for it", async (t) => {
  const model = new Model();
  const { skein, inbox: box } = await device(t, model);
  const came = collect(skein, "frame");
  const [held, got] = [collect<Held>(box, "held"), collect<Message>(box, "message")];
  const data = { count: 7, categories: { promo: 5, news: 2 } };
  model.tell({ type: "notice", channel: "@inbox", event: "held", data, time: 0 });
  model.tell({ type: "notice", channel: "@inbox", event: "other", data: 1, time: 0 });
  model.push("a");
  await came.until(3);
  assert.deepEqual(held.list, [data]);
  assert.deepEqual(dataOf(got.list), ["a"]);
});

test("what waits unheard is replaced by what takes its place, and is forgotten when it was withdrawn", async (t) => {
  const model = new Model();
  const { skein, inbox: box } = await device(t, model);
  const came = collect(skein, "frame");
  const recalls = collect<Recall>(box, "recall");
  model.push("a", { collapse: "x" });
  model.push("b", { collapse: "y" });
  model.push("c");
  model.again(); // the same one again is no replacement: it keeps its place
  const wrong = model.push("d");
  model.recall(wrong);
  model.push("e", { collapse: "x" });
  await came.until(9);
  const got = collect<Message>(box, "message");
  await settle();
  assert.deepEqual(dataOf(got.list), ["b", "c", "e"]);
  await eventually(() => model.open.length === 0, "what was replaced is acknowledged, too: it must not come after the new one");
  model.again();
  await settle();
  assert.equal(got.list.length, 3);
  assert.deepEqual(recalls.list.map(({ seq, id }) => [seq, id]), [[4, "m4"]]);
});

test("a message takes no other's place than that of an older one of its category", async (t) => {
  const model = new Model();
  const { skein, inbox: box } = await device(t, model);
  const came = collect(skein, "frame");
  model.push("a", { collapse: "x", category: "news" });
  model.push("b", { collapse: "x", category: "orders" });
  model.push("c", { collapse: "x", category: "news" });
  await eventually(() => model.acked.has("m1"), "the first one is done with");
  model.tell({ ...came.list[0] as object, id: "late", seq: 0 }); // older than what it came after
  await came.until(5); // with the answer to the acknowledgement
  const got = collect<Message>(box, "message");
  await eventually(() => model.open.length === 0, "all are acknowledged");
  assert.deepEqual(dataOf(got.list), ["b", "c", "a"]);
});

test("what waits unheard when the connection is lost is what the next one brings", async (t) => {
  const model = new Model();
  const { skein, inbox: box } = await device(t, model);
  const came = collect<any>(skein, "frame");
  const first = model.push("a");
  model.push("b");
  await came.until(2);
  model.cut();
  model.recall(first); // nobody is there to be told
  await came.until((list) => list.filter(({ type }) => type === "msg").length === 3);
  const got = collect<Message>(box, "message");
  await settle();
  assert.deepEqual(dataOf(got.list), ["b"]);
});

test("whatever happens, a message is handed out once, none that is gone, and all are acknowledged", async (t) => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("push" as const), collapse: fc.constantFrom(undefined, "x", "y") }),
    fc.record({ do: fc.constant("recall" as const), which: fc.nat(20) }),
    fc.record({ do: fc.constant("read" as const), which: fc.nat(20) }),
    fc.record({ do: fc.constant("latest" as const), last: fc.integer({ min: 1, max: 5 }), unread: fc.boolean() }),
    fc.record({ do: fc.constantFrom("again" as const, "cut" as const, "listen" as const, "stop" as const) }),
  );
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const model = new Model();
    const { skein, inbox: box } = await device(t, model);
    const heard: string[] = [];
    const gone: string[] = [];
    const hear = (m: Message) => {
      heard.push(m.id);
      if (model.recalled.has(m.id)) gone.push(m.id);
    };
    /** That a newer one has taken its place here excuses a message from being heard. */
    const replaced = (letter: Letter) => model.messages.some((newer) => replaces(newer, letter));
    let off = () => {};
    const quiet = async () => {
      do await settle(); while (skein.state !== "connected");
    };
    for (const s of steps) {
      const letter = "which" in s && model.messages[s.which % model.messages.length];
      if (s.do === "push") model.push(0, s.collapse ? { collapse: s.collapse } : {});
      else if (s.do === "recall" && letter) model.recall(letter);
      else if (s.do === "read" && letter) await box.read(letter.seq);
      else if (s.do === "latest") await box.latest(s.last, { unread: s.unread });
      else if (s.do === "again") model.again();
      else if (s.do === "cut") model.cut();
      else if (s.do === "stop" || s.do === "listen") {
        off();
        off = s.do === "listen" ? box.on("message", hear) : () => {};
      }
      await quiet();
    }
    off();
    box.on("message", hear);
    await quiet();
    model.again();
    await eventually(() => model.open.length === 0, "all are acknowledged");
    skein.close();
    assert.deepEqual(gone, []);
    assert.equal(new Set(heard).size, heard.length);
    for (const letter of model.there) assert.ok(heard.includes(letter.id) || letter.seq <= model.read || replaced(letter), `${letter.id} was handed out, read before, or replaced`);
  }), { numRuns: 60 });
});
