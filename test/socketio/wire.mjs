// Talks Engine.IO by hand: fetch for polling, `ws` for WebSocket, a bare TCP
// socket where a client must misbehave. Nothing here knows what is right; the
// tests say that.

import assert from "node:assert/strict";
import { connect as dial } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";

export { sleep };

// target gives the base URL that the environment names.
export function target(name) {
  const base = process.env[name];
  if (!base) throw new Error(`${name} is not set; run.mjs starts the servers and sets it`);
  return base.replace(/\/$/, "");
}

// within fails when the promise takes longer. The words are those of the failure.
export function within(ms, promise, words) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `${words} within ${ms} ms` })), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// until polls a condition that nothing announces.
export async function until(ms, condition, words) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`${words} within ${ms} ms`);
    await sleep(10);
  }
}

// query builds the part behind the question mark; undefined leaves a key out.
export function query(params) {
  const kept = Object.entries(params).filter(([, value]) => value !== undefined);
  return "?" + new URLSearchParams(kept);
}

// Line is a WebSocket whose frames wait in a queue: text as a string, binary as a Buffer.
export class Line {
  #waiting = [];
  #queue = [];

  constructor(url, options = {}) {
    this.ws = new WebSocket(url, options);
    this.ws.on("message", (data, isBinary) => {
      const frame = isBinary ? data : data.toString();
      const taker = this.#waiting.shift();
      if (taker) taker(frame);
      else this.#queue.push(frame);
    });
    // A refused upgrade is an error for `ws`; `refused` holds what was said.
    this.ended = new Promise((resolve) => {
      this.ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.ws.on("error", (error) => { this.error = error; });
    this.refused = new Promise((resolve) => {
      this.ws.on("unexpected-response", (request, response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (part) => { body += part; });
        const told = () => {
          resolve({ status: response.statusCode, type: response.headers["content-type"], body });
          this.ws.terminate();
        };
        response.on("end", told);
        response.on("close", told);
        response.on("error", told);
      });
    });
    this.opened = new Promise((resolve, reject) => {
      this.ws.on("open", resolve);
      this.refused.then((r) => reject(new assert.AssertionError({ message: `the upgrade was refused: ${r.status} ${r.body}` })));
      this.ended.then(() => reject(new assert.AssertionError({ message: `the upgrade failed: ${this.error}` })));
    });
    this.opened.catch(() => {});
  }

  send(frame) { this.ws.send(frame); }

  // next is the next frame, whatever it is.
  next(ms = 3000) {
    if (this.#queue.length > 0) return Promise.resolve(this.#queue.shift());
    const frame = new Promise((resolve) => this.#waiting.push(resolve));
    const gone = this.ended.then(({ code }) => assert.fail(`the websocket closed (${code}) where a frame was due`));
    return within(ms, Promise.race([frame, gone]), "no frame came");
  }

  // message is the next frame that is no heartbeat; pings are answered.
  async message(ms = 3000) {
    const deadline = Date.now() + ms;
    for (;;) {
      const frame = await this.next(Math.max(deadline - Date.now(), 1));
      if (frame !== "2") return frame;
      this.send("3");
    }
  }

  // silent passes when nothing but heartbeats comes for a while.
  async silent(ms) {
    const end = Date.now() + ms;
    for (;;) {
      const left = end - Date.now();
      if (left <= 0) return;
      const none = Symbol("none");
      if (this.#queue.length === 0) await Promise.race([sleep(Math.min(left, 20)), this.ended]);
      const frame = this.#queue.length > 0 ? this.#queue.shift() : none;
      if (frame === "2") this.send("3");
      else if (frame !== none) assert.fail(`a frame came where none was due: ${frame}`);
      assert.equal(this.ws.readyState, WebSocket.OPEN, "the websocket closed");
    }
  }

  // closed waits for the end; frames that come before it do not matter.
  closed(ms = 1500) { return within(ms, this.ended, "the websocket did not close"); }

  get isOpen() { return this.ws.readyState === WebSocket.OPEN; }

  async end() {
    if (this.ws.readyState === WebSocket.CLOSED) return;
    this.ws.terminate();
    await this.ended;
  }
}

// raw sends bytes as they are and gives what comes back until the server closes
// or `enough` says so: { socket, text(), write(), until() }.
export async function raw(base, bytes) {
  const { hostname, port } = new URL(base);
  const socket = dial(Number(port), hostname);
  const parts = [];
  socket.on("data", (part) => parts.push(part));
  socket.on("error", () => {});
  const ended = new Promise((resolve) => socket.on("close", resolve));
  await within(2000, new Promise((resolve) => socket.on("connect", resolve)), "no TCP connection");
  if (bytes !== undefined) socket.write(bytes);
  const text = () => Buffer.concat(parts).toString("latin1");
  return {
    socket,
    ended,
    text,
    write: (more) => socket.write(more),
    answered: async (ms = 3000) => {
      await until(ms, () => socket.destroyed || answerIsWhole(text()), "no HTTP answer");
      return parse(text());
    },
    end: () => socket.destroy(),
  };
}

function answerIsWhole(text) {
  const split = text.indexOf("\r\n\r\n");
  if (split < 0) return false;
  const head = text.slice(0, split);
  const length = /^content-length: (\d+)$/im.exec(head);
  if (length) return text.length >= split + 4 + Number(length[1]);
  if (/^transfer-encoding: chunked$/im.test(head)) return text.includes("0\r\n\r\n", split);
  return true;
}

// parse gives status, headers and body; status 0 is a connection that was dropped without an answer.
function parse(text) {
  const split = text.indexOf("\r\n\r\n");
  if (split < 0) return { status: 0, headers: {}, body: "" };
  const [first, ...lines] = text.slice(0, split).split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  return { status: Number(first.split(" ")[1]), headers, body: text.slice(split + 4) };
}

// Peer is one Engine.IO server, one path, one protocol version.
export class Peer {
  constructor(base, path, version) {
    this.base = base;
    this.path = path;
    this.version = version;
    // The length of a v3 packet is counted in UTF-16 code units, which is what a string's length is.
    this.pack = version === 3 ? (...packets) => packets.map((p) => `${p.length}:${p}`).join("") : (...packets) => packets.join("\x1e");
    this.unpack = version === 3 ? unpack3 : (body) => body.split("\x1e");
  }

  url(params = {}) { return this.base + this.path + query({ EIO: this.version, transport: "polling", ...params }); }

  wsURL(params = {}) { return this.url({ transport: "websocket", ...params }).replace(/^http/, "ws"); }

  get(params, options) { return fetch(this.url(params), options); }

  // handshake opens a polling session and gives the open packet's content.
  async handshake(params = {}, options) {
    const res = await this.get(params, options);
    const body = await res.text();
    assert.equal(res.status, 200, body);
    const [first] = this.unpack(body);
    assert.equal(first[0], "0", `an open packet was due: ${body}`);
    return JSON.parse(first.slice(1));
  }

  async open(params = {}) {
    const res = await this.get(params);
    const body = await res.text();
    assert.equal(res.status, 200, body);
    const [first, ...early] = this.unpack(body);
    assert.equal(first[0], "0", `an open packet was due: ${body}`);
    return new Polling(this, JSON.parse(first.slice(1)).sid, params, early);
  }

  line(params = {}, options) { return new Line(this.wsURL(params), options); }

  // websocket opens a session on a websocket, past the open packet.
  async websocket(params = {}, options) {
    const line = this.line(params, options);
    const first = await line.next();
    assert.equal(first[0], "0", `an open packet was due: ${first}`);
    line.session = JSON.parse(first.slice(1));
    return line;
  }

  // alive passes when the server serves a newcomer.
  async alive() {
    const { sid } = await this.handshake();
    assert.ok(sid);
    await (await fetch(this.url({ sid }), { method: "POST", body: this.pack("1") })).text();
  }
}

// Polling is a session on HTTP long-polling.
export class Polling {
  constructor(peer, sid, params, early) {
    this.peer = peer;
    this.sid = sid;
    this.params = { ...params, sid };
    // What came with the open packet, as it may where old clients join unasked.
    this.early = early;
  }

  url(more) { return this.peer.url({ ...this.params, ...more }); }

  poll(options) { return fetch(this.url(), options); }

  // post sends a body as it is; give several arguments of packets to `send` instead.
  post(body, headers) { return fetch(this.url(), { method: "POST", body, headers }); }

  async send(...packets) {
    const res = await this.post(this.peer.pack(...packets));
    assert.equal(res.status, 200);
    assert.equal(await res.text(), "ok");
  }

  // text is the body of the next poll, which must succeed.
  async text() {
    const res = await this.poll();
    assert.equal(res.status, 200);
    return res.text();
  }

  // collect polls until n packets that are no heartbeat have come.
  async collect(n) {
    const packets = this.early.splice(0);
    while (packets.length < n) {
      for (const packet of this.peer.unpack(await this.text())) {
        if (packet === "2") await this.send("3");
        else if (packet !== "6") packets.push(packet);
      }
    }
    return packets;
  }

  // gone passes when the server no longer knows the session.
  async gone() {
    const res = await this.poll();
    const body = await res.text();
    assert.equal(res.status, 400, `the session is still there: ${body}`);
  }

  // over passes when the server ends the session, be it that the next poll is still told so.
  async over() {
    const res = await this.poll();
    const body = await res.text();
    if (res.status === 400) return;
    assert.equal(this.peer.unpack(body).at(-1), "1", `the session goes on: ${body.slice(0, 100)}`);
    await this.gone();
  }

  // close ends the session so that it does not linger until its ping timeout.
  async close() { await (await this.post(this.peer.pack("1"))).text(); }
}

function unpack3(body) {
  const packets = [];
  while (body !== "") {
    const colon = body.indexOf(":");
    const length = Number(body.slice(0, colon));
    assert.ok(colon > 0 && Number.isInteger(length), `no length prefix: ${body.slice(0, 40)}`);
    packets.push(body.slice(colon + 1, colon + 1 + length));
    assert.equal(packets.at(-1).length, length, `the length prefix is wrong: ${body.slice(0, 40)}`);
    body = body.slice(colon + 1 + length);
  }
  return packets;
}

// rejects passes when a request is answered with one of the statuses or its
// connection is dropped: both tell a client that there is nothing to come.
export async function rejects(request, ...statuses) {
  let res;
  try {
    res = await request;
    await res.text();
  } catch (error) {
    assert.ok(error instanceof TypeError, String(error));
    return;
  }
  assert.ok(statuses.includes(res.status), `${res.status} where ${statuses.join(" or ")} was due`);
}

// neverOpens passes when a websocket ends without ever having been a session,
// be it refused by HTTP or closed after the 101.
export async function neverOpens(line) {
  const first = await Promise.race([line.ended.then(() => undefined), line.next().catch(() => undefined)]);
  assert.equal(first, undefined, "a session was opened");
  await line.closed();
}

// failure checks the answer to a bad request: its status, type, and {"code", "message"}.
export async function failure(res, code, message, status = 400) {
  const body = await res.text();
  assert.equal(res.status, status, body);
  assert.match(res.headers.get("content-type") ?? "", /^application\/json/);
  assert.deepEqual(JSON.parse(body), { code, message });
}
