// Plays the protocol vectors: the client's transport and codec are what sends and
// receives. What no client would send goes through the socket below as it is.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";
import { parse, stringify } from "../examples/bigint.mjs";
import type { Frame } from "../src/frames.js";
import { apply, type Op } from "../src/ops.js";
import type { Gone, Link, Wire } from "../src/transport.js";
import { websocket } from "../src/websocket.js";
import { fill, match, show, type Memory } from "./support/pattern.js";
import { start, type Server } from "./support/server.js";

const folder = fileURLToPath(new URL("../../../spec/vectors/", import.meta.url));
const patience = 5000;

interface Step {
  note?: string; repeat?: number; conn?: string;
  open?: { query?: object; headers?: object; subprotocol?: string };
  refused?: number; send?: any; text?: any; binary?: any; expect?: any; closed?: { code: number }; close?: number;
  api?: string; params?: any; key?: string; http?: string; headers?: any; status?: number; expect_headers?: any;
}

/** A connection of a story. */
class Peer {
  readonly #came: Frame[] = [];
  #wake = () => {};
  #gone: number | undefined;
  welcomed = false;
  left = false;

  private constructor(readonly name: string, readonly socket: WebSocket, readonly link: Link) {}

  /** Gives the status when the handshake fails. */
  static async open(name: string, base: string, query: Record<string, string>, headers: Record<string, string>, protocol?: string): Promise<Peer | number> {
    let socket!: WebSocket;
    class Socket extends WebSocket {
      constructor(url: string) {
        super(`${url.split("?")[0]}?${new URLSearchParams(query)}`, protocol ? [protocol] : [], { headers, perMessageDeflate: false });
        socket = this;
      }
    }
    let peer!: Peer;
    // A user in the options: then no `connect` is sent, the story says what is.
    const wire: Wire = {
      base: new URL(`${base}/`), options: { user: "vectors" }, token: () => undefined, fetch, parse, stringify, WebSocket: Socket,
      frame: (frame) => peer.#take(frame),
      gone: (gone) => peer.#end(gone),
    };
    peer = new Peer(name, socket, websocket(wire));
    (peer as { socket: WebSocket }).socket = socket;
    return new Promise((resolve, reject) => {
      socket.once("unexpected-response", (_, response) => {
        resolve(response.statusCode!);
        peer.drop();
      });
      socket.once("open", () => {
        if (socket.protocol !== (protocol ?? "")) reject(new Error(`the subprotocol is ${socket.protocol}`));
        resolve(peer);
      });
      socket.once("error", reject);
    });
  }

  #take(frame: Frame): void {
    this.#came.push(frame);
    this.#wake();
  }

  #end({ error }: Gone): void {
    this.#gone = Number(/\((\d+)\)/.exec(error.message)?.[1] ?? 1006);
    this.#wake();
  }

  /** The next frame, or the close code. */
  async next(): Promise<Frame | number> {
    if (!this.#came.length && this.#gone === undefined) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${this.name}: no frame came within ${patience} ms`)), patience);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#came.shift() ?? this.#gone!;
  }

  drop(): void {
    this.link.end();
    this.socket.terminate();
  }
}

class Story {
  readonly memory: Memory = new Map();
  readonly peers = new Map<string, Peer>();

  constructor(readonly server: Server, readonly key: string) {}

  async turns(raw: string, repeat: number): Promise<void> {
    for (let n = 0; n < repeat; n++) await this.#do(parse(raw.replaceAll("{n}", String(n))) as Step);
  }

  async #do(step: Step): Promise<void> {
    if (step.api !== undefined || step.http !== undefined) return this.#request(step);
    if (step.open) return this.#open(step);
    const peer = this.peers.get(step.conn!)!;
    assert.ok(peer, `no connection is called ${step.conn}`);
    if (step.send !== undefined) peer.link.send(stringify(fill(this.memory, step.send)));
    else if (step.text !== undefined) peer.socket.send(fill(this.memory, step.text));
    else if (step.binary !== undefined) peer.socket.send(Buffer.from(fill(this.memory, step.binary)), { binary: true });
    else if (step.expect !== undefined) {
      const frame = await peer.next();
      if (typeof frame === "number") throw new Error(`${peer.name} was closed with ${frame}`);
      if (frame.type === "welcome") {
        this.memory.set(`connection:${peer.name}`, frame.connection);
        peer.welcomed = true;
      }
      assert.equal(match(this.memory, "frame", step.expect, frame), "", `the frame is ${show(frame)}`);
    } else if (step.closed) {
      assert.equal(await peer.next(), step.closed.code);
      peer.left = true;
    } else if (step.close) {
      peer.left = true;
      peer.socket.close(step.close);
      assert.equal(await peer.next(), step.close);
    } else throw new Error("the step does nothing");
  }

  async #open({ conn, open, refused }: Step): Promise<void> {
    this.peers.get(conn!)?.drop();
    const strings = (of: object | undefined) => fill(this.memory, of ?? {}) as Record<string, string>;
    const peer = await Peer.open(conn!, this.server.base, strings(open!.query), strings(open!.headers), open!.subprotocol);
    if (refused) return assert.equal(peer, refused);
    assert.ok(peer instanceof Peer, `the handshake got status ${peer}`);
    this.peers.set(conn!, peer);
  }

  async #request(step: Step): Promise<void> {
    const [method, path] = step.api === undefined ? step.http!.split(" ") : ["POST", `/api/v1/${step.api}`];
    const headers: Record<string, string> = {};
    if (step.api !== undefined) headers["Content-Type"] = "application/json";
    const key = step.key ?? (step.api === undefined ? "" : this.key);
    if (key) headers.Authorization = `Bearer ${key}`;
    Object.assign(headers, fill(this.memory, step.headers ?? {}));
    const body = step.params !== undefined ? stringify(fill(this.memory, step.params))
      : step.text !== undefined ? fill(this.memory, step.text) as string
      : step.api !== undefined ? "{}" : undefined;
    const response = await plain(this.server, method!, path!, headers, body);
    assert.equal(response.status, step.status ?? 200, response.text);
    if (step.api !== undefined && response.status >= 400) assert.equal(response.headers["content-type"], "application/problem+json");
    if (step.expect_headers) {
      const lower = Object.fromEntries(Object.entries(step.expect_headers).map(([name, value]) => [name.toLowerCase(), value]));
      assert.equal(match(this.memory, "headers", lower, response.headers), "");
    }
    if (step.expect !== undefined) assert.equal(match(this.memory, "body", step.expect, parse(response.text)), "", `the body is ${response.text}`);
  }

  /** Nothing came that no step expected. */
  async end(): Promise<void> {
    for (const peer of this.peers.values()) {
      if (!peer.welcomed || peer.left) continue;
      peer.link.send(stringify({ type: "ping", id: "end of the case" }));
      assert.deepEqual(await peer.next(), { type: "pong", id: "end of the case" }, `${peer.name} got a frame that nobody expected`);
    }
  }
}

/** A request with headers that fetch would not send, such as Origin. */
async function plain(server: Server, method: string, path: string, headers: Record<string, string>, body?: string) {
  const { request } = await import("node:http");
  return new Promise<{ status: number; headers: Record<string, any>; text: string }>((resolve, reject) => {
    const out = request(`${server.base}${path}`, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => { text += part; });
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    out.on("error", reject);
    out.end(body);
  });
}

const files = readdirSync(folder).filter((name) => name.endsWith(".json"));

// hooks.json has signatures of webhooks, which no client makes or checks.
for (const name of files.filter((name) => !["hooks.json", "document-ops.json"].includes(name))) {
  const file = parse(readFileSync(folder + name, "utf8"));
  test(`${name}: ${file.about}`, async (t) => {
    assert.equal(`${file.name}.json`, name);
    for (const { name, steps } of file.cases) {
      await t.test(name, async () => {
        const server = await start({ dev: Boolean(file.dev), config: file.config });
        const story = new Story(server, file.dev ? "dev" : "vectors");
        try {
          for (const [i, step] of steps.entries()) {
            try {
              await story.turns(stringify(step), step.repeat ?? 1);
            } catch (error) {
              throw new Error(`step ${i + 1}, ${show(step)}: ${(error as Error).message}`);
            }
          }
          await story.end();
        } finally {
          for (const peer of story.peers.values()) peer.drop();
          await server.kill();
        }
      });
    }
  });
}

interface Case {
  name: string;
  value: any;
  ops: Op[];
  result?: any;
  error?: "conflict" | "bad_request" | "too_large";
  told?: Op[];
}

if (files.includes("document-ops.json")) {
  for (const { name, value, ops, result, error, told } of parse(readFileSync(folder + "document-ops.json", "utf8")).cases as Case[]) {
    test(`document-ops.json: ${name}`, () => {
      const before = stringify(value);
      // Patches without operations are refused by `patch`: in a frame of the server they mean that nothing can be seen.
      if (!ops.length) assert.equal(apply(value, ops), value);
      // Limits are the server's; the client does not know them.
      else if (error === "too_large") assert.doesNotThrow(() => apply(value, ops));
      else if (error) assert.throws(() => apply(value, ops), { code: error });
      else {
        assert.equal(match(new Map(), "value", { $only: { v: result } }, { v: apply(value, ops) }), "");
        // What the server tells of it leads to the same.
        if (told) assert.equal(match(new Map(), "value", { $only: { v: result } }, { v: apply(value, told) }), "");
      }
      assert.equal(stringify(value), before, "the value itself was not changed");
    });
  }
}
