// The real clients, each over websocket only, polling only, and with the
// upgrade, against a server that does what applications do.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe } from "node:test";
import msgpack from "socket.io-msgpack-parser";
import { checks } from "./check.mjs";
import { sleep, target, until, within } from "./wire.mjs";
import io2 from "sio2";
import { io as io3 } from "sio3";
import { io as io4 } from "sio4";

const check = checks(import.meta.filename);
const contract = target("TARGET_CONTRACT");
const recovering = target("TARGET_RECOVERY");
const packing = target("TARGET_MSGPACK");

const versions = { 4: io4, 3: io3, 2: io2 };
const ways = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
};

// Client is one socket of one client, with its events kept from the start.
class Client {
  #events = [];
  #taken = new Set();

  constructor(io, url, options = {}) {
    this.socket = io(url, { forceNew: true, reconnection: false, ...options });
    this.connects = 0;
    this.socket.on("connect", () => this.connects++);
    this.reasons = [];
    this.socket.on("disconnect", (reason) => this.reasons.push(reason));
    this.refused = new Promise((resolve) => {
      this.socket.on("connect_error", resolve);
      // Version 2 has another name for it.
      this.socket.on("error", resolve);
    });
    for (const name of ["welcome", "echo-back", "said", "answered", "message"]) {
      this.socket.on(name, (...args) => this.#events.push([name, ...args]));
    }
  }

  // event waits for the next event of a name and gives its arguments. Each event is given once.
  async event(name, ms = 8000) {
    let at;
    const next = () => {
      at = this.#events.findIndex((event, i) => event[0] === name && !this.#taken.has(i));
      return at >= 0;
    };
    await until(ms, next, `no event "${name}" for ${this.socket.id}`);
    this.#taken.add(at);
    return this.#events[at].slice(1);
  }

  all(name) { return this.#events.filter((event) => event[0] === name).map((event) => event.slice(1)); }

  get transport() { return this.socket.io.engine.transport.name; }

  emit(...args) { this.socket.emit(...args); }

  // ask emits and waits for the ack.
  ask(...args) {
    return within(8000, new Promise((resolve) => this.socket.emit(...args, (...answer) => resolve(answer))), `no ack for "${args[0]}"`);
  }

  async up(ms = 8000) {
    await within(ms, Promise.race([
      this.socket.connected ? undefined : new Promise((resolve) => this.socket.once("connect", resolve)),
      this.refused.then((error) => assert.fail(`not connected: ${error?.message ?? JSON.stringify(error)}`)),
    ]), "not connected");
    return this;
  }

  // settled waits until the transport is the last of those it may use.
  async settled(transports) {
    await until(8000, () => this.transport === transports.at(-1), "the upgrade did not happen");
  }

  // end closes the connection and all its namespaces.
  end() {
    this.socket.io.reconnection(false);
    this.socket.io._close?.();
    this.socket.disconnect();
    this.socket.io.engine?.close();
  }
}

// connected opens a client, waits for its welcome, and closes it after the test.
async function connected(t, io, transports, { path = "/", base = contract, ...options } = {}) {
  const client = new Client(io, base + path, { transports, ...options });
  t.after(() => client.end());
  await client.up();
  [client.welcome] = await client.event("welcome");
  return client;
}

const unique = (() => {
  let n = 0;
  return (name) => `${name}-${process.pid}-${n++}`;
})();

for (const [version, io] of Object.entries(versions)) {
  for (const [way, transports] of Object.entries(ways)) {
    // Broadcasts reach every test that runs at the same time, so that each looks for its own.
    describe(`client ${version}, ${way}`, { concurrency: 4 }, () => {
      const it = (name, fn) => check(`client ${version}, ${way}: ${name}`, fn);
      const open = (t, options) => connected(t, io, transports, options);

      it("connects, and the id it is told is its own", async (t) => {
        const client = await open(t);
        assert.deepEqual(client.welcome, { id: client.socket.id, recovered: false });
        await client.settled(transports);
      });

      it("named events come back with their arguments", async (t) => {
        const client = await open(t);
        const args = [1, "zwei €😀", null, true, { a: [{ b: 1.5 }], c: "<&>" }, []];
        client.emit("echo", ...args);
        assert.deepEqual(await client.event("echo-back"), args);
        client.emit("echo");
        assert.deepEqual(await client.event("echo-back"), []);
      });

      it("unnamed events come back, text and bytes", async (t) => {
        const client = await open(t);
        client.socket.send("hello");
        assert.deepEqual(await client.event("message"), ["re:hello"]);
        client.socket.send(Buffer.from([1, 2, 3]));
        const [bytes] = await client.event("message");
        assert.deepEqual(Buffer.from(bytes), Buffer.from([1, 2, 3]));
      });

      it("acks go both ways", async (t) => {
        const client = await open(t);
        assert.deepEqual(await client.ask("echo-ack", 1, { two: [3] }), [1, { two: [3] }]);
        assert.deepEqual(await client.ask("echo-ack"), []);
        client.socket.on("question", (n, answer) => answer(n + 1));
        client.emit("ask-me");
        assert.deepEqual(await client.event("answered"), [42]);
        const many = await Promise.all(Array.from({ length: 50 }, (_, i) => client.ask("echo-ack", i)));
        assert.deepEqual(many, Array.from({ length: 50 }, (_, i) => [i]));
      });

      it("a question that nobody answers holds up nothing else", async (t) => {
        const client = await open(t);
        client.emit("ask-me");
        assert.deepEqual(await within(2000, client.ask("echo-ack", 1), "no ack"), [1]);
      });

      it("bytes nested anywhere come back, in events and acks", async (t) => {
        const client = await open(t);
        const value = { a: [Buffer.from("one"), { b: Buffer.from([0, 255, 128]) }], c: "text" };
        client.emit("echo", value, Buffer.alloc(0), 7);
        const [back, empty, seven] = await client.event("echo-back");
        assert.equal(Buffer.from(back.a[0]).toString(), "one");
        assert.deepEqual([...Buffer.from(back.a[1].b)], [0, 255, 128]);
        assert.equal(back.c, "text");
        assert.equal(Buffer.from(empty).length, 0);
        assert.equal(seven, 7);
        const [answer] = await client.ask("echo-ack", { deep: [Buffer.from("ack")] });
        assert.equal(Buffer.from(answer.deep[0]).toString(), "ack");
      });

      it("two namespaces share a connection and do not mix", async (t) => {
        const main = await open(t);
        const chat = main.socket.io.socket("/chat");
        const got = [];
        chat.on("echo-back", (x) => got.push(x));
        const welcome = await within(8000, new Promise((resolve) => chat.on("welcome", resolve)), "no welcome in /chat");
        assert.equal(welcome.id, chat.id);
        assert.notEqual(chat.id, main.socket.id);
        chat.emit("echo", "chat");
        main.emit("echo", "main");
        assert.deepEqual(await main.event("echo-back"), ["main"]);
        await until(8000, () => got.length > 0, "no answer in /chat");
        assert.deepEqual(got, ["chat"]);
        assert.equal(main.all("echo-back").length, 1);
        const gone = new Promise((resolve) => chat.once("disconnect", resolve));
        chat.emit("kick");
        assert.equal(await within(8000, gone, "not kicked"), "io server disconnect");
        assert.deepEqual(await main.ask("echo-ack", "still"), ["still"]);
        assert.equal(main.socket.connected, true);
      });

      it("who leaves a namespace by itself keeps the other", async (t) => {
        const main = await open(t);
        const chat = main.socket.io.socket("/chat");
        await within(8000, new Promise((resolve) => chat.once("connect", resolve)), "not in /chat");
        chat.disconnect();
        assert.deepEqual(await main.ask("echo-ack", 1), [1]);
        const again = new Promise((resolve) => chat.once("connect", resolve));
        chat.connect();
        await within(8000, again, "not in /chat again");
      });

      it("rooms: what is said reaches the members but the sender", async (t) => {
        const [a, b, c] = await Promise.all([open(t), open(t), open(t)]);
        const room = unique("room");
        assert.deepEqual(await a.ask("join", room), ["ok"]);
        assert.deepEqual(await b.ask("join", room), ["ok"]);
        assert.deepEqual(await a.ask("rooms"), [[a.socket.id, room].sort()]);
        a.emit("say-room", room, { from: room });
        c.emit("say-room", room, `${room} from outside`);
        const said = (client) => client.all("said").map(([x]) => x?.from ?? x).filter((x) => String(x).startsWith(room)).sort();
        await until(8000, () => said(b).length === 2 && said(a).length === 1, "not all was said");
        assert.deepEqual(said(b), [room, `${room} from outside`]);
        assert.deepEqual(said(a), [`${room} from outside`]);
        assert.deepEqual(await b.ask("leave", room), ["ok"]);
        assert.deepEqual(await b.ask("rooms"), [[b.socket.id]]);
        a.emit("say-room", room, `${room} too late`);
        assert.deepEqual(await a.ask("echo-ack", 1), [1]);
        assert.deepEqual(await b.ask("echo-ack", 1), [1]);
        assert.equal(said(b).length, 2);
        assert.deepEqual(said(c), []);
      });

      it("a broadcast reaches all others, or all, and bytes too", async (t) => {
        const [a, b, c] = await Promise.all([open(t), open(t), open(t)]);
        const mark = unique("broadcast");
        a.emit("say-others", mark);
        a.emit("say-all", { mark, bytes: Buffer.from(mark) });
        const said = (client) => client.all("said").map(([x]) => x).filter((x) => (x?.mark ?? x) === mark);
        await until(8000, () => said(a).length === 1 && said(b).length === 2 && said(c).length === 2, "not all was said");
        assert.equal(Buffer.from(said(a)[0].bytes).toString(), mark);
        assert.equal(said(b)[0], mark);
        assert.equal(Buffer.from(said(c)[1].bytes).toString(), mark);
      });

      it("a thousand events keep their order, both ways", async (t) => {
        const client = await open(t);
        for (let i = 0; i < 1000; i++) client.emit("echo", i);
        await until(10_000, () => client.all("echo-back").length >= 1000, "not all came back");
        assert.deepEqual(client.all("echo-back").map(([i]) => i), Array.from({ length: 1000 }, (_, i) => i));
      });

      it("a thousand events, every tenth with bytes, keep their order", async (t) => {
        const client = await open(t);
        for (let i = 0; i < 1000; i++) client.emit("echo", i % 10 === 0 ? { i, bytes: Buffer.from(String(i)) } : { i });
        await until(10_000, () => client.all("echo-back").length >= 1000, "not all came back");
        client.all("echo-back").forEach(([value], i) => {
          assert.equal(value.i, i);
          if (i % 10 === 0) assert.equal(Buffer.from(value.bytes).toString(), String(i));
        });
      });

      it("200 KB of text and of bytes come back whole", async (t) => {
        const client = await open(t);
        const text = "äbc€".repeat(50_000);
        const bytes = randomBytes(200_000);
        const [back] = await client.ask("echo-ack", text);
        assert.ok(back === text, "the text is another one");
        const [copy] = await client.ask("echo-ack", bytes);
        const sum = (b) => createHash("sha256").update(b).digest("hex");
        assert.equal(sum(Buffer.from(copy)), sum(bytes));
      });

      const withToken = (token) => (version === "2" ? { path: `/secret?token=${token}` } : { path: "/secret", auth: { token } });

      it("a refused namespace says why", async (t) => {
        const { path, ...options } = withToken("bad");
        const client = new Client(io, contract + path, { transports, ...options });
        t.after(() => client.end());
        const error = await within(8000, client.refused, "not refused");
        if (version === "2") {
          assert.deepEqual(error, { code: 4401 });
        } else {
          assert.equal(error.message, "not authorized");
          assert.deepEqual(error.data, { code: 4401 });
        }
        assert.equal(client.socket.connected, false);
      });

      it("the right token opens the namespace", async (t) => {
        const { path, ...options } = withToken("good");
        const client = new Client(io, contract + path, { transports, ...options });
        t.after(() => client.end());
        await client.up();
        client.emit("echo", "in");
        assert.deepEqual(await client.event("echo-back"), ["in"]);
      });

      it("an unknown namespace is refused", async (t) => {
        const client = new Client(io, `${contract}/nowhere`, { transports });
        t.after(() => client.end());
        const error = await within(8000, client.refused, "not refused");
        assert.equal(error.message ?? error, "Invalid namespace");
      });

      it("who is kicked stays away", async (t) => {
        const client = await open(t, { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
        client.emit("kick");
        await until(8000, () => client.reasons.length > 0, "not kicked");
        assert.deepEqual(client.reasons, ["io server disconnect"]);
        await sleep(300);
        assert.equal(client.connects, 1);
        assert.equal(client.socket.connected, false);
      });

      it("who is dropped comes back under another id", async (t) => {
        const client = await open(t, { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
        const { id } = client.welcome;
        await client.settled(transports);
        client.emit("drop");
        const [again] = await client.event("welcome");
        assert.deepEqual(client.reasons, ["transport close"]);
        assert.notEqual(again.id, id);
        assert.deepEqual(await client.ask("echo-ack", "back"), ["back"]);
      });

      it("heartbeats keep an idle connection over several intervals", async (t) => {
        const client = await open(t);
        await sleep(3200);
        assert.equal(client.socket.connected, true);
        assert.deepEqual(client.reasons, []);
        assert.equal(client.connects, 1);
        assert.deepEqual(await client.ask("echo-ack", 1), [1]);
      });

      it("who disconnects is gone for the others at once", async (t) => {
        const [a, b] = await Promise.all([open(t), open(t)]);
        const room = unique("gone");
        await Promise.all([a.ask("join", room), b.ask("join", room)]);
        b.socket.disconnect();
        a.emit("say-room", room, room);
        assert.deepEqual(await a.ask("echo-ack", 1), [1]);
        assert.deepEqual(b.all("said").filter(([x]) => x === room), []);
      });
    });
  }
}

for (const [version, io] of Object.entries(versions)) {
  describe(`client ${version}, while it upgrades`, { concurrency: 1 }, () => {
    check(`client ${version}: nothing is lost, doubled or out of order while it upgrades, at full speed both ways`, async (t) => {
      const other = await connected(t, io4, ["websocket"]);
      for (let round = 0; round < 6; round++) {
        const room = unique("upgrade");
        const client = await connected(t, io, ["polling", "websocket"]);
        await client.ask("join", room);
        let sent = 0;
        let told = 0;
        let more = 60;
        // Both sides send until the upgrade is done and some time after.
        while (more > 0) {
          for (let i = 0; i < 3; i++) {
            const value = sent % 20 === 7 ? { n: sent, bytes: Buffer.from(`b${sent}`) } : { n: sent };
            client.emit("echo", value);
            sent++;
            other.emit("say-room", room, { room, n: told++ });
          }
          if (client.transport === "websocket") more--;
          assert.ok(sent < 60_000, "the upgrade never happens");
          await sleep(1);
        }
        const said = () => client.all("said").map(([x]) => x).filter((x) => x?.room === room);
        await until(10_000, () => client.all("echo-back").length >= sent && said().length >= told, "something is lost");
        assert.deepEqual(client.all("echo-back").map(([{ n }]) => n), Array.from({ length: sent }, (_, i) => i));
        assert.deepEqual(said().map(({ n }) => n), Array.from({ length: told }, (_, i) => i));
        for (const [{ n, bytes }] of client.all("echo-back")) if (bytes) assert.equal(Buffer.from(bytes).toString(), `b${n}`);
        assert.deepEqual(client.reasons, []);
        client.end();
      }
    });
  });
}

describe("client 4, recovery", { concurrency: 1 }, () => {
  for (const [way, transports] of Object.entries(ways)) {
    check(`client 4, ${way}: after a broken transport nothing is lost and nothing comes twice`, async (t) => {
      const other = await connected(t, io4, ["websocket"], { base: recovering });
      const client = await connected(t, io4, transports, { base: recovering, reconnection: true, reconnectionDelay: 250, reconnectionDelayMax: 300, randomizationFactor: 0 });
      const { id } = client.socket;
      const room = unique("recovery");
      await client.ask("join", room);
      await client.settled(transports);
      // A client that is back before anything could be missed has to be right, too, and is cut once more.
      for (let cut = 0, missed = 0; missed < 2; cut++) {
        assert.ok(cut < 10, "it is always back before anything could be missed");
        const mark = `${room}-${cut}`;
        for (let n = 0; n < 5; n++) other.emit("say-room", room, { mark, n });
        const said = () => client.all("said").map(([x]) => x).filter((x) => x?.mark === mark);
        await until(5000, () => said().length >= 5, "not all was said");
        if (missed === 0) client.emit("drop");
        else client.socket.io.engine.close();
        await until(5000, () => !client.socket.connected, "the transport did not break");
        for (let n = 5; n < 25; n++) other.emit("say-room", room, n % 5 === 0 ? { mark, n, bytes: Buffer.from(mark) } : { mark, n });
        assert.deepEqual(await other.ask("echo-ack", 1).then(([x]) => x), 1);
        if (!client.socket.connected) missed++;
        await until(8000, () => client.socket.connected, "it did not come back");
        assert.equal(client.socket.recovered, true);
        assert.equal(client.socket.id, id);
        for (let n = 25; n < 30; n++) other.emit("say-room", room, { mark, n });
        await until(5000, () => said().length >= 30, "something is lost");
        await sleep(100);
        assert.deepEqual(said().map(({ n }) => n), Array.from({ length: 30 }, (_, i) => i));
        assert.deepEqual(await client.event("welcome"), [{ id, recovered: true }].concat(client.all("welcome").at(-1).slice(1)));
        assert.deepEqual((await client.ask("rooms"))[0], [id, room].sort());
      }
    });
  }

  check("client 4: after a disconnect of its own it is not recovered", async (t) => {
    const client = await connected(t, io4, ["websocket"], { base: recovering });
    const { id } = client.socket;
    client.socket.disconnect();
    client.socket.connect();
    await client.event("welcome");
    assert.equal(client.socket.recovered, false);
    assert.notEqual(client.socket.id, id);
  });

  for (const [version, io] of Object.entries({ 3: io3, 2: io2 })) {
    check(`client ${version}: a server that recovers serves it as ever`, async (t) => {
      const client = await connected(t, io, ["polling", "websocket"], { base: recovering, reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
      const { id } = client.socket;
      client.emit("drop");
      const [again] = await client.event("welcome");
      assert.notEqual(again.id, id);
      assert.equal(again.recovered, false);
    });
  }
});

describe("client 4, msgpack", { concurrency: 2 }, () => {
  for (const [way, transports] of Object.entries(ways)) {
    const open = (t, options) => connected(t, io4, transports, { base: packing, parser: msgpack, ...options });

    check(`client 4, ${way}, msgpack: events, acks and bytes`, async (t) => {
      const client = await open(t);
      const args = [1, "zwei €", null, true, { a: [1.5, -3] }, 4294967296];
      client.emit("echo", ...args);
      assert.deepEqual(await client.event("echo-back"), args);
      const [value] = await client.ask("echo-ack", { a: [Buffer.from("deep")] });
      assert.equal(Buffer.from(value.a[0]).toString(), "deep");
      client.socket.on("question", (n, answer) => answer(n + 1));
      client.emit("ask-me");
      assert.deepEqual(await client.event("answered"), [42]);
      const big = randomBytes(200_000);
      const [copy] = await client.ask("echo-ack", big);
      assert.ok(big.equals(Buffer.from(copy)));
    });

    check(`client 4, ${way}, msgpack: namespaces, rooms, refusal, kick`, async (t) => {
      const [a, b] = await Promise.all([open(t, { path: "/chat" }), open(t, { path: "/chat" })]);
      const room = unique("packed");
      assert.deepEqual(await a.ask("join", room), ["ok"]);
      b.emit("say-room", room, { room, bytes: Buffer.from(room) });
      const [said] = await a.event("said");
      assert.equal(Buffer.from(said.bytes).toString(), room);
      const bad = new Client(io4, `${packing}/secret`, { transports, parser: msgpack, auth: { token: "bad" } });
      t.after(() => bad.end());
      const error = await within(8000, bad.refused, "not refused");
      assert.equal(error.message, "not authorized");
      assert.deepEqual(error.data, { code: 4401 });
      a.emit("kick");
      await until(8000, () => a.reasons.length > 0, "not kicked");
      assert.deepEqual(a.reasons, ["io server disconnect"]);
    });
  }
});
