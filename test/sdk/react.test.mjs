// The React example of the README in Chromium, in strict mode, which mounts each
// component twice.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { api, build, freePort, start } from "../browser/server.mjs";
import { buildClient, esbuild, launch, sdk } from "./client.mjs";

let binary, browser, server, context, bundle;

before(async () => {
  buildClient();
  binary = build();
  browser = await launch();
  server = await start(binary.path, await freePort());
  const { build: bundleWith } = await esbuild();
  const result = await bundleWith({
    stdin: {
      resolveDir: join(sdk, "examples"),
      loader: "jsx",
      contents: `
        import { StrictMode, createElement, useState } from "react";
        import { createRoot } from "react-dom/client";
        import { App } from "./react.jsx";
        function Switch() {
          const [on, setOn] = useState(true);
          return createElement("div", null, createElement("button", { id: "switch", onClick: () => setOn(!on) }), on ? createElement(App) : null);
        }
        createRoot(document.getElementById("root")).render(createElement(StrictMode, null, createElement(Switch)));`,
    },
    bundle: true, write: false, format: "esm", jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
  });
  bundle = result.outputFiles[0].text;
  context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  await context.route("**/react.html*", (route) => route.fulfill({
    contentType: "text/html",
    body: '<!doctype html><title>React</title><div id="root"></div><script type="module" src="/react.js"></script>',
  }));
  await context.route("**/react.js", (route) => route.fulfill({ contentType: "text/javascript", body: bundle }));
});

after(async () => {
  await browser?.close();
  await server?.stop();
  binary?.remove();
});

test("hooks show what happens in other windows, and subscribe as long as they are there", async () => {
  const pages = [];
  const complaints = [];
  for (const user of ["ana", "ben"]) {
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
    const sent = [];
    page.on("websocket", (ws) => ws.on("framesent", ({ payload }) => sent.push(JSON.parse(payload))));
    await page.goto(`${server.base}/react.html?user=${user}`);
    await page.locator("#state", { hasText: "connected" }).waitFor();
    pages.push({ page, sent });
  }
  const [{ page: a, sent }, { page: b }] = pages;
  await a.locator("#who", { hasText: "ana, ben" }).waitFor();
  await b.locator("#who", { hasText: "ana, ben" }).waitFor();

  await Promise.all([a.locator("#gold").click(), b.locator("#gold").click()]);
  for (const { page } of pages) await page.locator("#gold", { hasText: "2" }).waitFor();
  assert.equal((await api(server, "doc.get", { channel: "game:42" })).data.gold, 2);

  await a.locator("#say").click();
  for (const { page } of pages) await page.locator("#log li", { hasText: "Hello" }).waitFor();

  const subs = (type) => sent.filter((frame) => frame.type === type).map(({ channel }) => channel).sort();
  assert.deepEqual(subs("unsub"), [], "strict mode does not leave and come back");
  // The inbox: what is pushed is counted, and read in one window it is read in the others.
  const c = await context.newPage();
  await c.goto(`${server.base}/react.html?user=ana`);
  await c.locator("#bell", { hasText: "0" }).waitFor();
  await api(server, "push", { to: { users: ["ana"] }, data: 1, event: "order" });
  await api(server, "push", { to: { users: ["ana"] }, data: 2, event: "news" });
  for (const page of [a, c]) await page.locator("#bell[title=news]", { hasText: "2" }).waitFor();
  await a.locator("#bell").click();
  for (const page of [a, c]) await page.locator("#bell", { hasText: "0" }).waitFor();
  assert.equal(sent.filter(({ type }) => type === "mark").length, 1);
  await c.reload();
  await c.locator("#bell[title=news]", { hasText: "0" }).waitFor(); // from the history
  await c.close();
  await b.locator("#bell", { hasText: "0" }).waitFor();

  // A group: what is said is shown, in the list, too, and counts until it is read.
  await api(server, "chat.create", { channel: "team:rockets", users: ["ana", "ben"], by: "boss" });
  await b.locator("#talks li").waitFor();
  await b.locator("#tell").click();
  for (const { page } of pages) await page.locator("#team li.sent", { hasText: "Lift off" }).waitFor();
  for (const { page } of pages) await page.locator("#talks li", { hasText: "Lift off" }).waitFor();
  await a.locator('#talks[title="1"]').waitFor();
  assert.equal(await b.locator("#talks").getAttribute("title"), "0", "who writes has read");
  await a.locator("#seen").click();
  await a.locator('#talks[title="0"]').waitFor();

  sent.length = 0;
  await a.locator("#switch").click();
  await b.locator("#who", { hasText: /^ben$/ }).waitFor();
  assert.deepEqual(subs("unsub"), ["game:42", "room:7", "team:rockets"]);
  await a.locator("#switch").click();
  await a.locator("#gold", { hasText: "2" }).waitFor();
  await b.locator("#who", { hasText: "ben, ana" }).waitFor(); // in the order in which they came
  assert.deepEqual(complaints, []);
});
