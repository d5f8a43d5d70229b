// Builds dist/: modules for bundlers and Node, types, and skein.js and skein-chat.js,
// which are what a page without a bundler imports and what the server gives out.

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";
import { common, small } from "./config.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
const entries = { index: "src/index.ts", chat: "src/chat.ts", react: "src/react.ts" };
await build({ ...common, entryPoints: entries, outdir: dist, format: "esm", external: ["react"] });
await build({ ...common, entryPoints: entries, outdir: dist, format: "cjs", external: ["react"], outExtension: { ".js": ".cjs" } });
await build({ ...common, ...small, entryPoints: { skein: "src/index.ts", "skein-chat": "src/chat.ts" }, outdir: dist, format: "esm" });
// Every page pays for each byte of these, so a second minifier looks at them.
for (const name of ["skein.js", "skein-chat.js"]) {
  const page = join(dist, name);
  const { code } = await minify(readFileSync(page, "utf8"), {
    module: true, ecma: 2020, compress: { passes: 2, hoist_funs: true, pure_getters: true, unsafe_arrows: true, unsafe_methods: true },
  });
  writeFileSync(page, code);
}

const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
const types = spawnSync(process.execPath, [tsc, "-p", join(here, "tsconfig.build.json")], { encoding: "utf8" });
if (types.status !== 0) throw new Error(types.stdout + types.stderr);
// The same types for require: each file names its neighbours with its own ending.
for (const name of readdirSync(dist).filter((name) => name.endsWith(".d.ts"))) {
  const text = readFileSync(join(dist, name), "utf8").replace(/(["']\.\/[\w-]+)\.js(["'])/g, "$1.cjs$2");
  writeFileSync(join(dist, name.replace(".d.ts", ".d.cts")), text);
}
