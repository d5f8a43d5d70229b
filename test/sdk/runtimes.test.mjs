// The client in Node, Deno and Bun.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build, freePort, start } from "../browser/server.mjs";
import { buildClient } from "./client.mjs";

const run = promisify(execFile);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
let binary;

before(() => {
  buildClient();
  binary = build();
});
after(() => binary?.remove());

const all = "websocket sse poll\n";
for (const [name, command, says] of [
  ["Node", [process.execPath], globalThis.WebSocket ? all : "sse poll\n"],
  ["Deno", [here("node_modules/.bin/deno"), "run", "--no-prompt", "--no-config", "--allow-net=127.0.0.1"], all],
  ["Bun", [here("node_modules/.bin/bun"), "run"], all],
]) {
  test(`${name} publishes, patches and ends by itself`, async () => {
    const server = await start(binary.path, await freePort());
    try {
      const { stdout } = await run(command[0], [...command.slice(1), here("runtime.mjs"), server.base], { timeout: 60_000 });
      assert.equal(stdout, says);
    } finally {
      await server.stop();
    }
  });
}
