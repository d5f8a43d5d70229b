// The game: a desk and tablets that change the same characters, each window a
// browser of its own, with a network that is pulled and a server that dies.

import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "./browser.mjs";
import { again, entry, game, nothingWrong, numbers, open, place, press, read, says, server, settled, shows, stored, table, up } from "./game.mjs";
import { api } from "./server.mjs";

test("a desk and two tablets see each other's changes, and at once", async (t) => {
  const [desk, anna, ben] = await table("anna", "ben");
  await press(desk, "Ben: Hit points −5");
  for (const page of [desk, anna, ben]) await shows(page, "ben", "hp", 27);
  await press(anna, "Anna: Hit points −1");
  for (const page of [desk, anna, ben]) await shows(page, "anna", "hp", 23);
  await press(anna, "Anna: bow +1");
  await shows(desk, "anna", "skill-bow", 5);
  await shows(desk, "anna", "points", 2);
  await desk.getByRole("button", { name: "A point for all" }).click();
  await shows(ben, "ben", "points", 3);
  await desk.getByRole("button", { name: "Next round" }).click();
  for (const page of [anna, ben]) await page.getByText("Round 2").waitFor();
  await ben.getByText(/^(1:00|0:5\d) left$/).waitFor();

  // From the click on the desk until the tablet's page has changed, and until the
  // frame after that is drawn.
  const times = [], frames = [];
  for (let i = 0; i < 20; i++) {
    const before = await read(ben, "ben", "gold");
    const seen = ben.evaluate(([selector]) => new Promise((resolve) => {
      const now = () => performance.timeOrigin + performance.now();
      new MutationObserver((_, observer) => {
        observer.disconnect();
        const changed = now();
        requestAnimationFrame(() => setTimeout(() => resolve([changed, now()])));
      }).observe(document.querySelector(selector), { childList: true });
    }), [place("ben", "gold")]);
    const clicked = desk.evaluate(() => new Promise((resolve) => {
      addEventListener("click", () => resolve(performance.timeOrigin + performance.now()), { capture: true, once: true });
    }));
    await ben.evaluate(() => 0); // both listen now
    await desk.evaluate(() => 0);
    await press(desk, "Ben: Gold +1");
    const [changed, drawn] = await seen;
    times.push(changed - await clicked);
    frames.push(drawn - await clicked);
    await shows(ben, "ben", "gold", before + 1);
  }
  const middle = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  t.diagnostic(`click on the desk to change on the tablet: median ${middle(times).toFixed(1)} ms, slowest ${times.at(-1).toFixed(1)} ms; drawn: median ${middle(frames).toFixed(1)} ms`);
  assert.ok(middle(times) < 250, `a change takes ${middle(times)} ms`);
  nothingWrong(desk, anna, ben);
});

test("an edit shows before the server has answered", async () => {
  const [desk] = await table();
  const now = await desk.evaluate(([selector]) => {
    document.querySelector('[aria-label="Anna: Gold +1"]').click();
    const number = document.querySelector(selector);
    return [number.textContent, number.getAnimations().length];
  }, [place("anna", "gold")]);
  assert.deepEqual(now, ["13", 1], "the number, and that it flashes");
  await settled(desk);
  assert.equal((await stored()).players.anna.gold, 13);
});

test("200 fast clicks from each of two pages at once lose nothing", async () => {
  const [desk, anna] = await table("anna");
  const click = (page) => page.evaluate(() => {
    const button = document.querySelector('[aria-label="Anna: Gold +1"]');
    for (let i = 0; i < 200; i++) button.click();
  });
  await Promise.all([click(desk), click(anna)]);
  for (const page of [desk, anna]) await settled(page);
  for (const page of [desk, anna]) await shows(page, "anna", "gold", 412);
  assert.equal((await stored()).players.anna.gold, 412);
  nothingWrong(desk, anna);
});

test("the network is pulled, both sides go on, and agree when it is back", async () => {
  const [desk, anna, ben] = await table("anna", "ben");
  await anna.pull();
  for (let i = 0; i < 4; i++) await press(anna, "Anna: Gold +1");
  await press(anna, "Anna: Hit points −1");
  await press(anna, "Anna: bow +1");
  await shows(anna, "anna", "gold", 16); // it goes on as if nothing had happened
  await anna.getByText("6 unsent").waitFor();

  await press(desk, "Anna: Gold +1");
  await press(desk, "Anna: Gold +1");
  await press(desk, "Anna: Hit points −5");
  await press(ben, "Ben: Hit points −1");
  await desk.getByLabel("Name of the new character").fill("Dora");
  await desk.getByRole("button", { name: "Add" }).click();
  await shows(desk, "anna", "gold", 14);
  assert.equal(await read(anna, "anna", "gold"), 16);

  await anna.plug();
  for (const page of [desk, anna]) {
    await settled(page);
    await shows(page, "anna", "gold", 18);
    await shows(page, "anna", "hp", 18);
    await shows(page, "anna", "points", 2);
    await shows(page, "anna", "skill-bow", 5);
    await shows(page, "ben", "hp", 31);
    await page.locator('[data-player="dora"]').waitFor();
  }
  await ben.locator('[data-player="dora"]').waitFor();
  await shows(ben, "anna", "hp", 18);
  assert.deepEqual(await numbers(desk), await numbers(anna));
  assert.deepEqual(await numbers(desk), await numbers(ben));
  const { players } = await stored();
  assert.deepEqual([players.anna.gold, players.anna.hp, players.anna.points, players.anna.skills.bow], [18, 18, 2, 5]);
  await entry(desk, "Anna: bow 4 → 5, points 3 → 2").waitFor();
  await eventually(async () => assert.equal(await entry(desk, "Anna: bow 4 → 5, points 3 → 2").locator("b").textContent(), "anna"));
  nothingWrong(desk, anna, ben);
});

test("the desk's network is pulled, too", async () => {
  const [desk, anna] = await table("anna");
  await Promise.all([desk.pull(), anna.pull()]);
  await desk.getByRole("button", { name: "A point for all" }).click();
  await press(desk, "Anna: level up");
  await press(anna, "Anna: stealth +1");
  await shows(desk, "anna", "points", 6);
  await shows(anna, "anna", "points", 2);
  await anna.plug();
  await desk.plug();
  for (const page of [desk, anna]) {
    await settled(page);
    await shows(page, "anna", "points", 5);
    await shows(page, "anna", "skill-stealth", 3);
    await shows(page, "anna", "hp", 29);
  }
  const { players } = await stored();
  assert.deepEqual([players.anna.points, players.ben.points, players.cleo.points, players.anna.level], [5, 3, 5, 3]);
  nothingWrong(desk, anna);
});

for (const [direction, what] of [["up", "edits"], ["down", "answers"]]) {
  test(`a network that loses ${what} without a word loses and doubles nothing`, async () => {
    const [desk, anna] = await table("anna");
    anna.net.swallow(direction);
    for (let i = 0; i < 5; i++) await press(anna, "Anna: Gold +1");
    await press(desk, "Anna: Gold +1");
    await press(desk, "Anna: Gold +1");
    await shows(desk, "anna", "gold", direction === "up" ? 14 : 19);
    await anna.getByText("5 unsent").waitFor();
    await shows(anna, "anna", "gold", direction === "up" ? 19 : 17); // what the desk did comes a moment later
    anna.net.cut();
    anna.net.mend();
    await settled(anna);
    for (const page of [desk, anna]) await shows(page, "anna", "gold", 19);
    assert.equal((await stored()).players.anna.gold, 19);
    await eventually(async () => assert.equal(await desk.locator(".feed li").count(), 8));
    nothingWrong(desk, anna);
  });
}

test("two tablets spend the same points while they are apart: no point is spent twice", async () => {
  const [desk, one, two] = await table("anna", "anna");
  await Promise.all([one.pull(), two.pull()]);
  for (let i = 0; i < 3; i++) await press(one, "Anna: bow +1");
  for (let i = 0; i < 2; i++) await press(two, "Anna: herbs +1");
  assert.equal(await read(one, "anna", "points"), 0);
  await one.getByLabel("Anna: bow +1", { exact: true }).dispatchEvent("click"); // nothing left: nothing happens
  assert.equal(await read(one, "anna", "skill-bow"), 7);
  await one.plug();
  await settled(one);
  await two.plug();
  await says(two, "Anna: there is not enough left. Somebody was faster.");
  for (const page of [desk, one, two]) {
    await settled(page);
    await shows(page, "anna", "points", 0);
    await shows(page, "anna", "skill-bow", 7);
    await shows(page, "anna", "skill-herbs", 1);
  }
  nothingWrong(desk, one, two);
});

test("a forbidden edit shows, snaps back and says why", async () => {
  const [desk, anna] = await table("anna");
  await anna.evaluate(([selector]) => {
    window.seen = [];
    const el = document.querySelector(selector);
    new MutationObserver(() => window.seen.push(el.textContent)).observe(el, { childList: true });
  }, [place("ben", "hp")]);
  await press(anna, "Ben: Hit points −1");
  await says(anna, "Only the desk may change Ben.");
  await eventually(async () => assert.deepEqual(await anna.evaluate(() => window.seen), ["31", "32"]));
  assert.equal((await stored()).players.ben.hp, 32);
  await eventually(async () => assert.equal(await desk.locator(".feed li").count(), 1, "it makes no version"));
  await anna.getByLabel("Close the message").click();
  await eventually(async () => assert.equal(await anna.locator("#notes div").count(), 0));

  // The same without a network: the refusal comes when it is back, and what was allowed stays.
  await anna.pull();
  await press(anna, "Ben: Hit points −1");
  await press(anna, "Anna: Gold −1");
  await shows(anna, "ben", "hp", 31);
  await anna.plug();
  await says(anna, "Only the desk may change Ben.");
  await shows(anna, "ben", "hp", 32);
  await shows(desk, "anna", "gold", 11);
  nothingWrong(desk, anna);
});

test("the desk takes changes back: alone, after a conflict, and back again", async () => {
  const [desk, anna] = await table("anna");
  await press(anna, "Anna: bow +1");
  await press(desk, "Anna: Points +1");
  // What was added is subtracted, whatever came since.
  await entry(desk, "Anna: bow 4 → 5, points 3 → 2").getByRole("button").click();
  for (const page of [desk, anna]) {
    await shows(page, "anna", "skill-bow", 4);
    await shows(page, "anna", "points", 4);
  }
  const undone = entry(desk, "Anna: bow 4 → 5, points 3 → 2");
  await undone.getByRole("button", { name: "Undone" }).waitFor();
  await eventually(async () => assert.equal(await undone.getAttribute("data-undone"), "true"));
  const back = desk.locator(".feed li", { hasText: "by undo: Anna: " });
  await eventually(async () => assert.equal(await back.locator("b").textContent(), "desk"));

  // An undo is undone.
  await back.getByRole("button", { name: /^Redo/ }).click();
  await shows(anna, "anna", "skill-bow", 5);
  await undone.getByRole("button", { name: /^Undo version/ }).waitFor();

  // A conflict is said in words.
  await desk.getByRole("button", { name: "Heal all" }).click();
  await shows(anna, "anna", "hp", 30);
  await press(anna, "Anna: Hit points −1");
  const heal = entry(desk, "Anna: hit points 24 → 30 · Ben: hit points 32 → 36 · Cleo: hit points 8 → 18");
  await heal.getByRole("button", { name: /^Undo version/ }).click();
  const trouble = heal.getByRole("alert");
  await trouble.waitFor();
  await eventually(async () => assert.match(await trouble.textContent(), /^Not undone: version \d+ \(user "anna"\) has changed Anna's hit points since\. That would be lost\./));
  await trouble.getByRole("button", { name: "Leave it" }).click();
  await eventually(async () => assert.equal(await trouble.count(), 0));
  assert.equal(await read(desk, "anna", "hp"), 29);
  await heal.getByRole("button", { name: /^Undo version/ }).click();
  await trouble.getByRole("button", { name: "Undo anyway" }).click();
  for (const page of [desk, anna]) {
    await shows(page, "anna", "hp", 24);
    await shows(page, "ben", "hp", 32);
    await shows(page, "cleo", "hp", 8);
  }
  nothingWrong(desk, anna);
});

test("who changed what and when stands on the desk, also for what came before it was opened", async () => {
  const [desk, anna] = await table("anna");
  await press(anna, "Anna: Gold +1");
  await desk.getByRole("button", { name: "A point for all" }).click();
  await desk.getByRole("button", { name: "Next round" }).click();
  await press(desk, "Cleo: level up");
  await entry(desk, "Cleo: level 2 → 3, points 5 → 7, most hit points 18 → 23, hit points 8 → 13").waitFor();
  await api(server, "doc.patch", { channel: `arena:${game}`, ops: [{ op: "merge", path: "/players/ben", value: { gold: 1 } }], by: "banker" });
  await entry(desk, "Ben: changed").waitFor();
  const lines = (page) => page.locator(".feed li").evaluateAll((list) => list.map((li) => `${li.querySelector("b").textContent}: ${li.querySelector(".what").textContent}`));
  const want = [
    "banker: Ben: changed",
    "desk: Cleo: level 2 → 3, points 5 → 7, most hit points 18 → 23, hit points 8 → 13",
    "desk: round 2, started the clock",
    "desk: Anna: points 3 → 4 · Ben: points 2 → 3 · Cleo: points 4 → 5",
    "anna: Anna: gold 12 → 13",
    "desk: set up the game",
  ];
  assert.deepEqual(await lines(desk), want);
  const second = await open("desk");
  await entry(second, "set up the game").waitFor();
  assert.deepEqual(await lines(second), want);
  const written = await desk.locator(".feed time").first().getAttribute("datetime");
  assert.ok(Math.abs(Date.parse(written) - Date.now()) < 60_000, written);
  nothingWrong(desk, second, anna);
});

test("a long history comes in pages", async () => {
  const [desk] = await table();
  for (let i = 0; i < 120; i++) await api(server, "doc.patch", { channel: `arena:${game}`, ops: [{ op: "inc", path: "/players/anna/gold", by: 1 }], by: "banker" });
  await shows(desk, "anna", "gold", 132);
  const second = await open("desk");
  await entry(second, "Anna: gold 131 → 132").waitFor();
  const older = second.getByRole("button", { name: "Show older ones" });
  await older.click();
  await entry(second, "Anna: gold 40 → 41").waitFor();
  await older.click();
  await entry(second, "set up the game").waitFor();
  await older.waitFor({ state: "hidden" });
  await eventually(async () => assert.equal(await second.locator(".feed li").count(), 121));
  nothingWrong(desk, second);
});

test("the desk adds a character and removes one, and a late edit does not bring it back", async () => {
  const [desk, anna, ben] = await table("anna", "ben");
  await desk.getByLabel("Name of the new character").fill("Dora of Dale");
  await desk.getByLabel("Class of the new character").selectOption("Mage");
  await desk.getByLabel("Name of the new character").press("Enter");
  for (const page of [desk, anna, ben]) await page.locator('[data-player="dora-of-dale"]', { hasText: "Dora of Dale" }).waitFor();
  assert.deepEqual((await stored()).players["dora-of-dale"].skills, { fire: 2, lore: 1 });
  await desk.getByLabel("Name of the new character").fill("Anna");
  await desk.getByLabel("Name of the new character").press("Enter");
  await says(desk, "Anna is in the game already.");
  assert.equal((await stored()).players.anna.class, "Ranger");

  await ben.pull();
  await press(desk, "Remove Ben");
  for (const page of [desk, anna]) await page.locator('[data-player="ben"]').waitFor({ state: "detached" });
  await press(ben, "Ben: Gold +1");
  await ben.plug();
  await says(ben, "Ben is not in the game any more.");
  await ben.getByText("ben is not in the game.").waitFor();
  assert.equal("ben" in (await stored()).players, false);

  await entry(desk, "Ben: removed").getByRole("button").click();
  for (const page of [desk, anna, ben]) await shows(page, "ben", "hp", 32);
  // Who is not in the game may join it, for the place is theirs.
  const eve = await open("player=eve");
  await eve.getByRole("button", { name: "Join" }).click();
  await shows(eve, "eve", "hp", 20);
  await desk.locator('[data-player="eve"]').getByText("tablet on").waitFor();
  await eve.getByLabel("Another skill").fill("Flute");
  await eve.getByLabel("Another skill").press("Enter");
  await shows(desk, "eve", "skill-flute", 1);
  await shows(desk, "eve", "points", 2);
  nothingWrong(desk, anna, ben, eve);
});

test("two desks begin one game, and it can be begun anew", async () => {
  const early = await open("player=anna");
  await early.getByText("The desk has not begun the game.").waitFor();
  const [one, two] = await Promise.all([open("desk"), open("desk")]);
  for (const page of [one, two, early]) await shows(page, "anna", "gold", 12);
  assert.equal((await api(server, "doc.get", { channel: `arena:${game}` })).version, 1);
  await entry(one, "set up the game").getByRole("button").click();
  for (const page of [one, two]) await page.getByText("There is no game here.").waitFor();
  await two.getByRole("button", { name: "Begin a new one" }).click();
  for (const page of [one, two, early]) await shows(page, "anna", "gold", 12);
  // Whoever comes later sees no more of a history that was forgotten.
  await api(server, "doc.delete", { channel: `arena:${game}`, forget: true });
  for (const page of [one, two]) await page.getByText("There is no game here.").waitFor();
  await one.getByRole("button", { name: "Begin a new one" }).click();
  for (const page of [one, two, early]) await shows(page, "anna", "gold", 12);
  await press(early, "Anna: Gold +1");
  for (const page of [one, two]) await entry(page, "Anna: gold 12 → 13").waitFor();
  await two.reload();
  await entry(two, "cleared the game").waitFor();
  await eventually(async () => assert.deepEqual(await two.locator(".feed .what").allTextContents(), ["Anna: gold 12 → 13", "set up the game", "cleared the game"]));
  nothingWrong(one, two, early);
});

test("a page that is loaded again shows the state", async () => {
  const [desk, anna] = await table("anna");
  await press(desk, "Anna: Gold +1");
  await press(anna, "Anna: bow +1");
  for (const page of [desk, anna]) {
    await settled(page);
    await page.reload();
    await shows(page, "anna", "gold", 13);
    await shows(page, "anna", "skill-bow", 5);
    await shows(page, "anna", "points", 2);
  }
  nothingWrong(desk, anna);
});

test("a server that is killed and started again has all that it confirmed, and gets its pages back", async () => {
  const [desk, anna] = await table("anna");
  // Clicks go on until the server is dead, so that some are on their way.
  const hammer = (page, label) => page.evaluate((label) => {
    window.timer = setInterval(() => document.querySelector(`[aria-label="${label}"]`).click(), 20);
  }, label);
  await hammer(desk, "Anna: Gold +1");
  await hammer(anna, "Anna: Gold +1");
  await desk.waitForFunction(() => document.querySelectorAll(".feed li").length > 20);
  await server.kill();
  for (const page of [desk, anna]) {
    await page.waitForSelector('#state[data-state="wait"]');
    await page.evaluate(() => clearInterval(window.timer));
  }
  const confirmed = await desk.locator(".feed li").count() - 1; // besides the beginning
  await again();
  for (const page of [desk, anna]) {
    await up(page);
    await settled(page);
  }
  await press(desk, "Anna: Points +1");
  for (const page of [desk, anna]) await shows(page, "anna", "points", 4);
  const { gold } = (await stored()).players.anna;
  for (const page of [desk, anna]) await shows(page, "anna", "gold", gold);
  assert.ok(gold >= 12 + confirmed, `${gold} gold after ${confirmed} confirmed clicks`);
  const { patches } = await api(server, "doc.history", { channel: `arena:${game}`, limit: 500 });
  const added = patches.flatMap(({ ops }) => ops).filter(({ op, path }) => op === "inc" && path === "/players/anna/gold").length;
  assert.equal(gold, 12 + added);
  nothingWrong(desk, anna);
});

test("each click counts once when the server dies under it", async () => {
  const [desk, anna] = await table("anna");
  const clicks = await Promise.all([desk, anna].map((page) => page.evaluate(() => new Promise((resolve) => {
    const button = document.querySelector('[aria-label="Anna: Gold +1"]');
    let n = 0;
    const timer = setInterval(() => {
      button.click();
      if (++n === 60) resolve(n, clearInterval(timer));
    }, 15);
  }))).concat(desk.waitForFunction(() => document.querySelectorAll(".feed li").length > 30).then(async () => {
    await server.kill();
    await again();
    return 0;
  })));
  for (const page of [desk, anna]) {
    await up(page);
    await settled(page);
  }
  const want = 12 + clicks[0] + clicks[1];
  for (const page of [desk, anna]) await shows(page, "anna", "gold", want);
  assert.equal((await stored()).players.anna.gold, want);
  nothingWrong(desk, anna);
});
