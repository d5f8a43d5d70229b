// Bundles the tests, which are TypeScript, builds a server where none is named by
// BINARY_UNDER_TEST, and runs them. Arguments: the tests to run, by the beginning
// of their names; none: all.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { common } from "../config.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const out = join(here, "build");
const wanted = process.argv.slice(2);
const tests = readdirSync(join(here, "test"))
  .filter((name) => name.endsWith(".test.ts") && (!wanted.length || wanted.some((start) => name.startsWith(start))));
if (!tests.length) throw new Error(`no test is called ${wanted.join(" or ")}`);

rmSync(out, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: tests.map((name) => `test/${name}`),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  platform: "node",
  format: "esm",
  packages: "external",
  sourcemap: "inline",
});

let folder;
const env = { ...process.env };
if (!env.BINARY_UNDER_TEST) {
  folder = mkdtempSync(join(tmpdir(), "skein-sdk-"));
  env.BINARY_UNDER_TEST = join(folder, "skein");
  const go = spawnSync("go", ["build", "-o", env.BINARY_UNDER_TEST, "./cmd/skein"], { cwd: join(here, "../.."), stdio: "inherit" });
  if (go.status !== 0) process.exit(1);
}
const run = spawnSync(process.execPath, [
  "--test", "--test-timeout=240000", "--test-concurrency=2", "--enable-source-maps", "--expose-gc",
  ...tests.map((name) => join(out, name.replace(/ts$/, "mjs"))),
], { cwd: here, env, stdio: "inherit" });
if (folder) rmSync(folder, { recursive: true, force: true });
process.exit(run.status ?? 1);
