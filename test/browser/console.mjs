// One server with its console and one browser for a file of tests; logging in, looking
// at pages, and what is wrong with them.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, watch } from "./browser.mjs";
import { api, build, freePort, start } from "./server.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const desk = { viewport: { width: 1280, height: 800 } };
export const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

// begin builds and starts a server in development mode, with a configuration when one is
// given, and a browser. What it gives is ended by end().
export async function begin({ config, args = [] } = {}) {
  const binary = build();
  const folder = mkdtempSync(join(tmpdir(), "skein-console-"));
  const file = join(folder, "skein.yaml");
  if (config) writeFileSync(file, config);
  const all = [...(config ? ["--config", file] : []), ...args];
  const port = await freePort();
  const it = { server: await start(binary.path, port, ...all), browser: await launch(), binary: binary.path, file, folder };
  const states = new Map(); // of a browser that is logged in, by role
  const contexts = [];
  it.api = (verb, params) => api(it.server, verb, params);

  // link gives a one-time link for a role.
  it.link = async (role = "admin", base = it.server.base) => {
    const { url } = await it.api("console.link", { role });
    return base + new URL(url).pathname + new URL(url).hash;
  };

  // context gives a browser's window, logged in with the role unless that is "".
  it.context = async (role = "admin", options = {}) => {
    const { language = "en", theme, ...more } = options;
    if (role && !states.has(role)) {
      const first = await it.browser.newContext();
      const page = await first.newPage();
      await page.goto(await it.link(role));
      await page.locator("#main").waitFor();
      states.set(role, { cookies: await first.cookies() });
      await first.close();
    }
    const context = await it.browser.newContext({ ...desk, locale: language === "zh" ? "zh-CN" : "en-GB", ...(role ? { storageState: { cookies: states.get(role).cookies, origins: [] } } : {}), ...more });
    if (theme) await context.addInitScript((t) => {
      try {
        localStorage.setItem("skein.theme", t);
      } catch { /* a document of the browser's own, which keeps nothing */ }
    }, theme);
    contexts.push(context);
    return context;
  };

  // open shows a page of the console; page.complaints is what it complained about so far.
  it.open = async (path = "/console/", { role = "admin", ...options } = {}) => {
    const context = await it.context(role, options);
    const complaints = watch(context, it.server.base);
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    page.complaints = complaints;
    await page.goto(it.server.base + path);
    if (role) await page.locator("#main").waitFor();
    return page;
  };

  // restart starts the server again at the same place.
  it.restart = async (...more) => { it.server = await start(binary.path, port, ...all, ...more); };

  it.close = async () => { for (const context of contexts.splice(0)) await context.close(); };

  it.end = async () => {
    await it.browser.close();
    await it.server.stop();
    rmSync(folder, { recursive: true, force: true });
    binary.remove();
  };
  return it;
}

// accessible holds a page against axe; serious and critical findings are mistakes.
export async function accessible(page) {
  await page.evaluate(axe); // by the debugger, which the content security policy does not bind
  const findings = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.filter((v) => v.impact === "serious" || v.impact === "critical")
      .map((v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => `${n.html.slice(0, 160)} ${n.failureSummary?.replaceAll("\n", " ").slice(0, 200)}`).join(" | ")}`);
  });
  assert.deepEqual(findings, [], `axe at ${page.url()}`);
}

// fits says that nothing is wider than the screen.
export async function fits(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${page.url()} is ${wide} px wider than the screen`);
}

// quiet says that the page complained about nothing: no errors, nothing that the content
// security policy forbids, no request to anywhere else. What is allowed is left out.
export function quiet(page, allowed = /^$/) {
  assert.deepEqual(page.complaints.filter((c) => !allowed.test(c)), []);
}

// until waits for something that the server or the page says, and gives it.
export async function until(what, { timeout = 10_000, every = 50, message = "it did not happen" } = {}) {
  for (const deadline = Date.now() + timeout; ;) {
    const value = await what();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${message}: ${what}`);
    await new Promise((wake) => setTimeout(wake, every));
  }
}

// hostile are texts that a page must show as they are.
export const hostile = ["<img src=x onerror=\"window.pwned=1\">", "\"><script>window.pwned=1</script>", "javascript:window.pwned=1", "{{7*7}}${7*7}'`"];

// harmless says that none of the hostile texts was taken for more than a text.
export async function harmless(page) {
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await page.locator("main img, main script, main iframe, a[href^='javascript:']").count(), 0);
}
