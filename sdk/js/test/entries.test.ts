// The list of conversations against a model of a server whose answers and frames
// come in any order that the protocol allows.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { conversations, type Conversations } from "../src/chat.js";
import { make, turn, type Made } from "./support/chat.js";

/** Everything is as who comes now would see it. */
function right({ chat, model }: Made): void {
  const all = model.entries();
  assert.deepEqual(chat.list, all.slice(0, chat.list.length));
  assert.deepEqual({ count: chat.count, unread: chat.unread }, { count: all.length, unread: all.reduce((sum, { unread }) => sum + unread, 0) });
  assert.equal(chat.hasMore, chat.list.length < all.length);
}

const names = (chat: Conversations) => chat.list.map(({ channel }) => channel);

test("the list has the newest first, and more when it is asked for", async (t) => {
  const made = make(t, { page: 2 });
  const { model, chat, rest } = made;
  for (const name of ["team:1", "dm:ann:bob", "team:3", "team:4", "team:5"]) model.begin(name);
  model.say("dm:ann:bob", "bob", "hi");
  await rest();
  assert.deepEqual(names(chat), ["dm:ann:bob", "team:5"]);
  right(made);
  const more = chat.more();
  await rest();
  assert.equal(await more, true);
  assert.deepEqual(names(chat), ["dm:ann:bob", "team:5", "team:4", "team:3"]);
  const rest2 = chat.more();
  await rest();
  assert.equal(await rest2, false);
  right(made);
  assert.equal(chat.list.length, 5);
  const [asked] = model.heard;
  assert.deepEqual(asked, { type: "conversations", limit: 2, live: true });
});

test("a message moves its conversation to the top and counts, one's own does not", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  for (const name of ["team:1", "team:2"]) model.begin(name);
  await rest();
  assert.equal(chat.unread, 0);
  model.say("team:1", "bob", 1);
  model.say("team:1", "bob", 2);
  await rest();
  assert.deepEqual([names(chat), chat.unread, chat.list[0]!.unread, chat.list[0]!.last!.data], [["team:1", "team:2"], 2, 2, 2]);
  model.say("team:2", "ann", "from another device");
  await rest();
  assert.deepEqual([names(chat), chat.unread], [["team:2", "team:1"], 2]);
  model.read("team:1", 1);
  await rest();
  assert.equal(chat.unread, 1);
  right(made);
  assert.deepEqual(model.heard.map(({ type }) => type), ["conversations", "ack"], "all of this was told, and nothing was asked");
});

test("an edited and a recalled last message are shown, and an older frame says nothing", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  model.begin("team:1");
  model.say("team:1", "bob", "helo");
  await rest();
  model.edit("team:1", 1, "hello");
  await rest();
  assert.deepEqual([chat.list[0]!.last!.data, chat.list[0]!.last!.edited], ["hello", true]);
  model.recall("team:1", 1);
  await rest();
  assert.equal(chat.list[0]!.last!.recalled, true);
  model.say("team:1", "bob", "new");
  await rest();
  model.link!.tell({ type: "conversation", channel: "team:1", seq: 1, last: { id: "x", seq: 1, data: "old", event: "message", time: 1 }, time: 1, members: 2 });
  await rest();
  assert.equal(chat.list[0]!.last!.data, "new");
  right(made);
});

test("a conversation that is new, changed or over is told in full", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  await rest();
  assert.deepEqual([chat.list, chat.count, chat.unread], [[], 0, 0]);
  const gone: unknown[] = [];
  chat.on("gone", (g) => gone.push(g));
  model.begin("team:1", { data: { title: "one" } });
  await rest();
  assert.deepEqual([chat.list[0]!.data, chat.count], [{ title: "one" }, 1]);
  model.change("team:1", { role: "admin", data: { title: "two" }, members: 5 });
  await rest();
  const { role, data, members } = chat.list[0]!;
  assert.deepEqual({ role, data, members }, { role: "admin", data: { title: "two" }, members: 5 });
  model.end("team:1", "removed");
  await rest();
  assert.deepEqual([chat.list, chat.count, gone], [[], 0, [{ channel: "team:1", reason: "removed" }]]);
  right(made);
});

test("the other one of a direct conversation is seen to come, to go and to read", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  model.begin("dm:ann:bob");
  model.say("dm:ann:bob", "ann", "hi");
  await rest();
  model.present("bob", true);
  model.peerRead("dm:ann:bob", 0, 1);
  await rest();
  assert.deepEqual(chat.list[0]!.peer, { user: "bob", read: 0, delivered: 1, online: true });
  model.peerRead("dm:ann:bob", 1);
  model.present("bob", false);
  await rest();
  assert.deepEqual(chat.list[0]!.peer, { user: "bob", read: 1, delivered: 1, online: false });
  model.say("dm:ann:bob", "bob", "ho");
  await rest();
  assert.equal(chat.list[0]!.peer!.read, 2, "who writes has read");
  right(made);
});

test("after a lost connection, and after dropped frames, what was shown stays until the list is there", async (t) => {
  const made = make(t, { page: 2 });
  const { model, chat, rest } = made;
  for (let i = 1; i <= 6; i++) model.begin(`team:${i}`);
  await rest();
  chat.more().catch(() => {});
  await rest();
  assert.equal(chat.list.length, 4);
  const shown: number[] = [];
  chat.on("change", () => shown.push(chat.list.length));
  model.cut();
  model.say("team:1", "bob", 1);
  model.end("team:5", "left");
  model.begin("team:7");
  model.read("team:1", 1);
  model.say("team:1", "bob", 2);
  await rest();
  right(made);
  assert.ok(shown.length > 0 && shown.every((length) => length >= 4), `so many were shown: ${shown}`);
  model.say("team:2", "bob", 1);
  model.end("team:7", "left");
  model.drop();
  await rest();
  right(made);
});

test("what is told while the list is asked for counts more than the answer", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  for (const name of ["team:1", "team:2", "team:3"]) model.begin(name);
  await rest();
  model.drop();
  model.link!.tell({ type: "dropped", channel: "@direct", count: 1 });
  model.deliver();
  await turn();
  model.answer(); // as it was; it is on its way
  const [answer] = model.link!.down.splice(0);
  model.change("team:1", { role: "owner" });
  model.end("team:2", "removed");
  model.say("team:3", "bob", "new");
  while (model.tell());
  while (model.deliver());
  model.link!.down.push(answer!);
  await rest();
  assert.deepEqual(chat.list.map(({ channel, role, seq }) => [channel, role, seq]), [["team:3", "member", 1], ["team:1", "owner", 0]]);
  right(made);
});

test("conversations that are not in the list are found when something happens there", async (t) => {
  const made = make(t, { page: 1 });
  const { model, chat, rest } = made;
  for (let i = 1; i <= 5; i++) model.begin(`team:${i}`);
  await rest();
  for (const i of [1, 2, 3]) model.say(`team:${i}`, "bob", i);
  await rest();
  right(made);
  assert.deepEqual(names(chat), ["team:3", "team:2", "team:1", "team:5"]);
});

test("who may not have a list is told so, once, and may be somebody else later", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  model.refusals.push(["conversations", "unauthorized"]);
  const told: string[] = [];
  chat.on("error", ({ code }) => told.push(code));
  const ready = assert.rejects(chat.ready(), { code: "unauthorized" });
  await rest();
  await ready;
  await assert.rejects(chat.ready(), { code: "unauthorized" });
  assert.deepEqual([told, chat.error?.code], [["unauthorized"], "unauthorized"]);
  model.begin("team:1");
  model.cut();
  await rest();
  await chat.ready();
  right(made);
});

test("there is one list for a client, until it is closed", async (t) => {
  const made = make(t);
  const { model, skein, chat, rest } = made;
  await rest();
  assert.equal(conversations(skein), chat);
  chat.close();
  await rest();
  assert.deepEqual(model.heard.at(-1), { type: "conversations", limit: 1, live: false });
  assert.notEqual(conversations(skein), chat);
  await assert.rejects(chat.more(), /closed/);
});

test("an iterator has each change once, and ends with the list", async (t) => {
  const made = make(t);
  const { model, chat, rest } = made;
  const seen: string[][] = [];
  const reading = (async () => {
    for await (const { channels } of chat) seen.push([...channels]);
  })();
  await rest();
  model.begin("team:1");
  await rest();
  model.say("team:1", "bob", 1);
  await rest();
  chat.close();
  await reading;
  assert.deepEqual(seen[0], []);
  assert.ok(seen.slice(1).every((channels) => channels.join() === "team:1"), JSON.stringify(seen));
});

test("whatever comes in whatever order, in the end it is what a fresh list is", async () => {
  const channel = fc.constantFrom("team:1", "team:2", "team:3", "team:4", "team:5", "dm:ann:bob", "dm:ann:eve");
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("say" as const, "say" as const, "own" as const, "read" as const, "edit" as const, "recall" as const), channel, same: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("begin" as const, "end" as const, "change" as const, "peer" as const), channel, same: fc.boolean() }) },
    { weight: 8, arbitrary: fc.record({ do: fc.constantFrom("answer" as const, "late" as const, "tell" as const, "deliver" as const, "wait" as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("more" as const, "online" as const, "cut" as const, "drop" as const, "ask" as const, "touch" as const, "touch" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("here" as const), channel }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("rest" as const) }) },
  );
  let n = 0;
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.nat(4), fc.array(step, { maxLength: 60 }), async (page, pages, steps) => {
    const afters: (() => void)[] = [];
    const made = make({ after: (fn) => void afters.push(fn) }, { page });
    const { model, chat, rest } = made;
    for (const name of ["team:1", "team:2", "team:3", "dm:ann:bob"]) model.begin(name);
    try {
      await rest();
      for (let i = 0; i < pages; i++) await Promise.all([chat.more(), rest()]);
      for (const s of steps) {
        const talk = "channel" in s ? model.talks.get(s.channel) : undefined;
        const there = talk?.role !== undefined;
        const time = "same" in s && s.same ? { time: model.tick(0) } : {};
        if (s.do === "say" && there) model.say(s.channel, talk!.peer?.user ?? "bob", n++, time);
        else if (s.do === "own" && there) model.say(s.channel, "ann", n++, time);
        else if (s.do === "read" && there) model.read(s.channel, Math.ceil((talk!.messages.length + talk!.read) / 2));
        else if (s.do === "edit" && there && talk!.messages.length) model.edit(s.channel, talk!.messages.length, n++);
        else if (s.do === "recall" && there && talk!.messages.length) model.recall(s.channel, talk!.messages.length);
        else if (s.do === "begin" && !there) model.begin(s.channel);
        else if (s.do === "end" && there) model.end(s.channel, "left");
        else if (s.do === "change" && there) model.change(s.channel, { role: `role${n++}`, members: n });
        else if (s.do === "peer" && there && talk!.peer) model.peerRead(s.channel, talk!.messages.length);
        else if (s.do === "answer") model.answer();
        else if (s.do === "late") model.answer(true);
        else if (s.do === "rest") await rest();
        else if (s.do === "tell") model.tell();
        else if (s.do === "deliver") model.deliver();
        else if (s.do === "wait") await turn();
        else if (s.do === "more") chat.more().catch(() => {});
        else if (s.do === "online") model.present("bob", !model.online.has("bob"));
        else if (s.do === "cut") model.cut();
        else if (s.do === "drop") model.drop();
        else if (s.do === "touch" && made.skein.state === "connected") {
          // It reads the first page again, because of a conversation that it does not know.
          model.link!.down.unshift(JSON.stringify({ type: "mark", channel: "team:0", user: "ann", read: 1, delivered: 1 }));
          model.deliver();
          await turn();
          await turn();
        } else if (s.do === "ask" && made.skein.state === "connected") {
          // The client reads the list again: what is said and told from here on overtakes the answers, or does not.
          model.link!.down.unshift(JSON.stringify({ type: "dropped", channel: "@direct", count: 1 }));
          model.deliver();
          await turn();
        }
        else if (s.do === "here" && there && made.skein.state === "connected") void chat.open(s.channel).send(n++).catch(() => {});
      }
      await rest();
      right(made);
    } finally {
      for (const after of afters) after();
    }
  }), { numRuns: 150 });
});
