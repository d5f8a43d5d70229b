// What a client leaves behind: nothing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../src/index.js";
import { client, collect, eventually, transports } from "./support/client.js";
import { proxy } from "./support/proxy.js";
import { start, type Server } from "./support/server.js";

let server: Server;
before(async () => { server = await start(); });
after(() => server.stop());

const collectGarbage = () => (globalThis as any).gc() as void;

test("handles that nobody holds are forgotten, and those that are subscribed are not", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const b = await client(t, server.base, { user: "ben" });
  let got = 0;
  a.channel("event:held").on("message", () => { got++; });
  await a.channel("event:held").open();
  const refs = Array.from({ length: 200 }, (_, i) => new WeakRef(a.channel(`event:${i}`)));
  await Promise.all(refs.map((_, i) => a.channel(`event:${i}`).publish("message", 1)));
  await eventually(() => {
    collectGarbage();
    return refs.every((ref) => ref.deref() === undefined);
  }, "the channels are gone");
  await b.channel("event:held").publish("message", 1);
  await eventually(() => got === 1, "the held one still hears");
});

test("a document that was closed is forgotten with its value", async (t) => {
  const a = await client(t, server.base, { user: "ana" });
  const ref = await (async () => {
    const doc = await a.document("game:leak").open();
    await doc.set("/a", 1);
    doc.close();
    return new WeakRef(doc);
  })();
  await eventually(() => {
    collectGarbage();
    return ref.deref() === undefined;
  }, "the document is gone");
});

for (const transport of transports) {
  test(`${transport}: twenty lost connections leave no timers, listeners or promises`, async (t) => {
    const net = await proxy(server.port);
    t.after(() => net.close());
    const a = await client(t, net.base, { user: "ana", transports: [transport] });
    const opens = collect(a.channel("room:leak"), "open");
    await a.channel("room:leak").open();
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    for (let i = 1; i <= 20; i++) {
      const up = opens.list.length;
      // The server asks for it, so that there is no pause.
      await server.api("disconnect", { connection: a.connection, reconnect: true });
      await opens.until(up + 1);
    }
    assert.ok(timers() <= before + 4, `${before} timers became ${timers()}`);
    a.close();
    await eventually(() => timers() <= 2, "the timers of the client have ended");
  });
}

test("a client that was closed lets the process end", async () => {
  const { spawn } = await import("node:child_process");
  const { once } = await import("node:events");
  const dist = new URL("../dist/index.js", import.meta.url);
  for (const transport of ["sse", "poll"]) {
    const script = `
      const { connect } = await import(${JSON.stringify(dist)});
      const a = connect(${JSON.stringify(server.base)}, { user: "ana", transports: ["${transport}"] });
      await a.channel("room:end").open();
      a.document("game:end").set("/a", 1).catch(() => {});
      a.close();`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit", timeout: 10_000 });
    assert.deepEqual(await once(child, "exit"), [0, null]);
  }
});

test("clients that are made and closed at once are harmless", async (t) => {
  const server = await start();
  t.after(() => server.kill());
  for (let i = 0; i < 50; i++) connect(server.base, { user: "ana", WebSocket, transports: [transports[i % 3]!] }).close();
  await eventually(async () => (await server.api("connections")).items.length === 0, "nobody is connected");
});
