// What happens when the network or the server goes away, over every transport.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { connect, type Gap, type Message, type Opened, type SkeinError, type StateChange } from "../src/index.js";
import { client, collect, eventually, lone, once, transports } from "./support/client.js";
import { jwt } from "./support/pattern.js";
import { proxy } from "./support/proxy.js";
import { freePort, start } from "./support/server.js";

for (const transport of transports) {
  test(`${transport}: a server that is killed and started again loses nothing, twice`, async (t) => {
    const port = await freePort();
    let server = await start({ port });
    t.after(() => server.kill());
    const [a, b] = [await client(t, server.base, { user: "ana", transports: [transport] }), await client(t, server.base, { user: "ben", transports: [transport] })];
    const [write, read] = [a.channel("room:x"), b.channel("room:x")];
    const got = collect<Message>(read, "message");
    const gaps = collect<Gap>(read, "gap");
    await read.open();
    let n = 0;
    const answers: Promise<unknown>[] = [];
    const publish = (count: number) => { for (let i = 0; i < count; i++) answers.push(write.publish("message", n++)); };
    for (let turn = 0; turn < 2; turn++) {
      publish(10);
      await got.until((list) => list.length > 10 * turn); // some are on their way, some are not
      publish(20);
      await server.kill();
      publish(20); // while nobody is there
      server = await start({ port });
    }
    await Promise.all(answers);
    await got.until(n);
    assert.deepEqual(got.list.map((m) => m.data), Array.from({ length: n }, (_, i) => i), "each once, in order");
    assert.deepEqual(got.list.map((m) => m.seq), got.list.map((_, i) => i + 1));
    assert.deepEqual(gaps.list, []);
  });

  test(`${transport}: a connection that is cut comes back, and what it missed comes first`, async (t) => {
    const server = await start();
    const net = await proxy(server.port);
    t.after(async () => { await net.close(); await server.kill(); });
    const a = await client(t, net.base, { user: "ana", transports: [transport] });
    const states = collect<StateChange>(a, "state");
    const channel = a.channel("room:x");
    const got = collect<Message>(channel, "message");
    const opened = collect<Opened>(channel, "open");
    await channel.open();
    const before = a.connection;
    const call = a.call("nobody answers this in time"); // not found, or lost: never done twice
    call.catch(() => {});
    net.cut();
    await eventually(() => a.state !== "connected", "it noticed");
    for (let i = 1; i <= 3; i++) await server.api("publish", { to: { channel: "room:x" }, data: i });
    await got.until(3);
    assert.notEqual(a.connection, before);
    assert.deepEqual(got.list.map((m) => m.data), [1, 2, 3]);
    assert.equal(opened.list.at(-1)!.recovered, true);
    assert.deepEqual(states.list.map((s) => s.state).filter((s, i, all) => s !== all[i - 1]), ["waiting", "connecting", "connected"]);
    const { delay, error } = states.list[0]!;
    assert.ok(delay! >= 0 && delay! <= 500 && error!.code === "unavailable", "the first attempt is within half a second");
  });

  // A call of long polling may wait for 25 s, so its silence says nothing before that.
  if (transport !== "poll") test(`${transport}: a link on which nothing passes is noticed`, async (t) => {
    const server = await start({ config: { heartbeat: { interval: "1s" } } });
    const net = await proxy(server.port);
    t.after(async () => { await net.close(); await server.kill(); });
    const a = lone(t, net.base, { user: "ana", transports: [transport] });
    const { heartbeat } = await a.ready();
    assert.equal(heartbeat, 1);
    net.freeze();
    const lost = await once<StateChange>(a, "state");
    assert.equal(lost.state, "waiting");
    await a.ready();
  });

  test(`${transport}: a token is renewed before it ends, and the connection stays`, async (t) => {
    const { server, token, given } = await guarded(t, 3);
    const a = await client(t, server.base, { token, transports: [transport] });
    const { connection } = a;
    assert.equal(a.user, "ana");
    const states = collect<StateChange>(a, "state");
    await eventually(() => given() >= 3, "it was renewed twice");
    await a.channel("room:x").publish("message", 1);
    assert.equal(a.connection, connection);
    assert.deepEqual(states.list, []);
  });

  test(`${transport}: a token that is refused ends it`, async (t) => {
    const { server } = await guarded(t, 60);
    const a = lone(t, server.base, { token: "nonsense", transports: [transport] });
    const waiting = a.channel("room:x").publish("message", 1);
    await assert.rejects(a.ready(), { code: "token_refused" });
    assert.equal(a.state, "closed");
    await assert.rejects(waiting, { code: "token_refused" });
    await assert.rejects(a.channel("room:x").open(), { code: "token_refused" });
    const none = lone(t, server.base, { transports: [transport] });
    await assert.rejects(none.ready(), { code: "token_refused" });
  });

  test(`${transport}: a client that is sent away stays away, and one that may come back does`, async (t) => {
    const server = await start();
    t.after(() => server.kill());
    const a = await client(t, server.base, { user: "ana", transports: [transport] });
    const closed = once<StateChange>(a, "state", ({ state }) => state === "closed");
    await server.api("disconnect", { user: "ana", message: "that is enough" });
    assert.deepEqual([(await closed).error!.code, (await closed).error!.message], ["disconnected", "that is enough"]);
    const b = await client(t, server.base, { user: "ben", transports: [transport] });
    const back = once(b, "welcome");
    await server.api("disconnect", { user: "ben", reconnect: true });
    await back;
  });
}

/** A server that wants tokens, and a function that gives them. */
async function guarded(t: import("node:test").TestContext, life: number) {
  const secret = "a secret of the tests of more than 32 bytes";
  const server = await start({
    dev: false,
    config: { auth: { jwt: { hmac_secret: secret } }, namespaces: { room: { kind: "log", subscribe: "user", publish: "user" } } },
  });
  t.after(() => server.kill());
  let count = 0;
  return {
    server,
    given: () => count,
    token: async () => {
      count++;
      return jwt({ sub: "ana", exp_in_s: life, secret });
    },
  };
}

test("a token that cannot be renewed expires, and the next connection has a new one", async (t) => {
  const { server, token } = await guarded(t, 2);
  let broken = false;
  const a = await client(t, server.base, {
    token: async () => {
      if (broken) throw new Error("no network");
      return token();
    },
  });
  const errors = collect<SkeinError>(a, "error");
  broken = true;
  const lost = await once<StateChange>(a, "state");
  assert.equal(lost.error!.code, "token_expired");
  assert.ok(errors.list.every((error) => error.code === "unauthorized" && /no network/.test(error.message)));
  const again = once<StateChange>(a, "state", ({ state, error }) => state === "waiting" && error!.code === "unauthorized");
  await again; // the function still fails, so it waits
  broken = false;
  await a.ready();
});

test("WebSocket that is blocked: after two attempts server-sent events, then polling", async (t) => {
  const server = await start();
  const net = await proxy(server.port);
  t.after(async () => { await net.close(); await server.kill(); });
  net.refuse.add("/ws");
  const a = await client(t, net.base, { user: "ana" });
  assert.equal(a.transport, "sse");
  assert.equal(net.opened["/ws"], 2);
  net.refuse.add("/sse");
  net.cut();
  await eventually(() => a.transport === "poll", "it polls");
  const got = collect<Message>(a.channel("room:x"), "message");
  await a.channel("room:x").publish("message", 1);
  await got.until(1);
});

test("a fallback carries on until WebSocket works again, and nothing is lost on the way", async (t) => {
  const server = await start();
  const net = await proxy(server.port);
  t.after(async () => { await net.close(); await server.kill(); });
  net.refuse.add("/ws");
  const a = await client(t, net.base, { user: "ana" });
  const got = collect<Message>(a.channel("room:x"), "message");
  await a.channel("room:x").open();
  assert.equal<string | undefined>(a.transport, "sse");
  net.refuse.delete("/ws");
  let n = 0;
  while (a.transport !== "websocket") await a.channel("room:x").publish("message", ++n);
  await a.channel("room:x").publish("message", ++n);
  await got.until(n);
  assert.deepEqual(got.list.map((m) => m.data), Array.from({ length: n }, (_, i) => i + 1));
});

test("a runtime without WebSocket uses server-sent events at once", async (t) => {
  const server = await start();
  t.after(() => server.kill());
  const a = await client(t, server.base, { user: "ana", WebSocket: undefined! });
  assert.equal(a.transport, typeof globalThis.WebSocket === "function" ? "websocket" : "sse");
});

test("a server that stops tells when to come back, and the wait is as it says", async (t) => {
  const port = await freePort();
  let server = await start({ port });
  t.after(() => server.kill());
  const a = await client(t, server.base, { user: "ana" });
  const first = once<StateChange>(a, "state");
  await server.stop();
  const { error, delay } = await first;
  assert.equal(error!.code, "going_away");
  assert.ok(delay! >= 0);
  server = await start({ port });
  await a.ready();
});

test("the pauses grow, and are random up to their bound", async (t) => {
  const a = lone(t, `http://127.0.0.1:${await freePort()}`, { transports: ["websocket"] });
  const states = collect<StateChange>(a, "state");
  await states.until((list) => list.filter((s) => s.state === "waiting").length >= 4);
  const delays = states.list.filter((s) => s.state === "waiting").map((s) => s.delay!);
  delays.forEach((delay, n) => assert.ok(delay >= 0 && delay <= 500 * 2 ** n, `pause ${n} is ${delay}`));
  a.close();
  assert.equal(a.state, "closed");
});

test("closing ends everything: promises, iterators, states", async (t) => {
  const server = await start();
  t.after(() => server.kill());
  const a = await client(t, server.base, { user: "ana" });
  const iterator = a.channel("room:x").messages();
  const next = iterator.next();
  const never = a.call("nothing");
  const doc = a.document("game:x");
  const patch = doc.set("/a", 1);
  const closed = Promise.allSettled([next, never, patch]);
  a.close();
  for (const result of await closed) assert.equal(result.status === "rejected" && result.reason.code, "closed");
  await assert.rejects(a.channel("room:x").publish("message", 1), { code: "closed" });
  await assert.rejects(doc.set("/a", 1), { code: "closed" });
  await assert.rejects(a.ready(), { code: "closed" });
  await eventually(async () => (await server.api("connections")).items.length === 0, "the server has no connection");
});

test("an anonymous connection cannot repeat itself safely, so it says that it does not know", async (t) => {
  const server = await start();
  const net = await proxy(server.port);
  t.after(async () => { await net.close(); await server.kill(); });
  const a = await client(t, net.base, {});
  assert.equal(a.user, undefined);
  await a.channel("room:x").publish("message", 1);
  net.freeze();
  const lost = a.channel("room:x").publish("message", 2);
  net.cut();
  await assert.rejects(lost, { code: "unavailable" });
});

test("a page that comes back to the network or into sight does not wait", async (t) => {
  const scope = new EventTarget() as any;
  const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
  Object.assign(globalThis, { addEventListener: scope.addEventListener.bind(scope), removeEventListener: scope.removeEventListener.bind(scope), document: page });
  t.after(() => { for (const name of ["addEventListener", "removeEventListener", "document"]) delete (globalThis as any)[name]; });
  let fails = 0;
  class Broken extends WebSocket {
    constructor() {
      super("ws://127.0.0.1:1/");
      fails++;
    }
  }
  const a = lone(t, "http://127.0.0.1:1", { WebSocket: Broken, transports: ["websocket"] });
  const waits = () => once<StateChange>(a, "state", ({ state, delay }) => state === "waiting" && delay! > 100);
  for (const [place, event] of [[scope, "online"], [page, "visibilitychange"]] as const) {
    await waits();
    const before = fails;
    const tried = once<StateChange>(a, "state", ({ state }) => state === "connecting");
    place.dispatchEvent(new Event(event));
    await tried;
    await eventually(() => fails > before, "it tried at once");
  }
  page.visibilityState = "hidden";
  await waits();
  const before = fails;
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(fails, before, "a page that goes out of sight has no hurry");
});

test("a poll that was overtaken by two others is refused for it, and the connection goes on", async (t) => {
  const welcome = { type: "welcome", connection: "c", user: "ana", heartbeat: 3600, session: {}, time: Date.now() };
  const answer = (after: number, ...frames: object[]) => Response.json({ connection: "secret", after, frames });
  const asked: number[] = [];
  let overtake = () => {};
  const fetch = async (_: unknown, { body }: { body: string }) => {
    const { connection, after, frames } = JSON.parse(body);
    if (!connection) return answer(1, welcome);
    if (!frames?.length) {
      asked.push(after);
      await new Promise<void>((resolve) => { overtake = resolve; });
      return Response.json({ status: 409, code: "conflict", detail: "after: 1 is neither the last answer nor the one before it" }, { status: 409 });
    }
    setTimeout(overtake, 5);
    return answer(2, { type: "ok", id: frames[0].id, message: "m", seq: 1, stored: true });
  };
  const skein = connect("http://model", { transports: ["poll"], fetch: fetch as any });
  t.after(() => skein.close());
  const states = collect<{ state: string }>(skein, "state");
  await skein.ready();
  await eventually(() => asked.length === 1, "it waits");
  assert.equal((await skein.channel("room:1").publish("message", 1)).seq, 1);
  await eventually(() => asked.length === 2, "it waits again");
  assert.deepEqual([asked, states.list.map(({ state }) => state)], [[1, 2], ["connecting", "connected"]]);
});
