// The package as it is published: its size, its entries, its README.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { WebSocket } from "ws";
import { eventually } from "./support/client.js";
import { start } from "./support/server.js";

const here = fileURLToPath(new URL("..", import.meta.url));
const read = (name: string) => readFileSync(join(here, name), "utf8");
const run = promisify(execFile);

test("the page's bundle, with everything in it, is at most 8 KiB compressed, and that of conversations comes on top", () => {
  for (const name of ["skein.js", "skein-chat.js"]) {
    const size = gzipSync(read(`dist/${name}`), { level: 9 }).length;
    assert.ok(size <= 8192, `dist/${name} has ${size} bytes compressed`);
  }
});

test("no dependencies, and React only for those who use it", () => {
  const { dependencies, peerDependencies, peerDependenciesMeta, devDependencies } = JSON.parse(read("package.json"));
  assert.equal(dependencies, undefined);
  assert.deepEqual(Object.keys(peerDependencies), ["react"]);
  assert.equal(peerDependenciesMeta.react.optional, true);
  for (const [name, version] of Object.entries(devDependencies)) assert.match(version as string, /^\d/, `${name} is pinned`);
  assert.doesNotMatch(read("dist/index.js"), /^import /m);
  assert.doesNotMatch(read("dist/index.cjs"), /require\(/);
});

test("the entries give the same names, as modules and by require", async () => {
  const require = createRequire(join(here, "package.json"));
  for (const [entry, names] of [
    ["@skein-realtime/client", ["SkeinError", "connect", "path"]],
    ["@skein-realtime/client/chat", ["conversations", "directChannel"]],
    ["@skein-realtime/client/react", [
      "SkeinProvider", "useChannel", "useConversation", "useConversations", "useDocument", "useInbox", "usePresence", "useSkein",
    ]],
  ] as const) {
    const module = await import(require.resolve(entry).replace(/cjs$/, "js"));
    assert.deepEqual(Object.keys(module).sort(), names);
    assert.deepEqual(Object.keys(require(entry)).sort(), names);
  }
  const page = await import(join(here, "dist/skein.js"));
  assert.deepEqual(Object.keys(page).sort(), ["SkeinError", "connect", "path"]);
});

test("the bundles of a page work together, though each has its own names inside", async (t) => {
  const [{ connect }, { conversations }] = await Promise.all(["skein.js", "skein-chat.js"].map((name) => import(join(here, "dist", name))));
  const server = await start();
  t.after(() => server.kill());
  const [ann, bob] = ["ann", "bob"].map((user) => connect(server.base, { user, WebSocket }));
  t.after(() => [ann, bob].forEach((skein) => skein.close()));
  const dm = await conversations(ann).direct("bob");
  await dm.ready();
  await dm.send("hello");
  const theirs = conversations(bob).open(dm.channel);
  await theirs.ready();
  theirs.read();
  await eventually(() => dm.status(dm.messages[0]) === "read", "it is read");
});

test("the types name nothing that is internal", () => {
  for (const name of readdirSync(join(here, "dist")).filter((name) => name.endsWith(".d.ts"))) {
    assert.doesNotMatch(read(join("dist", name)), /\b_[a-z]\w*[(:]/, name);
  }
});

for (const name of readdirSync(join(here, "examples")).filter((name) => name.endsWith(".mjs"))) {
  test(`examples/${name} runs, and says what it says that it says`, async (t) => {
    const server = await start();
    t.after(() => server.kill());
    const text = read(`examples/${name}`);
    mkdirSync(join(here, "build/examples"), { recursive: true });
    const file = join(here, "build/examples", name);
    writeFileSync(file, text.replaceAll("http://127.0.0.1:8000", server.base));
    const { stdout } = await run(process.execPath, [file], { timeout: 20_000 });
    const wanted = [...text.matchAll(/^\/\/ → (.*)$/gm)].map(([, line]) => line!.trimEnd());
    // A message may come before the answer to it, or after it.
    assert.deepEqual(stdout.split("\n").map((line) => line.trimEnd()).filter(Boolean).sort(), wanted.sort());
  });
}

test("each snippet of the README is an example that is run", () => {
  const readme = read("README.md");
  const snippets = [...readme.matchAll(/<!-- (examples\/\S+) -->\n```\w+\n(.*?)```/gs)] as string[][];
  for (const [, name = "", code] of snippets) assert.equal(code, read(name).replace(/^\/\/ → .*\n/gm, ""), name);
  const all = [...readme.matchAll(/^```(js|jsx|html|ts)$/gm)].length;
  assert.equal(snippets.length, all, "every piece of code has its file");
  assert.deepEqual(snippets.map((found) => found[1]!.slice(9)).sort(), readdirSync(join(here, "examples")).filter((name) => !name.endsWith(".d.mts")).sort());
});
