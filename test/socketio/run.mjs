// Starts the servers, runs every test file, one after the other, and ends what
// it started. `--reference` starts the Node programs of reference/; names of
// test files narrow the run. SUITE and CONTRACT may name commands to start in
// place of `go run` of the two Go programs, for instance binaries that are built already.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "../..");
const args = process.argv.slice(2);
const reference = args.includes("--reference");
const wanted = args.filter((arg) => !arg.startsWith("-"));
const unknown = args.filter((arg) => arg.startsWith("-") && arg !== "--reference");
if (unknown.length > 0) {
  console.error(`run: unknown option ${unknown[0]}; there is only --reference`);
  process.exit(2);
}

// The order is that of the run: what is exact about time comes first, and each file runs alone.
const order = ["engineio4", "engineio3", "socketio5", "malformed", "socketio4", "recovery", "msgpack", "hostile", "clients", "browser", "guide", "hooks"].map((name) => `${name}.test.mjs`);
const files = order.filter((file) => wanted.length === 0 || wanted.some((name) => file === name || file === `${name}.test.mjs`));
const forgotten = readdirSync(here).filter((file) => file.endsWith(".test.mjs") && !order.includes(file));
if (files.length === 0 || forgotten.length > 0) {
  console.error(forgotten.length > 0 ? `run: ${forgotten} is missing in the order` : `run: no test file of that name; there are ${order.join(", ")}`);
  process.exit(2);
}

// freePort asks the system for a port that nobody uses: the allowed origin has
// to be known before the page that has it is served.
async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

const folder = mkdtempSync(join(tmpdir(), "skein-socketio-"));
const children = [];

// commands gives for each program what to start, building it where that is needed.
function commands() {
  const programs = { suite: process.env.SUITE, contract: process.env.CONTRACT };
  for (const [name, given] of Object.entries(programs)) {
    if (reference) {
      programs[name] = [process.execPath, join(here, "reference", `${name}.mjs`)];
    } else if (given) {
      programs[name] = given.split(" ").filter(Boolean);
    } else {
      const path = join(folder, name);
      const done = spawnSync("go", ["build", "-o", path, `./examples/socketio-suite/${name}`], { cwd: root, encoding: "utf8" });
      if (done.status !== 0) throw new Error(`go build of ${name} failed: ${done.error ?? done.stderr}`);
      programs[name] = [path];
    }
  }
  return programs;
}

// start runs a program and gives its base URL when it says that it listens.
async function start([command, ...first], ...flags) {
  const child = spawn(command, [...first, "-listen", "127.0.0.1:0", "-path", "/socket.io/", ...flags], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => { said = (said + text).slice(-20_000); });
  child.said = () => said;
  const gone = once(child, "exit").then(([code, signal]) => { throw new Error(`${command} ended (${signal ?? code}):\n${said}`); });
  const failed = once(child, "error").then(([error]) => { throw error; });
  gone.catch(() => {});
  failed.catch(() => {});
  const listens = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const match = /^listening on (http:\/\/\S+)$/.exec(line);
      if (match) return match[1];
    }
    return gone;
  })();
  const late = new Promise((_, reject) => { setTimeout(reject, 60_000, new Error(`${command} does not listen`)).unref(); });
  const base = await Promise.race([listens, gone, failed, late]);
  child.stdout.resume();
  return base;
}

async function stop() {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), 3000);
    await ended;
    clearTimeout(killer);
  }
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const { suite, contract } = commands();
  const origin = `http://127.0.0.1:${await freePort()}`;
  const quick = ["-ping-interval", "300", "-ping-timeout", "200", "-connect-timeout", "1000"];
  const steady = ["-ping-interval", "800", "-ping-timeout", "1500", "-connect-timeout", "2000"];
  const [TARGET_SUITE, TARGET_CONTRACT, TARGET_RECOVERY, TARGET_MSGPACK] = await Promise.all([
    start(suite, ...quick, "-old=true", "-cors", "http://page.example"),
    start(contract, ...steady, "-old=true", "-cors", origin),
    start(contract, ...steady, "-old=true", "-recovery=10s"),
    start(contract, ...steady, "-old=false", "-parser=msgpack"),
  ]);
  const env = { ...process.env, TARGET_SUITE, TARGET_CONTRACT, TARGET_RECOVERY, TARGET_MSGPACK, PAGE_ORIGIN: origin, REFERENCE: reference ? "1" : "" };
  let code = 0;
  for (const file of files) {
    const test = spawn(process.execPath, ["--test", "--test-force-exit", "--test-reporter=spec", file], { cwd: here, env, stdio: "inherit" });
    children.push(test);
    // No file takes half of this; one that hangs must not hang the run.
    const watchdog = setTimeout(() => {
      console.error(`run: ${file} hangs`);
      test.kill("SIGKILL");
    }, 180_000);
    const [status] = await once(test, "exit");
    clearTimeout(watchdog);
    const dead = children.find((child) => child !== test && child.said && (child.exitCode !== null || child.signalCode !== null));
    if (dead) throw new Error(`a server ended during ${file} (${dead.signalCode ?? dead.exitCode}):\n${dead.said()}`);
    if (status !== 0) {
      console.error(`run: ${file} failed`);
      code = 1;
    }
  }
  return code;
}

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop().then(() => process.exit(130)));
try {
  process.exitCode = await main();
} catch (error) {
  console.error(`run: ${error.message}`);
  process.exitCode = 1;
} finally {
  await stop();
}
