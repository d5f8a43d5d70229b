// Conversations over connections that break, or are no WebSockets.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  again, choose, desktop, direct, does, down, ends, hasUnread, hide, isStatus, makeGroup, message, nothingWrong, open, pair, say, server, shows, textsOf, up, window, writeTo,
} from "./chat.mjs";
import { proxy } from "./proxy.mjs";

const annAndBob = direct("ann", "bob");

test("without a connection both sides write, and afterwards have the same, in one order, once", async () => {
  const way = await proxy(server.port);
  ends.unshift(way.close);
  const [ann, bob] = await pair({ ann: { base: way.base } });
  await say(ann, "before");
  await shows(bob, "before");
  for (let round = 0; round < 3; round++) {
    way.cut();
    await down(ann);
    await ann.locator("#banner:not([hidden])").waitFor();
    for (let i = 0; i < 3; i++) {
      await say(ann, `ann ${round}.${i}`);
      await say(bob, `bob ${round}.${i}`);
      await message(ann, `ann ${round}.${i}`).and(ann.locator('[data-state="pending"]')).waitFor();
    }
    await isStatus(bob, `bob ${round}.2`, "sent");
    way.mend();
    await up(ann);
    await message(bob, `ann ${round}.2`).waitFor();
  }
  const texts = await textsOf(bob);
  assert.equal(texts.length, 19);
  assert.equal(new Set(texts).size, 19);
  for (const who of ["ann", "bob"]) {
    const own = texts.filter((text) => text.startsWith(who));
    assert.deepEqual(own, own.toSorted(), `what ${who} has said is in the order in which it was said`);
  }
  for (const page of [ann, bob]) {
    await shows(page, ...texts);
    await hasUnread(page, page === ann ? "bob" : "ann", 0);
  }
  await ann.reload();
  await shows(ann, ...texts);
  nothingWrong(ann, bob);
});

test("an answer that was lost does not make a message twice", async () => {
  const way = await proxy(server.port);
  ends.unshift(way.close);
  const [ann, bob] = await pair({ ann: { base: way.base } });
  await say(ann, "before");
  await shows(bob, "before");
  way.swallow("down");
  await say(ann, "lost answer");
  await shows(bob, "before", "lost answer");
  way.cut();
  await down(ann);
  way.mend();
  await up(ann);
  for (const page of [ann, bob]) await shows(page, "before", "lost answer");
  nothingWrong(ann, bob);
});

test("a server that is killed loses nothing, and the numbers are right afterwards", async () => {
  const [ann, bob] = await pair(), eve = await open("eve");
  await writeTo(eve, "ann");
  await say(eve, "from eve");
  await hasUnread(ann, "eve", 1);
  await say(ann, "one");
  await isStatus(ann, "one", "read");
  await server.kill();
  for (const page of [ann, bob, eve]) await down(page);
  await say(ann, "two");
  await say(bob, "three");
  await say(eve, "still eve");
  await again();
  for (const page of [ann, bob, eve]) await up(page);
  await message(ann, "three").waitFor();
  await message(bob, "two").waitFor();
  const texts = await textsOf(ann);
  assert.deepEqual(texts.toSorted(), ["one", "three", "two"]);
  for (const page of [ann, bob]) await shows(page, ...texts);
  await hasUnread(ann, "eve", 2);
  await hasUnread(bob, "ann", 0);
  await choose(ann, "eve");
  await shows(ann, "from eve", "still eve");
  await isStatus(eve, "still eve", "read");
  await hasUnread(ann, "eve", 0);
  nothingWrong(ann, bob, eve);
});

for (const [blocked, words] of [[["WebSocket"], "Connected by server-sent events"], [["WebSocket", "EventSource"], "Connected by long polling"]]) {
  test(`where ${blocked.join(" and ")} ${blocked.length > 1 ? "are" : "is"} blocked all goes on`, async () => {
    const page = await window(desktop);
    await page.routeWebSocket(/\/ws/, (ws) => ws.close());
    if (blocked.length > 1) await page.route(/\/sse/, (route) => route.abort());
    const ann = await open("ann", { page, to: annAndBob }), bob = await open("bob", { to: annAndBob });
    await ann.locator("#state").getByText(words, { exact: true }).waitFor();
    await say(ann, "hello");
    await shows(bob, "hello");
    await say(bob, "hi");
    await shows(ann, "hello", "hi");
    await isStatus(ann, "hello", "read");
    await isStatus(bob, "hi", "read");
    await bob.locator("#text").pressSequentially("hm");
    await ann.locator("#typing").getByText("bob is typing").waitFor();
    await does(bob, "hi", "Withdraw");
    await shows(ann, "hello", "bob withdrew a message");
    await ann.reload();
    await shows(ann, "hello", "A message was withdrawn");
    await makeGroup(ann, "Rockets", "bob");
    await hide(bob);
    await say(ann, "all aboard");
    await hasUnread(bob, "Rockets", 1);
    nothingWrong(bob);
  });
}
