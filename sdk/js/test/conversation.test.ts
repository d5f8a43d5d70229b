// Conversations that are open, against a model of a server.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { directChannel, type ChatMessage, type Conversation } from "../src/chat.js";
import { eventually } from "./support/client.js";
import { make, tidy, turn, type Made } from "./support/chat.js";

/** A conversation with bob that is open, and has what was said before. */
async function opened(t: TestContext, said: [user: string, data: unknown][] = [], options = {}): Promise<Made & { dm: Conversation; name: string }> {
  const made = make(t, options);
  const name = "dm:ann:bob";
  made.model.begin(name);
  for (const [user, data] of said) made.model.say(name, user, data);
  const dm = made.chat.open(name);
  const ready = dm.ready();
  await made.rest();
  await ready;
  return { ...made, dm, name };
}

const datas = ({ messages }: Conversation) => messages.map(({ data }) => data);
const states = ({ messages }: Conversation) => messages.map(({ data, state }) => `${data} ${state}`);
const frames = ({ model }: Made, type: string) => model.heard.filter((frame) => frame.type === type);

test("the names of direct conversations do not depend on who asks", () => {
  for (const [a, b, name] of [
    ["ann", "bob", "dm:ann:bob"],
    ["bob", "ann", "dm:ann:bob"],
    ["a:b", "c%d", "dm:a%3Ab:c%25d"],
    ["a b", "\u0001\u007f", "dm:%01%7F:a%20b"],
    ["é", "z", "dm:z:é"],
    ["\u2003", "\u00a0", "dm:%C2%A0:%E2%80%83"],
    ["\u{1F600}", "\uFF5E", "dm:\uFF5E:\u{1F600}"], // UTF-16 has them the other way round
    ["B", "a", "dm:B:a"],
    ["ab", "a", "dm:a:ab"],
  ] as const) {
    assert.equal(directChannel("dm", a, b), name);
    assert.equal(directChannel("dm", b, a), name);
  }
});

test("a conversation has its newest messages, and older ones when they are asked for", async (t) => {
  const made = await opened(t, Array.from({ length: 12 }, (_, i) => ["bob", i + 1]), { messages: 5 });
  const { dm, model, name, rest } = made;
  assert.deepEqual([datas(dm), dm.more], [[8, 9, 10, 11, 12], true]);
  const both = Promise.all([dm.older(), dm.older(3)]);
  await rest();
  assert.deepEqual(await both, [true, false]);
  assert.deepEqual([datas(dm), dm.more], [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], false]);
  model.say(name, "bob", 13);
  await rest();
  assert.deepEqual([datas(dm).at(-1), dm.messages.at(-1)!.state, dm.messages.at(-1)!.seq], [13, "sent", 13]);
  const { messages } = dm;
  assert.equal(dm.messages, messages, "the same list until it changes");
});

test("a message that is sent is shown at once, and confirmed", async (t) => {
  const { dm, model, name, rest } = await opened(t, [["bob", "hi"]]);
  const sending = dm.send({ text: "ho" }, { reply: 1, mentions: ["bob"] });
  const [, pending] = dm.messages as ChatMessage[];
  assert.deepEqual([pending!.state, pending!.data, pending!.seq, pending!.reply], ["pending", { text: "ho" }, undefined, 1]);
  await rest();
  const { seq, message } = await sending;
  assert.deepEqual([seq, message], [2, `${name}/2`]);
  const [, sent] = dm.messages as ChatMessage[];
  assert.deepEqual([sent!.state, sent!.key, sent!.id, sent!.mentions], ["sent", pending!.key, message, ["bob"]]);
  assert.equal(dm.messages.length, 2);
  assert.equal(model.talks.get(name)!.messages[1]!.reply, 1);
  assert.deepEqual([dm.unread, dm.status(sent!)], [0, "sent"]);
});

test("its own message is never shown twice, in whatever order the answer and the message come", async (t) => {
  for (const first of ["answer", "message"]) {
    const { dm, model, rest } = await opened(t);
    const seen: string[] = [];
    dm.on("change", () => seen.push(states(dm).join()));
    const sending = dm.send({ n: 1, more: [undefined, 2] });
    await turn();
    model.answer();
    const { down } = model.link!;
    const at = down.findIndex((text) => /^\{"type":"msg"/.test(text));
    const [msg] = down.splice(at, 1);
    if (first === "answer") down.push(msg!);
    else down.unshift(msg!);
    while (model.deliver()) await turn();
    await rest();
    await sending;
    const shown = seen.map((text) => text.split("sent").length + text.split("pending").length - 2);
    assert.ok(shown.every((n) => n === 1), `${first}: ${seen.join(" | ")}`);
    assert.equal(dm.messages[0]!.state, "sent");
  }
});

test("a message whose answer is lost is sent again, and is one message", async (t) => {
  const { dm, model, name, rest } = await opened(t);
  const sending = dm.send("once");
  await turn();
  model.answer(); // it is stored, and nobody hears of it
  model.cut();
  assert.deepEqual(states(dm), ["once pending"]);
  await rest();
  assert.equal((await sending).duplicate, true);
  assert.deepEqual(states(dm), ["once sent"]);
  assert.equal(model.talks.get(name)!.messages.length, 1);
});

test("a message that is refused stays as failed, until it is sent again or given up", async (t) => {
  const { dm, model, rest } = await opened(t);
  model.refusals.push(["pub", "denied"], ["pub", "denied"]);
  const [a, b] = [dm.send("a"), dm.send("b")];
  a.catch(() => {});
  await Promise.all([rest(), assert.rejects(a, { code: "denied" }), assert.rejects(b, { code: "denied" })]);
  assert.deepEqual(states(dm), ["a failed", "b failed"]);
  const [first, second] = dm.messages;
  assert.equal((first!.error as any).code, "denied");
  const again = dm.retry(first!.key!);
  assert.deepEqual(states(dm), ["b failed", "a pending"]);
  dm.discard(second!.key!);
  await rest();
  await again;
  assert.deepEqual(states(dm), ["a sent"]);
  await assert.rejects(dm.retry("never heard of"), RangeError);
});

test("edits and recalls change a message in its place, also while a page is on its way", async (t) => {
  const made = await opened(t, [["bob", "one"], ["bob", "two"], ["ann", "three"]]);
  const { dm, model, name, rest } = made;
  const told: string[] = [];
  dm.on("edit", ({ seq, data }) => told.push(`edit ${seq} ${data}`));
  dm.on("recall", ({ seq }) => told.push(`recall ${seq}`));
  model.edit(name, 1, "uno");
  model.recall(name, 2);
  await rest();
  const done = Promise.all([dm.edit(3, "tres"), rest()]);
  await done;
  assert.deepEqual(dm.messages.map(({ data, edited, recalled }) => [data, edited, recalled]), [
    ["uno", true, undefined], [null, undefined, true], ["tres", true, undefined],
  ]);
  assert.deepEqual(told, ["edit 1 uno", "recall 2", "edit 3 tres"]);
  await Promise.all([dm.recall(3), rest()]);
  assert.equal(dm.messages[2]!.recalled, true);
  await Promise.all([assert.rejects(dm.recall(3), { code: "not_found" }), rest()]);
});

test("what is edited while its page is on its way is shown as it is now", async (t) => {
  const { dm, model, name, rest } = await opened(t, Array.from({ length: 4 }, (_, i) => ["bob", i + 1]), { messages: 2 });
  const older = dm.older();
  await turn();
  model.answer();
  const [page] = model.link!.down.splice(0);
  model.edit(name, 1, "new");
  model.recall(name, 2);
  while (model.deliver());
  model.link!.down.push(page!);
  await rest();
  await older;
  assert.deepEqual(dm.messages.map(({ data, edited, recalled }) => [data, edited, recalled]), [
    ["new", true, undefined], [null, undefined, true], [3, undefined, undefined], [4, undefined, undefined],
  ]);
});

test("a recall whose answer was lost is asked for again, and is done", async (t) => {
  const { dm, model, rest } = await opened(t, [["ann", "oops"]]);
  const recalling = dm.recall(1);
  await turn();
  model.answer();
  model.cut();
  await rest();
  await recalling;
  assert.equal(dm.messages[0]!.recalled, true);
});

test("after a lost connection what was missed is there, in its place", async (t) => {
  const { dm, model, name, rest } = await opened(t, [["bob", 1], ["bob", 2]]);
  model.cut();
  model.edit(name, 1, "one");
  model.recall(name, 2);
  for (const data of [3, 4]) model.say(name, "bob", data);
  const sending = dm.send(5);
  await rest();
  await sending;
  assert.deepEqual([dm.messages.map(({ data }) => data), dm.messages[1]!.recalled], [["one", null, 3, 4, 5], true]);
});

test("a frame of the list is no message, and what comes before the answer to a subscription is in its place", async (t) => {
  const { dm, skein, model, name, rest } = await opened(t, [["bob", 1], ["bob", 2]]);
  const heard: unknown[] = [];
  dm.on("message", ({ data }) => heard.push(data));
  model.link!.tell({ type: "conversation", channel: name, seq: 3, last: { id: "x", seq: 3, event: "message", data: 3, time: 1 }, time: 1, members: 2 });
  model.say(name, "bob", 3);
  await rest();
  assert.deepEqual(heard, [3]);
  model.cut();
  for (const data of [4, 5]) model.say(name, "bob", data);
  while (skein.state !== "connected") {
    await turn();
    model.answer();
    model.deliver();
  }
  // The server has subscribed the connection by itself, and somebody says something.
  model.link!.tell({ type: "subscribed", channel: name, reason: "server", epoch: "e1", seq: 5 });
  model.link!.subscribed.add(name);
  model.say(name, "bob", 6);
  while (model.deliver());
  await rest();
  assert.deepEqual(heard, [3, 4, 5, 6]);
  assert.deepEqual(datas(dm), [1, 2, 3, 4, 5, 6]);
});

test("a history that has begun anew takes the place of what was shown", async (t) => {
  const { dm, model, name, rest } = await opened(t, [["bob", 1], ["bob", 2]]);
  const gaps: unknown[] = [];
  dm.on("gap", (gap) => gaps.push(gap.epoch));
  model.cut();
  const talk = model.talks.get(name)!;
  Object.assign(talk, { epoch: "e2", messages: [], read: 0, delivered: 0 });
  model.say(name, "bob", "new");
  await rest();
  assert.deepEqual([datas(dm), gaps], [["new"], ["e2"]]);
});

test("what was handed out is acknowledged together, and what was read is marked", async (t) => {
  const made = await opened(t, [["bob", 1], ["bob", 2]]);
  const { dm, chat, model, name, rest } = made;
  assert.deepEqual([dm.unread, chat.unread], [2, 2]);
  await eventually(async () => { await rest(); return frames(made, "ack").length === 1; }, "it acknowledged");
  assert.deepEqual(frames(made, "ack"), [{ type: "ack", channel: name, seq: 2 }]);
  for (const data of [3, 4, 5]) model.say(name, "bob", data);
  await rest();
  dm.read(4);
  dm.read(3);
  dm.read();
  assert.deepEqual([dm.unread, chat.unread, dm.entry!.read], [0, 0, 5], "at once");
  await eventually(async () => { await rest(); return frames(made, "mark").length > 0; }, "it marked");
  assert.deepEqual(frames(made, "mark"), [{ type: "mark", channel: name, read: 5 }]);
  assert.equal(frames(made, "ack").length, 1, "what was read was delivered");
  dm.read();
  await rest();
  assert.deepEqual([model.talks.get(name)!.read, chat.unread], [5, 0]);
  assert.equal(frames(made, "mark").length, 1);
});

test("a mark whose answer was lost is made again; one that is refused is taken back", async (t) => {
  const made = await opened(t, [["bob", 1]]);
  const { dm, chat, model, rest } = made;
  dm.read();
  await eventually(async () => { await turn(); return model.link!.up.some((text) => /"mark"/.test(text)); }, "it marks");
  model.link!.up.length = 0;
  model.cut();
  assert.equal(chat.unread, 0);
  await eventually(async () => { await rest(); return frames(made, "mark").length > 0; }, "it marks again");
  assert.deepEqual([chat.unread, model.talks.get("dm:ann:bob")!.read], [0, 1]);

  const errors: string[] = [];
  dm.on("error", ({ code }) => errors.push(code));
  model.say("dm:ann:bob", "bob", 2);
  await rest();
  model.refusals.push(["mark", "denied"], ["ack", "denied"]);
  dm.read();
  await eventually(async () => { await rest(); return errors.length > 0; }, "it is told");
  assert.deepEqual([errors, chat.unread], [["denied"], 1]);
});

test("ticks: what the other has got and read", async (t) => {
  const { dm, model, name, rest } = await opened(t, [["ann", 1]]);
  assert.equal(dm.status(dm.messages[0]!), "sent");
  model.peerRead(name, 0, 1);
  await rest();
  assert.equal(dm.status(dm.messages[0]!), "delivered");
  model.peerRead(name, 1);
  await rest();
  assert.deepEqual([dm.status(dm.messages[0]!), dm.readers(1)], ["read", ["bob"]]);
});

test("ticks in a group: when all the others have", async (t) => {
  const made = make(t);
  const { chat, model, rest } = made;
  model.begin("team:1", { members: 3 });
  model.say("team:1", "ann", 1);
  const items = [{ user: "ann", role: "owner" }, { user: "bob", role: "member", delivered: 1, read: 1 }, { user: "eve", role: "member", delivered: 1, read: 0 }];
  model.call = (method) => (method === "chat.members" ? { items, members: 3 } : {});
  const team = chat.open("team:1");
  await rest();
  assert.deepEqual([team.status(team.messages[0]!), team.readers(1)], ["delivered", ["bob"]]);
  model.link!.tell({ type: "mark", channel: "team:1", user: "eve", delivered: 1, read: 1 });
  await rest();
  assert.equal(team.status(team.messages[0]!), "read");
  model.change("team:1", { members: 4 });
  await rest();
  assert.equal(team.status(team.messages[0]!), "sent", "one is not known");
  items.push({ user: "kim", role: "reader", delivered: 1, read: 0 });
  model.cut();
  await rest();
  assert.equal(team.status(team.messages[0]!), "delivered", "she is now");
  model.say("team:1", "kim", 2);
  await rest();
  assert.equal(team.status(team.messages[0]!), "read", "who writes has read");
  items.splice(1, 1);
  model.change("team:1", { members: 3 });
  await rest();
  assert.deepEqual([...team.marks.keys()], ["eve", "kim"], "who has left is not waited for");
});

test("typing is told every few seconds, and of others for a while", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_770_000_000_000 });
  const made = await opened(t);
  const { dm, model, name, rest } = made;
  for (let i = 0; i < 5; i++) dm.typing();
  t.mock.timers.tick(3_000);
  dm.typing();
  dm.typing(false);
  dm.typing(false);
  await rest();
  assert.deepEqual(frames(made, "notice").map(({ event, data }) => [event, data]), [["typing", true], ["typing", true], ["typing", false]]);

  const seen: string[] = [];
  dm.on("change", () => seen.push(dm.typists.join()));
  const tell = (user: string, data: unknown, event = "typing") => model.link!.tell({ type: "notice", channel: name, event, data, from: { user }, time: 0 });
  const notices: unknown[] = [];
  dm.on("notice", (notice) => notices.push(notice.event));
  tell("bob", true);
  tell("bob", true);
  tell("ann", true);
  tell("eve", true);
  tell("eve", false);
  tell("eve", 1, "wave");
  await rest();
  assert.deepEqual([seen, notices], [["bob", "bob,eve", "bob"], ["wave"]]);
  model.say(name, "bob", "done");
  await rest();
  assert.deepEqual(dm.typists, []);
});

test("a conversation that has not begun is empty, and begins with its first message", async (t) => {
  const { chat, model, rest } = make(t);
  const opening = chat.direct("zoe");
  await rest();
  const dm = await opening;
  assert.equal(dm.channel, "dm:ann:zoe");
  await rest();
  assert.deepEqual([dm.messages, dm.entry, dm.unread], [[], undefined, 0]);
  const sending = dm.send("first");
  await rest();
  await sending;
  assert.deepEqual([states(dm), dm.entry!.peer!.user, chat.list.length, chat.count], [["first sent"], "zoe", 1, 1]);
  assert.equal(model.talks.size, 1);
});

test("who is a member no more is told why, and hears again when he is one again", async (t) => {
  const made = make(t);
  const { chat, model, rest } = made;
  model.begin("team:1");
  const team = chat.open("team:1");
  await rest();
  const gone: string[] = [];
  team.on("gone", (reason) => gone.push(reason));
  model.link!.subscribed.delete("team:1"); // the frame of it comes later
  model.end("team:1", "removed");
  await rest();
  assert.deepEqual([gone, chat.list.length, team.entry], [["removed"], 0, undefined]);
  model.link!.tell({ type: "unsubscribed", channel: "team:1", reason: "denied" });
  await rest();
  assert.deepEqual(gone, ["removed"]);
  model.begin("team:1");
  await rest();
  model.say("team:1", "bob", "welcome back");
  await rest();
  assert.deepEqual(datas(team), ["welcome back"]);
});

test("a conversation that may not be read says so, and is read when it may be", async (t) => {
  const { chat, model, rest } = make(t);
  model.begin("team:1");
  model.talks.get("team:1")!.role = undefined;
  const team = chat.open("team:1");
  const refused = assert.rejects(team.ready(), { code: "denied" });
  await rest();
  await refused;
  model.begin("team:1"); // now it may
  await rest();
  await team.ready();
  model.say("team:1", "bob", "hello");
  await rest();
  assert.deepEqual(datas(team), ["hello"]);
});

test("an open conversation is one object, until the last has closed it", async (t) => {
  const made = make(t);
  const { chat, model, rest } = made;
  model.begin("team:1");
  const [a, b] = [chat.open("team:1"), chat.open("team:1")];
  assert.equal(a, b);
  await rest();
  a.close();
  await rest();
  assert.equal(frames(made, "unsub").length, 0);
  b.close();
  const c = chat.open("team:1");
  assert.equal(c, a, "who comes at once finds it as it was");
  await rest();
  c.close();
  await rest();
  assert.equal(frames(made, "unsub").length, 1);
  assert.notEqual(chat.open("team:1"), a);
});

test("calls go to the server's methods, with the conversation", async (t) => {
  const made = make(t);
  const { chat, model, rest } = made;
  model.begin("team:1");
  const called: unknown[] = [];
  model.call = (method, data) => {
    called.push([method, data]);
    return { was: "member", changed: true, removed: 3, added: ["eve"], items: [] };
  };
  const team = chat.open("team:1");
  const all = Promise.all([
    team.invite(["eve"], { role: "reader" }), team.remove(["eve"]), team.leave(), team.join(), team.role("eve", "admin"),
    team.set({ data: { title: "x" } }), team.alerts("none"), team.delete(), team.members({ limit: 2 }),
    chat.create("team:9", { users: ["eve"], data: { title: "new" }, join: "open" }), chat.block("eve"), chat.block("eve", false), chat.blocked({ limit: 5 }),
  ]);
  await rest();
  const [invited, , , , was, , level, removed] = await all;
  assert.deepEqual([invited.added, was, level, removed], [["eve"], "member", "member", 3]);
  const channel = "team:1";
  assert.deepEqual(called.filter(([, data]: any) => data.limit !== 100), [
    ["chat.invite", { channel, users: ["eve"], role: "reader" }], ["chat.remove", { channel, users: ["eve"] }], ["chat.leave", { channel }],
    ["chat.join", { channel }], ["chat.role", { channel, user: "eve", role: "admin" }], ["chat.set", { channel, data: { title: "x" } }],
    ["chat.alerts", { channel, level: "none" }], ["chat.delete", { channel }],
    ["chat.create", { channel: "team:9", users: ["eve"], data: { title: "new" }, join: "open" }],
    ["chat.members", { channel, limit: 2 }],
    ["chat.block", { peer: "eve", blocked: true }], ["chat.block", { peer: "eve", blocked: false }], ["chat.blocked", { limit: 5 }],
  ]);
});

test("no more messages are kept than is asked for, and older ones may be read again", async (t) => {
  const { dm, model, name, rest } = await opened(t, [], { keep: 3 });
  for (let i = 1; i <= 5; i++) model.say(name, "bob", i);
  await rest();
  assert.deepEqual([datas(dm), dm.more], [[3, 4, 5], true]);
  await Promise.all([dm.older(), rest()]);
  assert.deepEqual([datas(dm), dm.more], [[1, 2, 3, 4, 5], false]);
});

test("whatever comes in whatever order, the messages are those of the server, and each is told once", async () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constantFrom("say" as const, "send" as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("edit" as const, "recall" as const), which: fc.nat(30) }) },
    { weight: 12, arbitrary: fc.record({ do: fc.constantFrom("answer" as const, "deliver" as const, "tell" as const, "wait" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("older" as const, "cut" as const, "read" as const) }) },
  );
  let n = 0;
  const name = "dm:ann:bob";
  await fc.assert(fc.asyncProperty(fc.nat(6), fc.array(step, { maxLength: 60 }), async (before, steps) => {
    const afters: (() => void)[] = [];
    const { chat, model, rest } = make({ after: (fn) => void afters.push(fn) }, { messages: 3 });
    try {
      model.begin(name);
      for (let i = 0; i < before; i++) model.say(name, "bob", n++);
      const dm = chat.open(name);
      const heard: number[] = [];
      dm.on("message", ({ seq }) => heard.push(seq));
      const { messages } = model.talks.get(name)!;
      const sending: Promise<unknown>[] = [];
      for (const s of steps) {
        const which = "which" in s && messages.length ? 1 + (s.which % messages.length) : 0;
        if (s.do === "say") model.say(name, "bob", n++);
        else if (s.do === "send") sending.push(dm.send({ n: n++ }));
        else if (s.do === "edit" && which) model.edit(name, which, n++);
        else if (s.do === "recall" && which) model.recall(name, which);
        else if (s.do === "answer") model.answer();
        else if (s.do === "deliver") model.deliver();
        else if (s.do === "tell") model.tell();
        else if (s.do === "wait") await turn();
        else if (s.do === "older") dm.older().catch(() => {});
        else if (s.do === "cut") model.cut();
        else if (s.do === "read") dm.read();
      }
      await rest();
      await Promise.all(sending);
      await rest();
      const shown = dm.messages.map(({ state, key, channel, ...message }) => {
        assert.equal(state, "sent");
        return message.recalled ? { seq: message.seq, recalled: true } : message;
      });
      const wanted = messages.map((said) => (said.recalled ? { seq: said.seq, recalled: true } : tidy(said)));
      assert.deepEqual(shown, wanted.slice(-shown.length || wanted.length));
      assert.ok(shown.length >= Math.min(3, messages.length), "the newest are there");
      assert.equal(dm.more, shown.length < messages.length);
      assert.equal(new Set(heard).size, heard.length);
      assert.deepEqual(heard, [...heard].sort((a, b) => a - b));
    } finally {
      for (const after of afters) after();
    }
  }), { numRuns: 100 });
});
