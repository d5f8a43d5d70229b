// Conversations: what is said comes to all devices, and who has read what is the
// same everywhere.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./browser.mjs";
import {
  choose, direct, does, hasUnread, hide, isStatus, makeGroup, message, nothingWrong, open, pair, publish, row, say, server, shows, textsOf, writeTo,
} from "./chat.mjs";
import { api } from "./server.mjs";

const annAndBob = direct("ann", "bob");

test("two people write to each other, and find it again when the page is opened anew", async () => {
  const ann = await open("ann"), bob = await open("bob");
  await writeTo(ann, "bob");
  await say(ann, "hello");
  await choose(bob, "ann");
  await say(bob, "hi there");
  for (const page of [ann, bob]) await shows(page, "hello", "hi there");
  await ann.reload();
  await shows(ann, "hello", "hi there");
  await say(ann, "and again");
  const second = await open("ann");
  await row(second, "bob").getByText("You: and again").waitFor();
  await choose(second, "bob");
  for (const page of [ann, bob, second]) await shows(page, "hello", "hi there", "and again");
  nothingWrong(ann, bob, second);
});

test("who writes to somebody who is offline is told, and it is there when they return", async () => {
  const ann = await open("ann");
  await writeTo(ann, "bob");
  for (const text of ["one", "two"]) await say(ann, text);
  await ann.getByText("bob is offline: it will be there when they return.").waitFor();
  await shows(ann, "one", "two");
  await isStatus(ann, "two", "sent");
  const bob = await open("bob");
  await hasUnread(bob, "ann", 2);
  await ann.getByText("bob is offline").waitFor({ state: "detached" });
  await row(ann, "bob").locator('[data-online="true"]').waitFor();
  await ann.locator("#sub").getByText("online", { exact: true }).waitFor();
  await choose(bob, "ann");
  await bob.locator("#messages .line + .message", { hasText: "one" }).waitFor();
  await shows(bob, "one", "two");
  await hasUnread(bob, "ann", 0);
  await bob.close();
  await ann.locator("#sub").getByText("offline", { exact: true }).waitFor();
  nothingWrong(ann, bob);
});

test("ticks go from sent to delivered to read", async () => {
  const ann = await open("ann");
  await writeTo(ann, "bob");
  await say(ann, "hello");
  await isStatus(ann, "hello", "sent");
  const bob = await open("bob"); // its list shows it
  await isStatus(ann, "hello", "delivered");
  await row(ann, "bob").getByRole("img", { name: "delivered" }).waitFor();
  await choose(bob, "ann");
  await isStatus(ann, "hello", "read");
  await row(ann, "bob").getByRole("img", { name: "read" }).waitFor();
  // They are remembered.
  await ann.reload();
  await isStatus(ann, "hello", "read");
  await hide(bob);
  await say(ann, "are you there?");
  await isStatus(ann, "are you there?", "delivered");
  await hide(bob, false);
  await isStatus(ann, "are you there?", "read");
  nothingWrong(ann, bob);
});

test("a group of three: names, mentions, and how many have read it", async () => {
  const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((user) => open(user)));
  await makeGroup(ann, "Rockets", "bob", "eve");
  await ann.locator("#text").pressSequentially("When do we start, @b");
  await ann.locator("#names").getByRole("option", { name: "bob" }).waitFor();
  await ann.keyboard.press("Tab");
  await eventually(async () => assert.equal(await ann.locator("#text").inputValue(), "When do we start, @bob "));
  await ann.keyboard.press("Enter");
  await hasUnread(eve, "Rockets", 1);
  await choose(bob, "Rockets");
  await message(bob, "When do we start, @bob").locator(".mention.me", { hasText: "@bob" }).waitFor();
  await message(bob, "When do we start, @bob").locator(".who").getByText("ann").waitFor();
  await message(ann, "When do we start, @bob").getByText("read by 1").waitFor();
  await choose(eve, "Rockets");
  await message(eve, "When do we start, @bob").locator(".mention:not(.me)").waitFor();
  await message(ann, "When do we start, @bob").getByText("read by all").waitFor();
  await does(bob, "When do we start, @bob", "Reply");
  await say(bob, "At noon");
  for (const page of [ann, eve]) {
    await message(page, "At noon").locator(".quote", { hasText: "When do we start" }).waitFor();
    await row(page, "Rockets").getByText("bob: At noon").waitFor();
    await page.locator("#sub").getByText("3 members, 3 online").waitFor();
  }
  await say(ann, "Well then, @everybody");
  for (const page of [bob, eve]) await message(page, "Well then, @everybody").locator(".mention.me", { hasText: "@everybody" }).waitFor();
  nothingWrong(ann, bob, eve);
});

test("what is read on one device is read on the other, and only what was really shown", async () => {
  const desk = await open("ann"), tablet = await open("ann"), bob = await open("bob", { to: annAndBob });
  await say(bob, "one");
  await say(bob, "two");
  await publish("dm:ann:eve", "from eve");
  for (const page of [desk, tablet]) {
    await hasUnread(page, "bob", 2, 3);
    await hasUnread(page, "eve", 1, 3);
  }
  await choose(desk, "bob");
  for (const page of [desk, tablet]) await hasUnread(page, "bob", 0, 1);
  // A window that nobody sees reads nothing.
  await hide(desk);
  await say(bob, "three");
  for (const page of [desk, tablet]) await hasUnread(page, "bob", 1, 2);
  await isStatus(bob, "three", "delivered");
  await hide(desk, false);
  await desk.locator("#messages .line + .message", { hasText: "three" }).waitFor();
  for (const page of [desk, tablet]) await hasUnread(page, "bob", 0, 1);
  // Nor does one that shows what is far above.
  await publish(annAndBob, ...Array.from({ length: 30 }, (_, i) => `line ${i}`));
  await hasUnread(desk, "bob", 0, 1);
  await desk.locator("#log").evaluate((el) => { el.scrollTop = 0; });
  await desk.locator("#newest:not([hidden])").waitFor();
  await say(bob, "four");
  for (const page of [desk, tablet]) await hasUnread(page, "bob", 1, 2);
  await desk.locator("#newest .badge").getByText("1", { exact: true }).waitFor();
  await desk.getByRole("button", { name: "To the newest message" }).click();
  for (const page of [desk, tablet]) await hasUnread(page, "bob", 0, 1);
  nothingWrong(desk, tablet, bob);
});

test("who types is shown, until he sends it or takes it back", async () => {
  const [ann, bob] = await pair();
  await say(ann, "hello");
  await shows(bob, "hello");
  await bob.locator("#text").pressSequentially("hm");
  await ann.locator("#typing").getByText("bob is typing").waitFor();
  await row(ann, "bob").getByText("typing …").waitFor();
  await bob.locator("#text").fill("");
  await ann.locator("#typing:empty").waitFor({ state: "attached" });
  await bob.locator("#text").pressSequentially("no");
  await ann.locator("#typing").getByText("bob is typing").waitFor();
  await bob.keyboard.press("Enter");
  await ann.locator("#typing:empty").waitFor({ state: "attached" });
  await shows(ann, "hello", "no");
  nothingWrong(ann, bob);
});

test("what is edited or withdrawn is so everywhere, also for who comes later", async () => {
  const [ann, bob] = await pair(), tablet = await open("ann", { to: annAndBob });
  for (const text of ["wrnog", "a secret", "the end"]) await say(ann, text);
  for (const page of [ann, bob, tablet]) await shows(page, "wrnog", "a secret", "the end");
  await does(ann, "wrnog", "Edit");
  await eventually(async () => assert.equal(await ann.locator("#text").inputValue(), "wrnog"));
  await say(ann, "wrong");
  await does(tablet, "a secret", "Withdraw");
  for (const page of [ann, bob, tablet]) {
    const stub = page === bob ? "ann withdrew a message" : "You withdrew a message";
    await shows(page, "wrong", stub, "the end");
    await message(page, "wrong").getByText("edited", { exact: true }).waitFor();
    await eventually(async () => assert.equal(await message(page, stub).getByText("edited").count(), 0));
  }
  await does(ann, "the end", "Withdraw");
  await row(bob, "ann").getByText("A message was withdrawn").waitFor();
  const later = await open("bob", { to: annAndBob }); // nothing of it is kept, and not whose it was
  await shows(later, "wrong", "A message was withdrawn", "A message was withdrawn");
  assert.ok(!(await later.content()).includes("a secret"));
  // The newest of one's own is edited from the keyboard, and nobody edits what is another's.
  await bob.locator("#text").press("ArrowUp");
  await eventually(async () => assert.equal(await bob.locator("#text").inputValue(), ""));
  await message(bob, "wrong").getByRole("button", { name: /What to do with it$/ }).focus();
  await bob.keyboard.press("Enter");
  await eventually(async () => assert.deepEqual(await bob.getByRole("menuitem").allTextContents(), ["Reply", "Copy the text"]));
  await bob.keyboard.press("Escape");
  await ann.locator("#text").press("ArrowUp");
  await say(ann, "right");
  for (const page of [bob, later]) await message(page, "right").waitFor();
  nothingWrong(ann, bob, tablet, later);
});

test("a message that was refused says why, and can be tried again or discarded", async () => {
  const [ann, bob] = await pair();
  await say(ann, "hello");
  await shows(bob, "hello");
  await bob.getByRole("button", { name: "Details" }).click();
  await bob.getByRole("switch", { name: "Block ann" }).click();
  await bob.getByText("You have blocked ann.").waitFor();
  for (const text of ["first try", "never mind"]) {
    await say(ann, text);
    await message(ann, text).getByText(/^Not sent: /).waitFor();
  }
  await message(ann, "never mind").getByRole("button", { name: "Discard" }).click();
  await message(ann, "never mind").waitFor({ state: "detached" });
  await message(ann, "first try").getByRole("button", { name: "Try again" }).click();
  await message(ann, "first try").getByText(/^Not sent: /).waitFor();
  await bob.getByRole("button", { name: "Unblock" }).click();
  await bob.getByRole("switch", { name: "Block ann" }).and(bob.locator('[aria-checked="false"]')).waitFor();
  await message(ann, "first try").getByRole("button", { name: "Try again" }).click();
  for (const page of [ann, bob]) await shows(page, "hello", "first try");
  nothingWrong(ann, bob);
});

test("older messages come while scrolling up, and the eye keeps its place", async () => {
  const texts = Array.from({ length: 140 }, (_, i) => `message ${i + 1}`);
  await publish(annAndBob, ...texts);
  const ann = await open("ann", { to: annAndBob });
  await message(ann, "message 140").waitFor();
  // Fifty are read at first, all new; the line is above them, and nothing is read until the end is seen.
  await ann.locator("#messages .line").waitFor();
  await hasUnread(ann, "bob", 140);
  const first = message(ann, "message 91");
  await first.waitFor();
  const top = () => first.evaluate((el) => el.getBoundingClientRect().top);
  await ann.locator("#log").evaluate((el) => { el.scrollTop = 250; });
  const before = await top();
  await message(ann, "message 41").waitFor({ state: "attached" });
  const moved = (await top()) - before;
  assert.ok(Math.abs(moved) <= 1, `it has moved by ${moved} px`);
  await ann.locator("#log").evaluate((el) => { el.scrollTop = 0; });
  await message(ann, "message 1").waitFor({ state: "attached" });
  await ann.getByText("The conversation begins here.").waitFor({ state: "attached" });
  await shows(ann, ...texts);
  await ann.getByRole("button", { name: "To the newest message" }).click();
  await hasUnread(ann, "bob", 0);
  // A quotation leads to what it is about, also when that was not read yet.
  await message(ann, "message 1").scrollIntoViewIfNeeded();
  await does(ann, "message 1", "Reply");
  await say(ann, "about the first");
  await ann.reload();
  await message(ann, "about the first").locator(".quote").click();
  await message(ann, "message 1").and(ann.locator(".flash")).waitFor();
  assert.equal((await textsOf(ann)).length, 141);
  nothingWrong(ann);
});

test("the members of a group do what their roles allow, and see it at once", async () => {
  const [ann, bob] = [await open("ann"), await open("bob")];
  await makeGroup(ann, "Rockets", "bob");
  await say(ann, "welcome");
  await choose(bob, "Rockets");
  for (const page of [ann, bob]) await page.getByRole("button", { name: "Details" }).click();
  const member = (page, user) => page.locator(`#members [data-user="${user}"]`);
  const act = async (page, user, what) => {
    await member(page, user).getByRole("button").click();
    await page.getByRole("menuitem", { name: what }).click();
  };
  await bob.getByText("you are a member").waitFor();
  assert.deepEqual([await bob.getByRole("button", { name: "Bring people in" }).count(), await bob.getByRole("button", { name: "Rename" }).count()], [0, 0]);
  await ann.getByRole("button", { name: "Bring people in" }).click();
  await ann.getByRole("textbox", { name: /^Names/ }).fill("eve, kim");
  await ann.getByRole("button", { name: "Bring in", exact: true }).click();
  await member(ann, "kim").waitFor();
  await act(ann, "bob", "Make an admin");
  await bob.getByText("you are an admin").waitFor();
  await member(ann, "bob").getByText("admin", { exact: true }).waitFor();
  const eve = await open("eve");
  await choose(eve, "Rockets");
  assert.deepEqual(await textsOf(eve), [], "who comes in later does not see what was said before");
  await act(bob, "kim", "Remove from the group");
  await member(bob, "kim").waitFor({ state: "detached" });
  await act(bob, "eve", "Make a reader");
  await eve.getByText("You may read here, and not write.").waitFor();
  await bob.getByRole("button", { name: "Rename" }).click();
  await bob.getByRole("textbox", { name: "Title" }).fill("Big rockets");
  await bob.getByRole("dialog").getByRole("button", { name: "Rename" }).click();
  for (const page of [ann, bob, eve]) await page.locator("#title").getByText("Big rockets", { exact: true }).waitFor();
  await ann.getByRole("switch", { name: "Mute" }).click();
  await row(ann, "Big rockets").and(ann.locator(".muted")).waitFor();
  // An admin takes away what a reader has said while he was allowed to.
  await act(ann, "eve", "Make a member");
  await say(eve, "nonsense");
  await does(bob, "nonsense", "Withdraw");
  for (const page of [ann, bob]) await message(page, "A message of eve was withdrawn").waitFor();
  await ann.getByRole("button", { name: "Leave the group" }).click();
  await ann.getByRole("dialog").getByRole("button", { name: "Leave" }).click();
  await row(ann, "Big rockets").waitFor({ state: "detached" });
  await bob.getByText("you are the owner").waitFor();
  await bob.getByRole("button", { name: "Delete the group" }).click();
  await bob.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await eve.locator("#notes").getByText("The group was deleted.").waitFor();
  for (const page of [bob, eve]) await row(page, "Big rockets").waitFor({ state: "detached" });
  assert.equal((await api(server, "conversations", { user: "eve" })).count, 0);
  nothingWrong(ann, bob, eve);
});
