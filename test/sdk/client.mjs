// The client as it is built, and the browser that its pages run in.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

export const sdk = fileURLToPath(new URL("../../sdk/js/", import.meta.url));

const npm = (...args) => {
  const done = spawnSync("npm", args, { cwd: sdk, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`npm ${args.join(" ")} in sdk/js failed: ${done.error ?? done.stdout + done.stderr}`);
};

/** Builds the client, with what its lock file pins. */
export function buildClient() {
  if (!existsSync(join(sdk, "node_modules"))) npm("ci", "--silent");
  npm("run", "--silent", "build");
}

/** Gives the example page and the bundle to all pages of a context, as the server would. */
export async function serve(context) {
  const files = {
    "/sdk/skein.js": ["text/javascript", join(sdk, "dist/skein.js")],
    "/page.html": ["text/html", join(sdk, "examples/page.html")],
    "/empty.html": ["text/html", undefined],
    "/worker.js": ["text/javascript", fileURLToPath(new URL("worker.js", import.meta.url))],
  };
  await context.route((url) => Object.hasOwn(files, url.pathname), (route) => {
    const [contentType, file] = files[new URL(route.request().url()).pathname];
    return route.fulfill({ contentType, body: file ? readFileSync(file) : "<!doctype html><title>empty</title>" });
  });
}

/** The esbuild of the client's own development. */
export async function esbuild() {
  return import(pathToFileURL(createRequire(join(sdk, "package.json")).resolve("esbuild")));
}

const names = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launch() {
  const executablePath = process.env.CHROMIUM || names.find((name) => existsSync(name));
  if (!executablePath) throw new Error("no Chromium was found; run tools/setup-test, or set CHROMIUM to one");
  return chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      // Pages that a test answers itself come from nowhere, for Chromium, and might not call this machine.
      "--disable-features=LocalNetworkAccessChecks"],
  });
}
