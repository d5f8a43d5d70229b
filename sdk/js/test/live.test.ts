// Documents and presence against the real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { parse, stringify } from "../examples/bigint.mjs";
import { path, type Change, type Presence, type Visit } from "../src/index.js";
import { client, collect, eventually, lone, transports } from "./support/client.js";
import { proxy } from "./support/proxy.js";
import { freePort, start, type Server } from "./support/server.js";

let server: Server;
before(async () => { server = await start(); });
after(() => server.stop());

let made = 0;
const fresh = (namespace: string) => `${namespace}:${++made}`;

for (const transport of transports) {
  const as = (user: string) => ({ user, transports: [transport] });

  test(`${transport}: a document is changed at once, and the same for all`, async (t) => {
    const name = fresh("game");
    const [a, b] = [await client(t, server.base, as("ana")), await client(t, server.base, as("ben"))];
    const [mine, yours] = [await a.document(name).open(), await b.document(name).open()];
    assert.deepEqual([mine.value, mine.version], [null, 0]);
    const promise = mine.set(path("players", "ana", "points"), 3);
    assert.deepEqual(mine.value, { players: { ana: { points: 3 } } });
    assert.equal(mine.pending, 1);
    assert.equal(await promise, 1);
    const both = await Promise.all([mine.inc("/players/ana/points", 2), yours.inc("/players/ana/points", 5)]);
    assert.deepEqual(both.sort(), [2, 3]);
    await eventually(() => mine.version === 3 && yours.version === 3, "both have seen both");
    assert.deepEqual(mine.value, { players: { ana: { points: 10 } } });
    assert.deepEqual(yours.value, mine.value);
    assert.equal(mine.pending, 0);
    await mine.merge("/players", { ana: null, cleo: {} });
    await mine.append("/log", "ana left");
    await mine.test("/players/ana", null);
    assert.equal(await mine.remove("/log"), 6);
    assert.deepEqual((await server.api("doc.get", { channel: name })).data, { players: { cleo: {} } });
  });

  test(`${transport}: what is refused is taken back`, async (t) => {
    const a = await client(t, server.base, as("ana"));
    const doc = await a.document(fresh("game")).open();
    await doc.set("", { gold: 3 });
    const changes = collect<Change>(doc, "change");
    // It does not fit here either, so it is not shown; the server has the last word.
    await assert.rejects(doc.inc("/gold", -5, { min: 0 }), { code: "conflict" });
    assert.deepEqual(doc.value, { gold: 3 });
    // This one fits here, but somebody else was faster.
    await server.api("doc.patch", { channel: doc.name, ops: [{ op: "set", path: "/gold", value: 4 }] });
    await assert.rejects(doc.patch([{ op: "set", path: "/gold", value: 9 }], { ifVersion: 1 }), { code: "conflict" });
    await eventually(() => doc.version === 2, "the other's patch is here");
    assert.deepEqual(doc.value, { gold: 4 });
    assert.equal(doc.pending, 0);
    assert.ok(changes.list.some(({ local, value }) => local && value.gold === 9), "it was shown for a moment");
    await assert.rejects(doc.set("gold", 1), { code: "bad_request" });
    await assert.rejects(doc.patch([]), { code: "bad_request" });
  });

  test(`${transport}: patches go on through a server that is killed, each done once`, async (t) => {
    const port = await freePort();
    let mortal = await start({ port });
    t.after(() => mortal.kill());
    const [a, b] = [await client(t, mortal.base, as("ana")), await client(t, mortal.base, as("ben"))];
    const [mine, yours] = [await a.document("game:x").open(), await b.document("game:x").open()];
    const versions: Promise<number>[] = [];
    for (let turn = 0; turn < 2; turn++) {
      for (let i = 0; i < 30; i++) versions.push(mine.inc("/n"), yours.inc("/n"));
      await versions.at(60 * turn + 2);
      await mortal.kill();
      for (let i = 0; i < 10; i++) versions.push(mine.inc("/n"), yours.append("/list", i));
      mortal = await start({ port });
    }
    const done = await Promise.all(versions);
    assert.equal(new Set(done).size, versions.length, "each has a version of its own");
    await eventually(() => mine.version === versions.length && yours.version === versions.length, "both are there");
    assert.equal(mine.value.n, 140);
    assert.deepEqual(mine.value.list, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(yours.value, mine.value);
    assert.deepEqual((await mortal.api("doc.get", { channel: "game:x" })).data, mine.value);
  });

  test(`${transport}: who is there`, async (t) => {
    const name = fresh("event");
    const a = await client(t, server.base, as("ana"));
    const here = await a.presence(name).open();
    assert.deepEqual([here.members, here.connections, here.users], [[{ user: "ana", connections: 1 }], 1, 1]);
    const changes = collect<Presence>(here, "change");
    const joins = collect<Visit>(here, "join");
    const b = await client(t, server.base, as("ben"));
    const c = await client(t, server.base, as("ben"));
    await b.presence(name).set({ cursor: 1 });
    await c.channel(name).open();
    await eventually(() => here.connections === 3, "three are here");
    assert.deepEqual(here.members.map((m) => [m.user, m.connections]), [["ana", 1], ["ben", 2]]);
    assert.equal(here.users, 2);
    assert.ok(joins.list.every((visit) => visit.user === "ben"));
    await b.presence(name).set({ cursor: 2 });
    await eventually(() => here.members.find((m) => m.user === "ben")?.data?.cursor === 2, "the cursor moved");
    const list = here.members;
    b.close();
    c.close();
    await eventually(() => here.connections === 1, "they left");
    assert.notEqual(here.members, list);
    assert.deepEqual(here.members.map((m) => m.user), ["ana"]);
    assert.ok(changes.list.length > 3);
  });
}

test("a document that is cut off comes back with what it missed, and its own patches are known again", async (t) => {
  const net = await proxy(server.port);
  t.after(() => net.close());
  const a = await client(t, net.base, { user: "ana" });
  const doc = await a.document(fresh("game")).open();
  await doc.set("/n", 0);
  net.freeze();
  const lost = doc.inc("/n"); // never arrives
  net.cut();
  await eventually(() => a.state !== "connected", "it noticed");
  await server.api("doc.patch", { channel: doc.name, ops: [{ op: "inc", path: "/n", by: 10 }] });
  const offline = doc.inc("/n");
  assert.equal(doc.value.n, 2);
  await Promise.all([lost, offline]);
  await eventually(() => doc.pending === 0, "nothing is pending");
  assert.equal(doc.value.n, 12);
});

test("a document whose channel is open already has its value too", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const name = fresh("game");
  await server.api("doc.put", { channel: name, data: { a: 1 } });
  await a.channel(name).open();
  const doc = await a.document(name).open();
  assert.deepEqual(doc.value, { a: 1 });
});

test("what did not change keeps its identity, and so does what is confirmed", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const doc = await a.document(fresh("game")).open();
  await doc.set("", { players: { ana: { hp: 1 }, ben: { hp: 2 } } });
  const { ben } = doc.value.players;
  const version = doc.inc("/players/ana/hp");
  const shown = doc.value;
  assert.equal(doc.value.players.ben, ben);
  await version;
  await eventually(() => doc.pending === 0, "it is confirmed");
  assert.equal(doc.value, shown, "a page need not draw it again");
});

test("a document that may not be read is refused", async (t) => {
  const closed = await start({ dev: true, config: { namespaces: { shut: { kind: "doc", subscribe: "server", patch: "server" }, drop: { kind: "doc", subscribe: "server", patch: "anyone" } } } });
  t.after(() => closed.kill());
  const a = await client(t, closed.base, { user: "ana" });
  await assert.rejects(a.document("shut:x").open(), { code: "denied" });
  await assert.rejects(a.document("shut:x").set("/a", 1), { code: "denied" });
  const blind = a.document("drop:x");
  assert.equal(await blind.set("/a", 1), 1, "it may be written without being read");
  assert.equal(blind.pending, 0);
});

test("a reader of one's own keeps large integers", async (t) => {
  const a = await client(t, server.base, { user: "ana", parse, stringify });
  const doc = await a.document(fresh("game")).open();
  await doc.set("/n", 12345678901234567890n);
  const version = doc.inc("/n", 1n);
  assert.equal(doc.value.n, 12345678901234567891n);
  await version;
  await eventually(() => doc.pending === 0, "it is confirmed");
  assert.equal(doc.value.n, 12345678901234567891n);
});

test("more patches at once than the server takes in a second all arrive, each once", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const doc = await a.document(fresh("game")).open();
  const versions = await Promise.all(Array.from({ length: 400 }, (_, i) => doc.append("/list", i)));
  assert.equal(new Set(versions).size, 400);
  await eventually(() => doc.pending === 0, "all are confirmed");
  assert.deepEqual([...doc.value.list].sort((x, y) => x - y), Array.from({ length: 400 }, (_, i) => i));
});

test("presence where only numbers are shown, and where there are too many for a list", async (t) => {
  const quiet = await start({ config: { namespaces: {
    count: { kind: "event", subscribe: "anyone", publish: "anyone", presence: "counts" },
    crowd: { kind: "event", subscribe: "anyone", publish: "anyone", presence: "members", presence_max: 2 },
    none: { kind: "event", subscribe: "anyone", publish: "anyone", presence: "none" },
  } } });
  t.after(() => quiet.kill());
  const a = await client(t, quiet.base, { user: "ana" });
  const count = await a.presence("count:x").open();
  assert.deepEqual([count.members, count.connections, count.users], [[], 1, 1]);
  await assert.rejects(a.presence("none:x").open(), { code: "denied" });
  await a.channel("none:x").open(); // the channel itself may be had

  const crowd = await a.presence("crowd:x").open();
  const others = [await client(t, quiet.base, { user: "ben" }), await client(t, quiet.base, { user: "cleo" })];
  for (const other of others) await other.channel("crowd:x").open();
  await eventually(() => crowd.large && crowd.connections === 3, "there are too many");
  assert.deepEqual(crowd.members, []);
  for (const other of others) other.close();
  await eventually(() => !crowd.large && crowd.members.length === 1, "there is a list again");
});

test("the presence of a client that comes back is shown again", async (t) => {
  const net = await proxy(server.port);
  t.after(() => net.close());
  const name = fresh("event");
  const [a, b] = [await client(t, net.base, { user: "ana" }), await client(t, server.base, { user: "ben" })];
  await a.presence(name).set({ at: "home" });
  const here = await b.presence(name).open();
  const first = here.members.find((m) => m.user === "ana");
  assert.deepEqual(first?.data, { at: "home" });
  net.cut();
  await eventually(() => !here.members.some((m) => m.user === "ana") || a.state !== "connected", "it went");
  await a.ready();
  await eventually(() => here.members.find((m) => m.user === "ana")?.data?.at === "home" && here.connections === 2, "it is back");
});

test("a patch that is made before there is a connection waits for it", async (t) => {
  const a = lone(t, server.base, { user: "ana" });
  const doc = a.document(fresh("game"));
  assert.deepEqual(await Promise.all([doc.set("/a", 1), doc.inc("/a")]), [1, 2]);
});
