// Starts the system's Chromium and watches what its pages complain about.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const names = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launch() {
  const executablePath = process.env.CHROMIUM || names.find((name) => existsSync(name));
  if (!executablePath) throw new Error("no Chromium was found; run tools/setup-test, or set CHROMIUM to one");
  return chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// watch collects everything that a page (or context) says is wrong: console
// errors and warnings, which is where violations of the content security policy
// show up, exceptions, and requests to anywhere but the server.
export function watch(context, base) {
  const complaints = [];
  const origin = new URL(base).host;
  context.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") complaints.push(`console ${m.type()}: ${m.text()}`);
  });
  context.on("weberror", (e) => complaints.push(`exception: ${e.error()}`));
  context.on("request", (r) => {
    const url = new URL(r.url());
    if (url.protocol !== "data:" && url.host !== origin) complaints.push(`request to ${r.url()}`);
  });
  return complaints;
}

// eventually makes an assertion until it holds, and fails as it did when it last did not.
// What a page shows follows what was done to it, and not at once.
export async function eventually(assertion, timeout = 10_000) {
  for (const deadline = Date.now() + timeout; ;) {
    try {
      return await assertion();
    } catch (err) {
      if (err.code !== "ERR_ASSERTION" || Date.now() > deadline) throw err;
    }
    await new Promise((wake) => setTimeout(wake, 50));
  }
}
