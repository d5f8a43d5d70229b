// The inbox: what was pushed to a user comes to the devices until one has
// acknowledged it, whatever happens to them and to the server.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  acknowledge, again, becomes, byHand, comes, device, goes, hasUnread, isAcked, isOpen, message, mutes, nothingWrong, push, says, server, shows, up,
} from "./inbox.mjs";
import { api } from "./server.mjs";

const seqs = (page) => page.got.map(({ seq }) => seq);

test("a push comes to all devices of a user, and one acknowledgement is enough", async () => {
  const [one, two] = [await device("phone"), await device("tablet")];
  const other = await device("phone", { user: "bob" });
  const { id, audience, counts } = await push("hello", { category: "orders" });
  assert.deepEqual([audience, counts], [1, { queued: 1 }]);
  for (const page of [one, two]) {
    await shows(page, "hello");
    await isAcked(page, "hello");
    await hasUnread(page, 1);
    assert.deepEqual(seqs(page), [1]);
  }
  const { category, seq, device: by, sent, delivered } = await becomes(id, "delivered");
  assert.deepEqual([category, seq], ["orders", 1]);
  assert.ok(["phone", "tablet"].includes(by), by);
  assert.ok(sent && delivered, "it has both times");
  assert.deepEqual(other.got, []);
  nothingWrong(one, two, other);
});

test("what one device acknowledges by hand the other shows as acknowledged", async () => {
  const [one, two] = [await device("phone"), await device("tablet")];
  for (const page of [one, two]) await byHand(page);
  const { id } = await push("by hand");
  for (const page of [one, two]) await isOpen(page, "by hand");
  await becomes(id, "sent");
  await acknowledge(one, "by hand");
  for (const page of [one, two]) await isAcked(page, "by hand");
  assert.equal((await becomes(id, "delivered")).device, "phone");
  // What was acknowledged does not come to who comes back.
  await goes(two);
  await comes(two);
  await push("another");
  await isOpen(two, "another");
  assert.deepEqual(seqs(two), [1, 2]);
  nothingWrong(one, two);
});

test("a device that was away gets what waited, in order, and once", async () => {
  const page = await device("phone");
  await push("before");
  await isAcked(page, "before");
  await goes(page);
  const ids = [];
  for (const text of ["one", "two", "three"]) ids.push((await push(text, { category: "orders" })).id);
  for (const id of ids) await becomes(id, "queued");
  await comes(page);
  await shows(page, "three", "two", "one", "before");
  for (const id of ids) await becomes(id, "delivered");
  assert.deepEqual(seqs(page), [1, 2, 3, 4]);
  // A new device has something to show, too, and is sent nothing that was acknowledged.
  const other = await device("tablet");
  await shows(other, "three", "two", "one", "before");
  assert.deepEqual(other.got, []);
  nothingWrong(page, other);
});

test("the read mark moves on the other device at once", async () => {
  const [one, two] = [await device("phone"), await device("tablet")];
  await push("one");
  const { id } = await push("two");
  for (const page of [one, two]) await hasUnread(page, 2);
  await one.getByRole("button", { name: "Mark all read" }).click();
  for (const page of [one, two]) {
    await hasUnread(page, 0);
    await message(page, "two").and(page.locator('[data-read="true"]')).waitFor();
  }
  assert.ok((await becomes(id, "delivered")).read);
  await push("three");
  for (const page of [one, two]) await hasUnread(page, 1);
  nothingWrong(one, two);
});

test("a category that is muted does not come any more, on any device", async () => {
  const [one, two] = [await device("phone"), await device("tablet")];
  await one.getByRole("switch", { name: "Let news come" }).uncheck();
  await mutes("news");
  const { id, counts } = await push("quiet", { category: "news" });
  assert.deepEqual(counts, { muted: 1 });
  assert.equal((await becomes(id, "muted")).rule, "muted by the user");
  await push("an order", { category: "orders" });
  for (const page of [one, two]) {
    await shows(page, "an order");
    await page.locator("#mute-news:not(:checked)").waitFor();
    await hasUnread(page, 2);
  }
  // It can be read all the same.
  await two.getByRole("button", { name: "Show all of the inbox" }).click();
  await shows(two, "an order", "quiet");
  await message(two, "quiet").getByText("muted: it did not interrupt").waitFor();

  await one.locator("#mute-orders").click();
  await says(one, "orders cannot be muted: it is what the user waits for.");
  await one.locator("#mute-orders:checked").waitFor();

  await two.getByRole("switch", { name: "Let news come" }).check();
  await mutes();
  await push("loud", { category: "news" });
  await shows(one, "loud", "an order");
  await shows(two, "loud", "an order", "quiet");
  nothingWrong(one, two);
});

test("what may not interrupt who comes back is told in one notice, and read from the inbox", async () => {
  const page = await device("phone");
  await push("first", { category: "orders" });
  await isAcked(page, "first");
  await goes(page);
  for (const text of ["one", "two"]) await push(text, { category: "news" });
  await push("waited", { category: "orders" });
  await api(server, "categories.mute", { user: "ann", category: "news", muted: true });
  await comes(page);
  await page.locator("#held").getByText("2 more in the inbox: 2 news").waitFor();
  await shows(page, "waited", "first");
  await page.getByRole("button", { name: "Show them" }).click();
  await shows(page, "waited", "two", "one", "first");
  await message(page, "two").getByText("muted: it did not interrupt").waitFor();
  await page.locator("#held").waitFor({ state: "hidden" });
  assert.deepEqual(page.got.map(({ data }) => data.text), ["first", "waited"]);
  nothingWrong(page);
});

test("what is withdrawn vanishes, also from a device that comes back later", async () => {
  const [one, two] = [await device("phone"), await device("tablet")];
  for (const page of [one, two]) await byHand(page);
  const { id } = await push("a mistake");
  await push("right");
  for (const page of [one, two]) await shows(page, "right", "a mistake");
  await goes(two);
  assert.equal((await api(server, "recall", { message: id })).count, 1);
  await says(one, "A message was withdrawn.");
  await shows(one, "right");
  await becomes(id, "recalled");
  await comes(two);
  await shows(two, "right");
  // Who has acknowledged it keeps it.
  await acknowledge(one, "right");
  await isAcked(one, "right");
  const { id: kept } = one.got.find(({ data }) => data.text === "right");
  await becomes(kept, "delivered");
  assert.equal((await api(server, "recall", { message: kept })).count, 0);
  await push("last");
  for (const page of [one, two]) await shows(page, "last", "right");
  nothingWrong(one, two);
});

test("a message takes the place of the one before with the same collapse", async () => {
  const page = await device("phone");
  await push("order 17 is packed", { category: "orders", collapse: "order:17" });
  await shows(page, "order 17 is packed");
  await push("order 18 is packed", { category: "orders", collapse: "order:18" });
  await push("order 17 is on its way", { category: "orders", collapse: "order:17" });
  await shows(page, "order 17 is on its way", "order 18 is packed");
  await isAcked(page, "order 17 is on its way");
  await goes(page);
  const { id } = await push("order 18 is on its way", { category: "orders", collapse: "order:18" });
  await push("order 18 is there", { category: "orders", collapse: "order:18" });
  await comes(page);
  await shows(page, "order 18 is there", "order 17 is on its way");
  assert.equal((await becomes(id, "recalled")).reason, "replaced");
  assert.deepEqual(seqs(page), [1, 2, 3, 5]);
  nothingWrong(page);
});

test("what has expired does not come", async () => {
  const page = await device("phone");
  await goes(page);
  const { id } = await push("too late", { category: "orders", expires: "1s" });
  await push("in time", { category: "orders", expires: "1h" });
  await becomes(id, "expired");
  await comes(page);
  await shows(page, "in time");
  await isAcked(page, "in time");
  assert.deepEqual(seqs(page), [2]);
  await page.getByRole("button", { name: "Show all of the inbox" }).click();
  await hasUnread(page, 1);
  await shows(page, "in time");
  nothingWrong(page);
});

test("a server that is killed loses nothing and sends nothing twice", async () => {
  const [one, two] = [await device("phone"), await device("tablet")];
  await byHand(two);
  const texts = Array.from({ length: 40 }, (_, i) => `message ${i + 1}`);
  const ids = [];
  let dead, killed;
  for (const [i, text] of texts.entries()) {
    // The server dies under a push: who does not know what became of it says the same again.
    const pushed = push(text, { category: "orders", key: `key-${i}` });
    if (i === 20) dead = server.kill().then(again);
    const { id } = await pushed.catch(async () => {
      killed = true;
      await dead;
      return push(text, { category: "orders", key: `key-${i}` });
    });
    ids.push(id);
  }
  await dead;
  assert.ok(killed, "the server did not die under a push");
  for (const page of [one, two]) {
    await up(page);
    await shows(page, ...texts.toReversed());
  }
  for (const id of ids) await becomes(id, "delivered");
  const { items } = await api(server, "inbox.list", { user: "ann", limit: 100 });
  assert.deepEqual(items.map(({ data }) => data.text), texts);
  nothingWrong(one, two);
});

test("what was not acknowledged comes again after the server was killed, and what was does not", async () => {
  const page = await device("phone");
  await push("acknowledged");
  await isAcked(page, "acknowledged");
  await byHand(page);
  const { id } = await push("not yet");
  await isOpen(page, "not yet");
  await becomes(id, "sent");
  await server.kill();
  await page.locator('#state[data-state="wait"]').waitFor();
  await again();
  await up(page);
  await page.waitForFunction(() => document.querySelectorAll("#list li").length === 2);
  await isOpen(page, "not yet");
  await acknowledge(page, "not yet");
  await isAcked(page, "not yet");
  await becomes(id, "delivered");
  await page.reload();
  await up(page);
  await shows(page, "not yet", "acknowledged");
  await push("the end");
  await shows(page, "the end", "not yet", "acknowledged");
  assert.deepEqual(page.got.filter(({ id: which }) => which !== id).map(({ data }) => data.text), ["acknowledged", "the end"]);
  nothingWrong(page);
});
