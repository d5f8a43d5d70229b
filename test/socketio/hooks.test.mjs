// examples/hooks-flask: its own tests pass, and it is the backend of a server
// whose clients, plain and of Socket.IO, get what its README says.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
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
const example = join(root, "examples/hooks-flask");
const secret = randomBytes(32).toString("hex");
const ends = [];
let folder, python, base, told;

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: folder, encoding: "utf8", ...options });
  assert.equal(done.status, 0, `${command} ${args.join(" ")}: ${done.error ?? done.stdout + done.stderr}`);
  return done.stdout + done.stderr;
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

// start runs a program and waits until it answers; the result gives what it has said.
async function start(url, command, args, env) {
  const child = spawn(command, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => { said = (said + text).slice(-50_000); });
  const ended = once(child, "exit");
  ends.push(async () => {
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), 3000);
    await ended;
    clearTimeout(killer);
  });
  await until(30_000, async () => {
    assert.ok(child.exitCode === null && child.signalCode === null, `${command} ended:\n${said}`);
    return fetch(url).then(() => true, () => false);
  }, `${command} does not answer`);
  return () => said;
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "skein-hooks-"));
  run("python3", ["-m", "venv", "venv"]);
  python = join(folder, "venv/bin/python");
  run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", join(example, "requirements.txt")]);
  const binary = join(folder, "skein");
  run("go", ["build", "-o", binary, "./cmd/skein"], { cwd: root });
  const [backend, front] = [await freePort(), await freePort()];
  told = await start(`http://127.0.0.1:${backend}/`, python, ["-u", join(example, "app.py")], { HOOKS_SECRET: secret, PORT: String(backend) });
  writeFileSync(join(folder, "skein.yaml"), `
listen: 127.0.0.1:${front}
hooks:
  url: http://127.0.0.1:${backend}/hooks
  secret: "${secret}"
  events: [connect, subscribe, message, call, close, online, offline, occupied, vacated]
  headers: [cookie]
  verify_answers: true
online: {grace: 10ms}
socketio: {namespaces: {/: {channel: "room:7", rooms: room}}}
namespaces:
  room: {kind: log, subscribe: user, publish: user}
`);
  base = `127.0.0.1:${front}`;
  await start(`http://${base}/healthz`, binary, ["serve", "--config", "skein.yaml"], {});
});

after(async () => {
  for (const end of ends.reverse()) await end();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

// Plain is a client of the plain protocol.
class Plain {
  constructor(headers = {}) {
    this.frames = [];
    this.ws = new WebSocket(`ws://${base}/ws`, { headers });
    this.ws.on("message", (text) => this.frames.push(JSON.parse(text)));
    this.open = once(this.ws, "open");
    this.end = new Promise((resolve) => this.ws.on("close", resolve));
  }

  async send(frame) { await this.open; this.ws.send(JSON.stringify(frame)); }

  // heard waits for a frame that has these members, and takes it off the list.
  async heard(members) {
    let at;
    const fits = (frame) => Object.entries(members).every(([name, value]) => frame[name] === value);
    await until(8000, () => (at = this.frames.findIndex(fits)) >= 0, `no frame ${JSON.stringify(members)} among ${JSON.stringify(this.frames)}`);
    return this.frames.splice(at, 1)[0];
  }

  async ask(frame) { await this.send({ ...frame, id: "q" }); return this.heard({ id: "q" }); }
}

check("its own tests pass, the signatures of spec/vectors among them", () => {
  assert.match(run(python, ["-m", "unittest"], { cwd: example, env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" } }), /Ran \d+ tests[\s\S]*OK/);
});

check("it says who connects, looks at what is said, and answers", async () => {
  const ana = new Plain();
  await ana.send({ type: "connect", data: { token: "token-of-ana" } });
  assert.equal((await ana.heard({ type: "welcome" })).user, "ana");
  const ben = new Plain({ cookie: "token=token-of-ben" });
  assert.equal((await ben.heard({ type: "welcome" })).user, "ben");
  const stranger = new Plain();
  await stranger.send({ type: "connect", data: { token: "made up" } });
  assert.equal((await stranger.heard({ type: "error" })).code, "unauthorized");
  assert.equal(await within(8000, stranger.end, "it stays"), 4002);

  assert.equal((await ana.ask({ type: "sub", channel: "room:of-ben" })).code, "denied");
  assert.equal((await ben.ask({ type: "sub", channel: "room:7" })).type, "ok");
  assert.equal((await ana.ask({ type: "pub", channel: "room:7", data: { text: "/shout hello" } })).type, "ok");
  assert.deepEqual((await ben.heard({ type: "msg" })).data, { text: "HELLO" });
  assert.equal((await ana.ask({ type: "pub", channel: "room:7", data: { text: "rhubarb" } })).code, "denied");
  assert.match((await ana.ask({ type: "pub", channel: "room:7", data: { text: "time?" } })).reply.time, /^\d\d:\d\d:\d\d$/);
  assert.equal((await ana.ask({ type: "call", method: "add", data: [2, 3] })).data, 5);
  ana.ws.close();
  ben.ws.close();
  await until(8000, () => ["online", "close", "offline", "occupied", "vacated"].every((event) => told().includes(event)), () => `it was told ${told()}`);
});

check("clients of Socket.IO are asked about in the same way, and get answers as acknowledgements", async () => {
  const refused = io(`http://${base}`, { forceNew: true, reconnection: false, auth: { token: "made up" } });
  const error = await within(8000, once(refused, "connect_error"), "it was let in");
  assert.equal(error[0].data.code, "unauthorized");
  refused.disconnect();
  const ana = io(`http://${base}`, { forceNew: true, reconnection: false, auth: { token: "token-of-ana" } });
  await within(8000, once(ana, "connect"), "it was not let in");
  const ben = new Plain({ cookie: "token=token-of-ben" });
  await ben.heard({ type: "welcome" });
  await ben.ask({ type: "sub", channel: "room:7" });
  const { time } = await ana.timeout(8000).emitWithAck("message", { text: "time?" });
  assert.match(time, /^\d\d:\d\d:\d\d$/);
  ana.emit("message", { text: "/shout hello" });
  assert.deepEqual((await ben.heard({ type: "msg" })).data, { text: "HELLO" });
  ana.disconnect();
  ben.ws.close();
});
