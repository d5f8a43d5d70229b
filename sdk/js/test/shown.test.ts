// What a component shows of the inbox, against the server's own counts.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { InboxMessage, InboxPage } from "../src/index.js";
import { add, load, mark, nothing, remove, visible } from "../src/shown.js";

const letter = (seq: number, collapse?: string): InboxMessage => ({
  channel: "@inbox", id: `m${seq}`, seq, event: "message", data: seq, time: 0, ...(collapse && { collapse }),
});
const page = (messages: InboxMessage[], read = 0): InboxPage => ({
  messages: messages.map((message) => ({ ...message, outcome: "sent" })),
  more: false, epoch: "e", seq: messages.at(-1)?.seq ?? 0, read, unread: messages.filter(({ seq }) => seq > read).length,
});
const seqs = (messages: readonly InboxMessage[]) => messages.map(({ seq }) => seq);

test("nothing is said of what is not read before the server has", () => {
  const early = add(nothing, letter(1), 10);
  assert.deepEqual([seqs(early.messages), early.unread], [[1], undefined]);
  assert.equal(remove(early, letter(1)).unread, undefined);
  const known = load(early, page([letter(1)]), 10);
  assert.deepEqual([seqs(known.messages), known.unread, known.mark], [[1], 1, 0]);
});

test("what came while the page was on its way is kept, and counted", () => {
  const shown = load(add(add(nothing, letter(2), 10), letter(3), 10), page([letter(1), letter(2)]), 10);
  assert.deepEqual([seqs(shown.messages), shown.unread], [[1, 2, 3], 3]);
  const later = load(shown, page([letter(2), letter(3)]), 10);
  assert.deepEqual([seqs(later.messages), later.unread], [[2, 3], 2], "what was withdrawn while nobody was told is gone");
});

test("a message that was put off goes to its place, and was counted before", () => {
  const shown = add(load(nothing, page([letter(1), letter(2), letter(3)]), 10), letter(2), 10);
  assert.deepEqual([seqs(shown.messages), shown.unread], [[1, 2, 3], 3]);
});

test("the mark never goes back, and none but the newest are kept", () => {
  const full = [1, 2, 3, 4].map((seq) => letter(seq)).reduce((all, m) => add(all, m, 3), load(nothing, page([]), 3));
  assert.deepEqual([seqs(full.messages), full.unread], [[2, 3, 4], 4]);
  const read = mark(full, { read: 3, unread: 1 });
  assert.deepEqual([read.mark, read.unread], [3, 1]);
  assert.equal(mark(read, { read: 2, unread: 2 }), read);
  assert.equal(remove(read, letter(9)), read, "what is not there changes nothing");
});

test("a message takes the place of older ones of its category, and not of a newer one that came first", () => {
  const of = (seq: number, category: string) => ({ ...letter(seq, "x"), category });
  const shown = [of(3, "news"), of(2, "orders"), of(1, "news"), of(4, "news")].reduce((all, m) => add(all, m, 10), load(nothing, page([]), 10));
  assert.deepEqual(seqs(visible(shown.messages)), [2, 4]);
  assert.deepEqual(seqs(visible(remove(shown, of(4, "news")).messages)), [2, 3], "when that is withdrawn, the one before is there again");
  assert.deepEqual(seqs(visible([letter(1), letter(2)])), [1, 2]);
});

test("messages, recalls and marks give what the server would count", () => {
  const step = fc.record({
    do: fc.constantFrom("push" as const, "again" as const, "recall" as const, "read" as const),
    which: fc.nat(30), collapse: fc.constantFrom(undefined, "x", "y"),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    let there: InboxMessage[] = [];
    let [seq, read] = [0, 0];
    let shown = load(nothing, page([]), 100);
    for (const s of steps) {
      const one = there[s.which % there.length];
      if (s.do === "push") {
        const message = letter(++seq, s.collapse);
        there = [...there, message];
        shown = add(shown, message, 100);
      } else if (s.do === "again" && one) shown = add(shown, one, 100);
      else if (s.do === "recall" && one) {
        there = there.filter((m) => m !== one);
        shown = remove(shown, one);
      } else if (s.do === "read") {
        read = Math.max(read, Math.min(s.which, seq));
        shown = mark(shown, { read, unread: there.filter((m) => m.seq > read).length });
      }
      assert.deepEqual(seqs(shown.messages), seqs(there));
      assert.equal(shown.unread, there.filter((m) => m.seq > read).length);
    }
  }));
});
