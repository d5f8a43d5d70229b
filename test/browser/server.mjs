// Builds the server once, and starts and stops it as a process of its own.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

// build gives the path of a fresh binary. BINARY_UNDER_TEST names one that is built already.
export function build() {
  if (process.env.BINARY_UNDER_TEST) return { path: process.env.BINARY_UNDER_TEST, remove() {} };
  const folder = mkdtempSync(join(tmpdir(), "skein-browser-"));
  const path = join(folder, "skein");
  const done = spawnSync("go", ["build", "-o", path, "./cmd/skein"], { cwd: root, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`go build failed: ${done.error ?? done.stderr}`);
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

// freePort asks the system for a port that nobody uses. A server that is killed
// and started again needs the same one, so it cannot choose for itself.
export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

// What servers keep is in a folder that goes with the tests.
const data = mkdtempSync(join(tmpdir(), "skein-browser-data-"));
process.on("exit", () => rmSync(data, { recursive: true, force: true }));

// Whoever ends without having ended its servers takes them along.
const running = new Set();
process.on("exit", () => { for (const child of running) child.kill("SIGKILL"); });

// start runs the server until stop() or kill(), and returns when it answers.
export async function start(binary, port, ...args) {
  const base = `http://127.0.0.1:${port}`;
  const child = spawn(binary, ["serve", "--dev", "--listen", `127.0.0.1:${port}`, "--data", join(data, String(port)), ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => { said += text; });
  const ended = once(child, "exit");
  running.add(child);
  ended.then(() => running.delete(child), () => {});
  const gone = ended.then(([code, signal]) => { throw new Error(`the server ended (${signal ?? code}):\n${said}`); });
  gone.catch(() => {});
  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  await Promise.race([answers(base), gone]);
  return { base, port, said: () => said, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}

// answers polls until the server is up: there is nothing to wait for before it listens.
async function answers(base) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      const res = await fetch(`${base}/healthz`);
      await res.arrayBuffer();
      if (res.ok) return;
    } catch (e) {
      if (Date.now() > deadline) throw new Error(`nothing answers at ${base}`, { cause: e });
    }
    await new Promise((wake) => setTimeout(wake, 25));
  }
}

// api calls a server verb with the key of development mode.
export async function api(server, verb, params = {}) {
  const res = await fetch(`${server.base}/api/v1/${verb}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer dev" },
    body: JSON.stringify(params),
  });
  const body = await res.json();
  if (!res.ok) throw new Error(`${verb}: ${res.status} ${JSON.stringify(body)}`);
  return body;
}
