// docs/socketio.md: what it says is in the two programs of examples/flask, its
// configuration is one that a server takes, and a client sees the same of both.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { io } from "sio4";
import WebSocket from "ws";
import { checks } from "./check.mjs";
import { until, within } from "./wire.mjs";

const check = checks(import.meta.filename);
const root = fileURLToPath(new URL("../../", import.meta.url));
const example = join(root, "examples/flask");
const read = (...path) => readFileSync(join(root, ...path), "utf8");
const guide = read("docs/socketio.md");

// blocks gives the code of the guide in one language.
const blocks = (language) => [...guide.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, l]) => l === language).map(([, , code]) => code);

let folder;
const ends = [];

before(() => { folder = mkdtempSync(join(tmpdir(), "skein-guide-")); });

after(async () => {
  for (const end of ends.reverse()) await end();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

function run(command, ...args) {
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  assert.equal(done.status, 0, `${command} ${args.join(" ")}: ${done.error ?? done.stdout + done.stderr}`);
  return done.stdout;
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

// start runs a program that is told its address with a flag, and waits until it answers.
async function start(command, args, flag = "--listen") {
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(command, [...args, flag, address], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => { said = (said + text).slice(-20_000); });
  const ended = once(child, "exit");
  ends.push(async () => {
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), 3000);
    await ended;
    clearTimeout(killer);
  });
  const base = `http://${address}`;
  await until(30_000, async () => {
    assert.ok(child.exitCode === null && child.signalCode === null, `${command} ended:\n${said}`);
    return fetch(`${base}/socket.io/`).then(() => true, () => false);
  }, `${command} does not answer`);
  return { base, said: () => said };
}

// What is in the guide is in a program, line by line; only the indentation may be another one.
for (const [language, file] of [["python", "app.py"], ["go", "main.go"]]) {
  check(`every piece of ${language} in the guide is in ${file}`, () => {
    const source = `\n${read("examples/flask", file)}`;
    const list = blocks(language);
    assert.ok(list.length >= 15, `there are ${list.length} pieces`);
    for (const code of list) {
      const found = ["", "\t", "\t\t", "    "].some((indent) => source.includes(`\n${code.replace(/^(?=.)/gm, indent)}`));
      assert.ok(found, `not in ${file}:\n${code}`);
    }
  });
}

check("every link of the guide leads to a file", () => {
  for (const [, target] of guide.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
    if (!/^https?:/.test(target)) assert.ok(existsSync(join(root, "docs", target)), `${target} is not there`);
  }
});

// Visitor is one client of either server, with all that it was told.
class Visitor {
  constructor(base, path = "/", options = {}) {
    this.told = [];
    this.socket = io(base + path, { forceNew: true, reconnection: false, ...options });
    this.socket.onAny((event, ...args) => this.told.push([event, ...args]));
    this.socket.on("question", (n, answer) => typeof answer === "function" && answer(n + 1));
    this.end = new Promise((resolve) => this.socket.on("disconnect", resolve));
    this.start = new Promise((resolve) => {
      this.socket.on("connect", () => resolve("connected"));
      this.socket.on("connect_error", (error) => resolve({ message: error.message, data: error.data }));
    });
  }

  ask(...args) { return within(8000, new Promise((resolve) => this.socket.emit(...args, (...answer) => resolve(answer))), `no answer to ${args[0]}`); }

  // heard waits for the next event of a name, and takes it off the list.
  async heard(event) {
    let at;
    await until(8000, () => (at = this.told.findIndex(([name]) => name === event)) >= 0, `no event ${event}`);
    return this.told.splice(at, 1)[0];
  }

  close() { this.socket.disconnect(); }
}

const known = { auth: { token: "token-of-ana" } };
const other = { auth: { token: "token-of-ben" } };

// script does what the guide speaks of, and notes what the clients see.
async function script(base, transports) {
  const seen = {};
  const visit = (path, options) => new Visitor(base, path, { transports, ...options });
  const noToken = visit("/");
  seen["no token"] = await noToken.start;
  seen["wrong token"] = await visit("/", { auth: { token: "nonsense" } }).start;

  const ana = visit("/", known), ben = visit("/", other);
  seen.connected = [await ana.start, await ben.start];
  const [, welcome] = await ana.heard("welcome");
  seen.welcome = { user: welcome.user, "the sid is its id": welcome.sid === ana.socket.id };
  await ben.heard("welcome");

  ana.socket.emit("echo", { a: [1, "zwei €😀 <&>", null, true, 1.5] });
  seen.echo = await ana.heard("echo back");
  ana.socket.emit("pair", 1, { b: 2 });
  seen.pair = await ana.heard("pair back");
  ana.socket.send("hello");
  seen.send = await ana.heard("message");
  seen.add = await ana.ask("add", 2, 3);
  seen.divide = await ana.ask("divide", 17, 5);
  ana.socket.emit("ask me");
  await ana.heard("question");
  seen.asked = await ana.heard("answered");
  seen.upload = await ana.ask("upload", { name: "three", bytes: Buffer.from([1, 2, 255]) });
  const [, copy] = await ana.heard("copy");
  seen.copy = { name: copy.name, bytes: [...copy.bytes] };
  ana.socket.emit("who knows", 1, "two");
  seen.unknown = await ana.heard("unknown");

  seen["joined alone"] = [await ana.ask("join", "7"), await ana.heard("status")];
  seen["joined second"] = [await ben.ask("join", "7"), await ana.heard("status"), await ben.heard("status")];
  seen.rooms = await ana.ask("rooms");
  ana.socket.emit("say", "7", "to all of us");
  seen.said = [await ana.heard("said"), await ben.heard("said")];
  ana.socket.emit("whisper", "7", "to the others");
  seen.whispered = await ben.heard("said");
  seen.left = [await ben.ask("leave", "7"), await ana.heard("status")];
  ana.socket.emit("say", "7", "to nobody else");
  seen["said alone"] = await ana.heard("said");
  seen.closed = [await ana.ask("close room", "7"), await ana.ask("rooms")];

  ana.socket.emit("news", "for the others");
  seen.news = await ben.heard("news");
  ana.socket.emit("private", ben.socket.id, "for you");
  seen.private = await ben.heard("private");
  const posted = await fetch(`${base}/announce`, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"n":1}' });
  seen.announced = [posted.status, await ana.heard("announcement"), await ben.heard("announcement")];

  // One transport carries both namespaces, and the second is open to everybody.
  const numbers = visit("/test_conn"), more = visit("/test_conn");
  seen.ticker = [await numbers.start, await more.start];
  const [first, second] = [await numbers.heard("server_response"), await numbers.heard("server_response")];
  const list = [await more.heard("server_response"), await more.heard("server_response")];
  seen["ticker says"] = [Object.keys(first[1]), typeof first[1].data, second[1].data >= 1 && second[1].data <= 100];
  seen["the same to both"] = list.some(([, { data }]) => data === first[1].data || data === second[1].data);
  // python-socketio refuses with a bare text, of which this client shows nothing.
  seen["no such namespace"] = await visit("/nowhere").start !== "connected";

  ben.socket.emit("kick me");
  seen.kicked = [await ben.end, await ana.heard("left")];
  const third = visit("/", other);
  await third.start;
  third.close();
  seen.gone = [await third.end, await ana.heard("left")];

  // Whatever else they were told is part of what they saw.
  seen.rest = { ana: ana.told, ben: ben.told, "no token": noToken.told };
  for (const visitor of [ana, numbers, more]) visitor.close();
  return seen;
}

// What the clients are expected to see, of whichever server.
const expected = {
  "no token": { message: "not authorized", data: { code: 4401 } },
  "wrong token": { message: "not authorized", data: { code: 4401 } },
  connected: ["connected", "connected"],
  welcome: { user: "ana", "the sid is its id": true },
  echo: ["echo back", { a: [1, "zwei €😀 <&>", null, true, 1.5] }],
  pair: ["pair back", { b: 2 }, 1],
  send: ["message", "re: hello"],
  add: [5],
  divide: [3, 2],
  asked: ["answered", 42],
  upload: [3],
  copy: { name: "three", bytes: [1, 2, 255] },
  unknown: ["unknown", "who knows", 1, "two"],
  "joined alone": [["ok"], ["status", "ana is here"]],
  "joined second": [["ok"], ["status", "ben is here"], ["status", "ben is here"]],
  rooms: [["7"]],
  said: [["said", { by: "ana", text: "to all of us" }], ["said", { by: "ana", text: "to all of us" }]],
  whispered: ["said", { by: "ana", text: "to the others" }],
  left: [["ok"], ["status", "ben has left"]],
  "said alone": ["said", { by: "ana", text: "to nobody else" }],
  closed: [["ok"], [[]]],
  news: ["news", "for the others"],
  private: ["private", "for you"],
  announced: [204, ["announcement", { n: 1 }], ["announcement", { n: 1 }]],
  ticker: ["connected", "connected"],
  "ticker says": [["data"], "number", true],
  "the same to both": true,
  "no such namespace": true,
  kicked: ["io server disconnect", ["left", "ben"]],
  gone: ["io client disconnect", ["left", "ben"]],
  rest: { ana: [], ben: [], "no token": [] },
};

// built gives the path of a program of this repository.
function built(name, source) {
  const path = join(folder, name);
  if (!existsSync(path)) run("go", "build", "-o", path, source);
  return path;
}

const configurations = () => blocks("yaml").map((text) => text.replace("/srv/www/socket.io.min.js", join(root, "test/socketio/node_modules/sio4/dist/socket.io.min.js")));

check("every configuration of the guide is one that a server takes", () => {
  const skein = built("skein", "./cmd/skein");
  const list = configurations();
  assert.ok(list.length >= 5, `there are ${list.length}`);
  list.forEach((text, i) => {
    const file = join(folder, `guide-${i}.yaml`);
    writeFileSync(file, text);
    run(skein, "config", "check", file);
  });
});

check("without code: the mapping, rooms, the API, the event skein, other clients", async (t) => {
  const skein = built("skein", "./cmd/skein");
  const { key, ...entry } = JSON.parse(run(skein, "key", "--json"));
  const file = join(folder, "without-code.yaml");
  writeFileSync(file, configurations().find((text) => text.includes("/test_conn:")) +
    `auth: {anonymous: true, jwt: {hmac_secret: ${randomBytes(32).toString("hex")}}}\napi: {keys: [${JSON.stringify(entry)}]}\n`);
  const { base } = await start(skein, ["serve", "--config", file, "--data", join(folder, "data")]);
  const token = (user) => run(skein, "token", "--user", user, "--config", file).trim();
  const api = async (verb, params) => {
    const answer = await fetch(`${base}/api/v1/${verb}`, { method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" }, body: JSON.stringify(params) });
    assert.equal(answer.status, 200, `${verb}: ${await answer.clone().text()}`);
    return answer.json();
  };
  const visit = async (path, user) => {
    const visitor = new Visitor(base, path, { transports: ["websocket"], auth: user ? { token: token(user) } : {} });
    t.after(() => visitor.close());
    return Object.assign(visitor, { started: await visitor.start });
  };

  const nobody = await visit("/chat");
  assert.equal(nobody.started.data?.code, "denied");
  const [ana, ben, numbers] = [await visit("/chat", "ana"), await visit("/chat", "ben"), await visit("/test_conn")];
  assert.deepEqual([ana.started, ben.started, numbers.started], ["connected", "connected", "connected"]);

  // A plain client of the same channel.
  const frames = [];
  const plain = new WebSocket(`${base.replace("http", "ws")}/ws?token=${token("chloe")}`);
  t.after(() => plain.terminate());
  plain.on("message", (text) => frames.push(JSON.parse(text)));
  await once(plain, "open");
  plain.send('{"type":"sub","channel":"chat:all","id":1}');
  await until(8000, () => frames.some(({ id }) => id === 1), "no subscription");

  // Everybody else gets what one emits, and the acknowledgement is the frame.
  const [kept] = await ana.ask("said", { text: "hello" });
  assert.deepEqual([kept.type, kept.seq], ["ok", 1]);
  assert.deepEqual(await ben.heard("said"), ["said", { text: "hello" }]);
  await ana.ask("moved", 3, 4);
  assert.deepEqual(await ben.heard("moved"), ["moved", 3, 4]);
  await ana.ask("ready");
  assert.deepEqual(await ben.heard("ready"), ["ready"]);
  await ana.ask("file", Buffer.from([1, 2, 127]));
  assert.deepEqual([...(await ben.heard("file"))[1]], [1, 2, 127]);
  await until(8000, () => frames.filter(({ type }) => type === "msg").length === 4, "not all messages");
  assert.deepEqual(frames.filter(({ type }) => type === "msg").map(({ event, data }) => [event, data]), [
    ["said", { text: "hello" }], ["moved", { args: [3, 4] }], ["ready", { args: [] }], ["file", { $binary: "AQJ/" }],
  ]);
  await api("publish", { to: { channel: "chat:all" }, event: "moved", data: { args: [5, 6] } });
  assert.deepEqual(await ana.heard("moved"), ["moved", 5, 6]);
  assert.deepEqual(await ben.heard("moved"), ["moved", 5, 6]);

  // Rooms: one comes in by itself, the other is put in.
  assert.equal((await ben.ask("skein", { type: "sub", channel: "chat:7" }))[0].type, "ok");
  const calls = [...guide.matchAll(/^curl \S+\/api\/v1\/(\S+) .*--json '(.*)'$/gm)].map(([, verb, params]) => [verb, JSON.parse(params)]);
  const done = [];
  for (const [verb, params] of calls) done.push([verb, (await api(verb, params)).connections]);
  assert.deepEqual(done, [["subscribe", 1], ["publish", 2], ["publish", 1]], "the calls as the guide has them");
  for (const visitor of [ana, ben]) assert.deepEqual(await visitor.heard("said"), ["said", { text: "hello" }]);
  assert.deepEqual(await numbers.heard("server_response"), ["server_response", { data: 42 }]);
  assert.equal((await ana.ask("skein", { type: "pub", channel: "chat:7", event: "said", data: { text: "hello, room" } }))[0].type, "ok");
  assert.deepEqual(await ben.heard("said"), ["said", { text: "hello, room" }]);
  await api("publish", { to: { user: "ana" }, event: "for ana", data: 1 });
  await api("publish", { to: { connection: ben.socket.id }, event: "for ben", data: 2 });
  assert.deepEqual([await ana.heard("for ana"), await ben.heard("for ben")], [["for ana", 1], ["for ben", 2]]);

  // What the server alone may say, and what is no message.
  assert.deepEqual((await numbers.ask("server_response", { data: 0 }))[0].code, "denied");
  numbers.socket.emit("server_response", { data: 0 });
  assert.equal((await numbers.heard("skein"))[1].code, "denied");
  const [page] = await ana.ask("skein", { type: "history", channel: "chat:all", limit: 20 });
  assert.deepEqual(page.messages.map(({ event }) => event), ["said", "moved", "ready", "file", "moved"]);
});

check("Flask-SocketIO and Skein show their clients the same", { timeout: 180_000 }, async () => {
  const venv = join(folder, "venv");
  run("python3", "-m", "venv", venv);
  run(join(venv, "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", join(example, "requirements.txt"));
  const [flask, skein] = await Promise.all([
    start(join(venv, "bin/python"), [join(example, "app.py"), "--every", "0.3"]),
    start(built("flask", "./examples/flask"), ["-every", "300ms"], "-listen"),
  ]);
  for (const transports of [["websocket"], ["polling"]]) {
    const before = await script(flask.base, transports);
    const after = await script(skein.base, transports);
    assert.deepEqual(after, before, `the two differ by ${transports}`);
    assert.deepEqual(after, expected);
  }
  assert.doesNotMatch(flask.said(), /Traceback/);
});
