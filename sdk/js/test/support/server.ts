// Starts and stops the real server, as a process of its own.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const binary = process.env.BINARY_UNDER_TEST!;
const folder = mkdtempSync(join(tmpdir(), "skein-sdk-data-"));
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL"); // of a test that ended early
  rmSync(folder, { recursive: true, force: true });
});

/** A port that nobody uses: a server that is killed and started again needs the same one. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

export interface Server {
  base: string;
  port: number;
  /** SIGTERM, and waits. */
  stop(): Promise<void>;
  /** SIGKILL, and waits. */
  kill(): Promise<void>;
  api(verb: string, params?: object, key?: string): Promise<any>;
}

export interface Start {
  /** A server that is started again on its port has its data; without one everything is new. */
  port?: number;
  dev?: boolean;
  /** The configuration; JSON is YAML. */
  config?: object | undefined;
}

let made = 0;

export async function start({ port, dev = true, config }: Start = {}): Promise<Server> {
  const data = join(folder, port === undefined ? `new${++made}` : String(port));
  port ??= await freePort();
  const base = `http://127.0.0.1:${port}`;
  const args = ["serve", "--listen", `127.0.0.1:${port}`, "--data", data];
  if (dev) args.push("--dev");
  if (config) {
    const file = join(folder, `${++made}.yaml`);
    writeFileSync(file, JSON.stringify(config));
    args.push("--config", file);
  }
  const child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => { said += text; });
  const ended = once(child, "exit");
  const gone = ended.then(([code, signal]) => { throw new Error(`the server ended (${signal ?? code}):\n${said}`); });
  gone.catch(() => {});
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  await Promise.race([answers(base), gone]);
  return {
    base,
    port,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    async api(verb, params = {}, key = "dev") {
      const response = await fetch(`${base}/api/v1/${verb}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
        body: JSON.stringify(params),
      });
      const body = await response.json();
      if (!response.ok) throw new Error(`${verb}: ${response.status} ${JSON.stringify(body)}`);
      return body;
    },
  };
}

// Polls until the server is up: there is nothing to wait for before it listens.
async function answers(base: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; ; ) {
    try {
      const response = await fetch(`${base}/healthz`);
      await response.arrayBuffer();
      if (response.ok) return;
    } catch (cause) {
      if (Date.now() > deadline) throw new Error(`nothing answers at ${base}`, { cause });
    }
    await new Promise((wake) => setTimeout(wake, 15));
  }
}
