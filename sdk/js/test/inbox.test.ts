// The inbox against a model of its rules: what is not acknowledged comes again,
// on the next connection or when the server has waited long enough.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { connect, type Message } from "../src/index.js";
import { collect, eventually } from "./support/client.js";

/** The inbox of one user: a state, and links to one client. */
class Model {
  readonly messages: { id: string; seq: number; data: unknown }[] = [];
  acked = new Set<string>();
  /** Frames of the client, by type. */
  heard: any[] = [];
  /** True: acknowledgements are lost on their way. */
  deaf = false;
  #tell: ((frame: object) => void) | undefined;

  push(data: unknown): void {
    this.messages.push({ id: `m${this.messages.length + 1}`, seq: this.messages.length + 1, data });
    this.#send(this.messages.at(-1)!);
  }

  /** Sends everything again that was not acknowledged. */
  again(): void {
    for (const message of this.messages) if (!this.acked.has(message.id)) this.#send(message);
  }

  cut(): void {
    this.#tell?.({ type: "bye", code: "going_away", message: "", reconnect: true, after: 0 });
  }

  #send(message: { id: string; seq: number; data: unknown }): void {
    this.#tell?.({ type: "msg", channel: "@inbox", event: "message", time: 0, ...message });
  }

  socket() {
    const model = this;
    return class {
      onopen = () => {};
      onmessage = (_: { data: string }) => {};
      onclose = () => {};
      #open = true;

      constructor(_: string) {
        queueMicrotask(() => this.onopen());
      }

      send(text: string): void {
        const frame = JSON.parse(text);
        model.heard.push(frame);
        const tell = (answer: object) => queueMicrotask(() => this.#open && this.onmessage({ data: JSON.stringify(answer) }));
        if (frame.type === "connect") {
          model.#tell = tell;
          tell({ type: "welcome", connection: "c", user: "ana", heartbeat: 3600, session: {}, time: Date.now() });
          model.again();
        } else if (frame.type === "ack" && !model.deaf) {
          for (const { id, seq } of model.messages) if (frame.messages?.includes(id) || seq <= frame.seq) model.acked.add(id);
          tell({ type: "ok", id: frame.id });
        }
      }

      close(): void {
        this.#open = false;
      }
    };
  }
}

function inbox(t: TestContext, model: Model) {
  const skein = connect("http://model", { WebSocket: model.socket(), transports: ["websocket"] });
  t.after(() => skein.close());
  return { skein, inbox: skein.inbox() };
}

test("a message is acknowledged when its listeners are done", async (t) => {
  const model = new Model();
  const { skein, inbox: box } = inbox(t, model);
  await skein.ready();
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
  const frames = collect(skein, "frame");
  await frames.until(2);
  model.again();
  await frames.until(4);
  assert.equal(model.acked.size, 0);
  const got = collect<Message>(box, "message");
  await got.until(2);
  assert.deepEqual(got.list.map((m) => m.data), ["a", "b"]);
  await eventually(() => model.acked.size === 2, "both are acknowledged");
  assert.equal(model.heard.filter((f) => f.type === "ack").length, 1, "in one frame");
});

test("a listener that fails leaves its message to come again", async (t) => {
  const model = new Model();
  const { skein, inbox: box } = inbox(t, model);
  await skein.ready();
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
  const { skein, inbox: box } = inbox(t, model);
  await skein.ready();
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
  const { skein, inbox: box } = inbox(t, model);
  await skein.ready();
  for (const data of ["a", "b", "c"]) model.push(data);
  await box.ack(2);
  assert.deepEqual([...model.acked], ["m1", "m2"]);
});
