// Conversations against the real server, over every transport.

import assert from "node:assert/strict";
import { after, before, test, type TestContext } from "node:test";
import { conversations, directChannel, type Conversation, type Conversations } from "../src/chat.js";
import type { Edit, Mark, Message, Options, Skein } from "../src/index.js";
import { client, collect, eventually, transports } from "./support/client.js";
import { proxy } from "./support/proxy.js";
import { freePort, start, type Server } from "./support/server.js";

const namespaces = {
  dm: { kind: "log", presence: "members", chat: { kind: "direct" } },
  team: { kind: "log", presence: "members", chat: { kind: "group" } },
  quiet: { kind: "log", chat: { kind: "group", follow: false, history: "start", join: "open" } },
};

let server: Server;
before(async () => { server = await start({ config: { namespaces } }); });
after(() => server.stop());

let made = 0;
const fresh = (name: string) => `${name}${++made}`;
const datas = ({ messages }: Conversation) => messages.map(({ data }) => data);

interface Person {
  skein: Skein;
  chat: Conversations;
}

async function person(t: TestContext, options: Options, base = server.base, silent = true): Promise<Person> {
  const skein = await client(t, base, options);
  return { skein, chat: await conversations(skein, { pause: 20, silent }).ready() };
}

for (const transport of transports) {
  const as = (user: string, device?: string) => ({ user, transports: [transport], ...(device && { device }) });

  test(`${transport}: two users talk, and each sees what the other has got, read and does`, async (t) => {
    const [a, b] = [fresh("ann"), fresh("bob")];
    const [ann, bob] = [await person(t, as(a)), await person(t, as(b))];
    const mine = await ann.chat.direct(b);
    await mine.ready();
    assert.deepEqual([mine.channel, mine.messages, mine.entry], [directChannel("dm", a, b), [], undefined]);
    const first = await mine.send({ text: "hi" });
    assert.deepEqual([first.seq, first.stored, first.users], [1, true, 1]);
    await eventually(() => bob.chat.list.length === 1 && bob.chat.unread === 1, "bob is told of it");
    assert.deepEqual([bob.chat.list[0]!.peer!.user, bob.chat.list[0]!.last!.data, bob.chat.list[0]!.peer!.online], [a, { text: "hi" }, true]);
    assert.equal(mine.status(mine.messages[0]!), "sent");

    const yours = await bob.chat.direct(a);
    await yours.ready();
    assert.deepEqual(datas(yours), [{ text: "hi" }]);
    await eventually(() => mine.status(mine.messages[0]!) === "delivered", "it was delivered");
    yours.typing();
    await eventually(() => mine.typists.join() === b, "ann sees him type");
    yours.read();
    assert.equal(bob.chat.unread, 0);
    await eventually(() => mine.status(mine.messages[0]!) === "read", "it was read");
    await yours.send("ho", { reply: 1, mentions: [a] });
    await eventually(() => mine.messages.length === 2, "ann has the answer");
    const { reply, mentions } = mine.messages[1]!;
    assert.deepEqual([reply, mentions, mine.typists], [1, [a], []]);
    await eventually(() => ann.chat.unread === 1, "it counts");

    await mine.edit(1, { text: "hello" });
    await yours.recall(2);
    await eventually(() => mine.messages[1]!.recalled === true && yours.messages[0]!.edited === true, "both are told");
    assert.deepEqual(yours.messages[0]!.data, { text: "hello" });
    await eventually(() => ann.chat.list[0]!.last!.recalled === true, "the list, too");
    await assert.rejects(mine.edit(2, "x"), ({ code }: any) => code === "not_found" || code === "denied");
    bob.skein.close();
    await eventually(() => ann.chat.list[0]!.peer!.online === false, "he has gone");
  });

  test(`${transport}: what the list shows has come to the device`, async (t) => {
    const [a, b] = [fresh("ann"), fresh("bob")];
    const ann = await person(t, as(a));
    const mine = await ann.chat.direct(b);
    await mine.send("while he is away");
    const bob = await person(t, as(b), server.base, false);
    await eventually(() => mine.status(mine.messages[0]!) === "delivered", "he has read his list");
    await mine.send("while he is there");
    await eventually(() => mine.status(mine.messages[1]!) === "delivered", "he follows it");
    assert.deepEqual([bob.chat.unread, bob.chat.list[0]!.delivered], [2, 2], "he has read nothing");
  });

  test(`${transport}: a group has members with roles, who come and go`, async (t) => {
    const [a, b, c] = [fresh("ann"), fresh("bob"), fresh("cleo")];
    const [ann, bob, cleo] = [await person(t, as(a)), await person(t, as(b)), await person(t, as(c))];
    const name = fresh("team:");
    const team = await ann.chat.create(name, { users: [b], data: { title: "Rockets" } });
    await team.ready();
    await eventually(() => bob.chat.list[0]?.channel === name, "bob is told");
    assert.deepEqual([bob.chat.list[0]!.data, bob.chat.list[0]!.role], [{ title: "Rockets" }, "member"]);
    await team.send("before cleo");
    assert.deepEqual(await team.invite([c], { role: "reader" }), { added: [c], refused: [], members: 3 });
    await eventually(() => cleo.chat.list[0]?.channel === name, "cleo is told");
    const hers = cleo.chat.open(name);
    await hers.ready();
    assert.deepEqual([hers.messages, hers.more], [[], false], "what was before is not shown");
    const refused = hers.send("may I?");
    assert.equal(hers.messages[0]!.state, "pending");
    await assert.rejects(refused, { code: "denied" });
    assert.equal(hers.messages[0]!.state, "failed");
    assert.equal(await team.role(c, "member"), "reader");
    await eventually(() => hers.entry!.role === "member", "she is told");
    await hers.retry(hers.messages[0]!.key!);
    await eventually(() => datas(team).includes("may I?"), "now she may");
    await team.set({ data: { title: "Moon" } });
    await eventually(() => bob.chat.list[0]!.data.title === "Moon", "all see the title");
    const { items, members } = await hers.members();
    assert.deepEqual([items.map(({ user, role }) => [user, role]), members], [[[a, "owner"], [b, "member"], [c, "member"]], 3]);
    assert.equal(await hers.alerts("none"), "default");
    await eventually(() => hers.entry!.alerts === "none", "it is in her list");

    const gone = collect<string>(hers, "gone");
    await team.remove([c]);
    await gone.until(1);
    await eventually(() => cleo.chat.list.length === 0, "it is in her list no more");
    await assert.rejects(hers.send("still here?"), { code: "denied" });
    const { owner, members: left } = await team.leave();
    assert.deepEqual([owner, left], [b, 1]);
    await eventually(() => bob.chat.list[0]!.role === "owner", "bob owns it");
    const his = bob.chat.open(name);
    assert.equal(await his.delete(), 1);
    await eventually(() => bob.chat.list.length === 0 && ann.chat.list.length === 0, "it is gone");
  });

  test(`${transport}: what is read on one device is read on all, and counts are right on each`, async (t) => {
    const [a, b] = [fresh("ann"), fresh("bob")];
    const bob = await person(t, as(b));
    const [phone, desk] = [await person(t, as(a, "phone")), await person(t, as(a, "desk"))];
    const dm = await bob.chat.direct(a);
    for (const n of [1, 2, 3]) await dm.send(n);
    await server.api("publish", { to: { channel: dm.channel }, data: "of the server" });
    for (const { chat } of [phone, desk]) await eventually(() => chat.unread === 4, "four are unread");
    const open = phone.chat.open(dm.channel);
    await open.ready();
    open.read(3);
    for (const { chat } of [phone, desk]) await eventually(() => chat.unread === 1 && chat.list[0]!.read === 3, "one is left");
    await desk.chat.open(dm.channel).send("me too");
    for (const { chat } of [phone, desk]) await eventually(() => chat.unread === 0, "who writes has read");
    await eventually(() => dm.messages.length === 5 && dm.status(dm.messages[2]!) === "read", "bob is told");
  });
}

test("nothing is lost and nothing comes twice, however often the connection breaks", async (t) => {
  const [a, b] = [fresh("ann"), fresh("bob")];
  const bad = await proxy(server.port);
  t.after(() => bad.close());
  const ann = await person(t, { user: a }, bad.base);
  const bob = await person(t, { user: b });
  const [mine, yours] = [await ann.chat.direct(b), await bob.chat.direct(a)];
  await Promise.all([mine.ready(), yours.ready()]);
  const heard: unknown[] = [];
  mine.on("message", ({ data }) => heard.push(data));
  const sending: Promise<unknown>[] = [];
  for (let i = 0; i < 30; i++) {
    sending.push(mine.send(`a${i}`));
    await yours.send(`b${i}`);
    if (i % 7 === 3) bad.cut();
  }
  await Promise.all(sending);
  await eventually(() => mine.messages.length === 60 && yours.messages.length === 60, "both have all");
  assert.deepEqual(datas(mine), datas(yours));
  assert.equal(new Set(datas(mine)).size, 60);
  assert.ok(mine.messages.every(({ state }, i, all) => state === "sent" && (!i || all[i]!.seq === all[i - 1]!.seq! + 1)));
  await eventually(() => heard.length === 60, "all were told");
  assert.deepEqual(heard, datas(mine));
  const seq = mine.messages.at(-1)!.seq!;
  mine.read();
  yours.read();
  await eventually(() => ann.chat.unread === 0 && mine.marks.get(b)?.read === seq && yours.marks.get(a)?.read === seq, "all is read");
});

test("after a restart of the server everything is as it was", async (t) => {
  const port = await freePort();
  let own = await start({ port, config: { namespaces } });
  t.after(() => own.kill());
  const [ann, bob] = [await person(t, { user: "ann" }, own.base), await person(t, { user: "bob" }, own.base)];
  const mine = await ann.chat.direct("bob");
  await mine.ready();
  await mine.send("before");
  await eventually(() => bob.chat.unread === 1, "bob is told");
  await own.kill();
  const sending = mine.send("meanwhile");
  assert.equal(mine.messages[1]!.state, "pending");
  assert.equal(bob.chat.list.length, 1, "what was shown stays");
  own = await start({ port, config: { namespaces } });
  await sending;
  await eventually(() => bob.chat.unread === 2 && bob.chat.list[0]!.last!.data === "meanwhile", "bob's list is right");
  assert.deepEqual(datas(mine), ["before", "meanwhile"]);
});

test("the list has pages, and conversations of later ones come up by themselves", async (t) => {
  const user = fresh("ann");
  for (let i = 0; i < 9; i++) await server.api("chat.create", { channel: fresh("team:"), users: [user], by: "boss", data: { i } });
  const skein = await client(t, server.base, { user });
  const chat = await conversations(skein, { page: 4, pause: 20 }).ready();
  const titles = () => chat.list.map(({ data }) => data.i);
  assert.deepEqual([titles(), chat.count, chat.unread, chat.hasMore], [[8, 7, 6, 5], 9, 0, true]);
  assert.equal(await chat.more(), true);
  const last = (await server.api("conversations", { user, limit: 200 })).conversations.at(-1).channel;
  await server.api("publish", { to: { channel: last }, data: "hello" });
  await eventually(() => chat.list[0]!.channel === last && chat.unread === 1, "the oldest is the newest");
  assert.deepEqual(titles(), [0, 8, 7, 6, 5, 4, 3, 2, 1]);
  assert.equal(await chat.more(), false);
  assert.deepEqual([titles(), chat.list.length], [[0, 8, 7, 6, 5, 4, 3, 2, 1], 9]);
});

test("where conversations are not followed they are read when they are opened, and their list is live", async (t) => {
  const [a, b] = [fresh("ann"), fresh("bob")];
  const [ann, bob] = [await person(t, { user: a }), await person(t, { user: b })];
  const name = fresh("quiet:");
  const mine = await ann.chat.create(name);
  await mine.send("for all to see");
  const yours = bob.chat.open(name);
  await assert.rejects(yours.ready(), { code: "denied" });
  yours.close();
  const joining = bob.chat.open(name);
  joining.on("error", () => {});
  assert.deepEqual((await joining.join()).added, [b]);
  await eventually(() => bob.chat.list[0]?.channel === name, "he is a member");
  joining.close();
  await eventually(() => bob.chat.list[0]!.unread === 0, "he has read what was before");
  const again = bob.chat.open(name);
  await again.ready();
  assert.deepEqual(datas(again), ["for all to see"]);
  again.close();
  await mine.send("and more");
  await eventually(() => bob.chat.unread === 1 && bob.chat.list[0]!.last!.data === "and more", "the list tells");
});

test("who is blocked cannot write, and is let in again", async (t) => {
  const [a, b] = [fresh("ann"), fresh("bob")];
  const [ann, bob] = [await person(t, { user: a }), await person(t, { user: b })];
  const [mine, yours] = [await ann.chat.direct(b), await bob.chat.direct(a)];
  await mine.send("hi");
  await eventually(() => ann.chat.list.length === 1, "it is in the list");
  assert.equal(await ann.chat.block(b), true);
  assert.equal(await ann.chat.block(b), false);
  assert.equal(ann.chat.list[0]!.peer!.blocked, true);
  assert.deepEqual((await ann.chat.blocked()).items.map(({ user }) => user), [b]);
  await assert.rejects(yours.send("why?"), { code: "denied" });
  await ann.chat.block(b, false);
  await yours.retry(yours.messages.at(-1)!.key!);
  await eventually(() => datas(mine).join() === "hi,why?", "he is heard again");
  assert.equal(ann.chat.list[0]!.peer!.blocked, undefined);
});

test("a plain channel tells of edits and marks as well", async (t) => {
  const [a, b] = [fresh("ann"), fresh("bob")];
  const [ann, bob] = [await person(t, { user: a }), await person(t, { user: b })];
  const name = directChannel("dm", a, b);
  await ann.skein.channel(name).publish("message", "one", { mentions: [b] });
  const channel = bob.skein.channel(name, { since: { seq: 0 } });
  const [messages, edits, marks] = [collect<Message>(channel, "message"), collect<Edit>(channel, "edit"), collect<Mark>(channel, "mark")];
  await messages.until(1);
  assert.deepEqual(messages.list[0]!.mentions, [b]);
  await ann.skein.request({ type: "edit", channel: name, seq: 1, data: "uno" });
  await edits.until(1);
  const { seq, data, edited, from } = edits.list[0]!;
  assert.deepEqual([seq, data, edited, from!.user], [1, "uno", true, a]);
  const desk = await client(t, server.base, { user: b });
  await desk.request({ type: "mark", channel: name, read: 1 });
  await marks.until((list) => list.some(({ user, read }) => user === b && read === 1));
});

test("nobody has no conversations", async (t) => {
  const skein = await client(t, server.base, {});
  await assert.rejects(conversations(skein).ready(), { code: "unauthorized" });
});
