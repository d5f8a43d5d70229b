// The optimistic document against a model of the server: whatever is lost,
// refused or overtaken, the client ends where the server is, and shows at every
// moment the server's value with what is unanswered over it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { connect, path, SkeinError, type Change, type Op, type Skein } from "../src/index.js";
import { apply, reuse } from "../src/ops.js";
import { collect } from "./support/client.js";
import { carryOut, head, Model } from "./support/model.js";

const names = ["a", "b", "c"];
const place = fc.array(fc.constantFrom(...names), { maxLength: 3 }).map((list) => path(...list));
const leaf: fc.Arbitrary<any> = fc.oneof(fc.integer({ min: -5, max: 5 }), fc.constant(null), fc.constant("x"), fc.boolean());
const json: fc.Arbitrary<any> = fc.letrec<{ v: any }>((tie) => ({
  v: fc.oneof({ maxDepth: 3 }, leaf, fc.dictionary(fc.constantFrom(...names), tie("v"), { maxKeys: 3, noNullPrototype: true }), fc.array(tie("v"), { maxLength: 3 })),
})).v;
const op: fc.Arbitrary<any> = fc.oneof(
  fc.record({ op: fc.constantFrom("set", "merge", "append"), path: place, value: json }),
  fc.record({ op: fc.constant("remove"), path: place }),
  fc.record({ op: fc.constant("inc"), path: place, by: fc.integer({ min: -3, max: 3 }) }),
  fc.record({ op: fc.constant("inc"), path: place, by: fc.integer({ min: -3, max: 3 }), min: fc.constant(-2), max: fc.constant(4) }),
  fc.record({ op: fc.constant("test"), path: place, value: json }),
);
const ops = fc.array(op, { minLength: 1, maxLength: 3 });

type Outcome<T> = { value: T } | { code: string };
const outcome = <T>(work: () => T): Outcome<T> => {
  try {
    return { value: work() };
  } catch (e) {
    if (!(e instanceof SkeinError)) throw e;
    return { code: e.code };
  }
};

test("operations do what the specification says, and nothing in place", () => {
  fc.assert(fc.property(json, ops, (value, list) => {
    const before = JSON.stringify(value);
    const frozen = freeze(structuredClone(value));
    const mine = outcome(() => apply(frozen, list));
    const model = outcome(() => carryOut(value, list));
    assert.deepEqual(mine, "value" in model ? { value: model.value.value } : model);
    assert.equal(JSON.stringify(frozen), before);
    // What is told of it, with the sums, leads to the same.
    if ("value" in model && "value" in mine) assert.deepEqual(apply(frozen, model.value.told), mine.value);
  }), { numRuns: 5000, includeErrorInReport: true });
});

function freeze(value: any): any {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}

test("what an operation does not touch stays the same object", () => {
  const value = { players: { ana: { hp: 3 }, ben: { hp: 5 } }, log: [1] };
  const after = apply(value, [{ op: "inc", path: "/players/ana/hp", by: 1 }]);
  assert.equal(after.players.ben, value.players.ben);
  assert.equal(after.log, value.log);
  assert.notEqual(after.players.ana, value.players.ana);
  assert.equal(apply(value, [{ op: "set", path: "/players/ana/hp", value: 3 }]), value);
});

test("equal values are shared, and the result is always the new value", () => {
  fc.assert(fc.property(json, json, (old, value) => {
    const frozen = freeze(structuredClone(value));
    const result = reuse(freeze(old), frozen);
    assert.deepEqual(result, value);
    assert.equal(reuse(result, structuredClone(value)), result);
  }), { numRuns: 2000, includeErrorInReport: true });
});

test("a name like __proto__ is a name like any other", () => {
  const value = apply(JSON.parse('{"__proto__":{"a":1}}'), [{ op: "inc", path: "/__proto__/a", by: 1 }, { op: "set", path: "/x/__proto__", value: 1 }]);
  assert.equal(JSON.stringify(value), '{"__proto__":{"a":2},"x":{"__proto__":1}}');
  assert.equal(JSON.stringify(reuse(JSON.parse('{"__proto__":{"a":2},"x":0}'), value)), JSON.stringify(value));
  assert.equal(({} as any).a, undefined);
  assert.throws(() => apply({}, [{ op: "remove", path: "/constructor" }]), { code: "conflict" });
});

test("names with slashes and tildes are escaped", () => {
  assert.equal(path("players", "a/b~c", 7), "/players/a~1b~0c/7");
  assert.equal(path(), "");
  assert.deepEqual(apply(null, [{ op: "set", path: path("a/b~1", ""), value: 1 }]), { "a/b~1": { "": 1 } });
});

const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("patch" as const), ops, ifVersion: fc.option(fc.nat(3), { nil: undefined, freq: 8 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("other" as const), ops }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("up" as const), times: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("down" as const), times: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("cut" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("snapshot" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("refuse" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reset" as const) }) },
);

interface Sent { key: string; ops: Op[]; version?: number; code?: string }

test("the client converges, and every promise tells the truth", async () => {
  await fc.assert(fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
    const model = new Model();
    const skein = connect("http://model", { WebSocket: model.socket(), transports: ["websocket"] });
    const doc = skein.document("doc:x");
    const changes = collect<Change>(doc, "change");
    const sent: Sent[] = [];
    const unanswered = watchPatches(skein);
    try {
      await turn();
      for (const a of actions) {
        if (a.do === "patch") {
          const one: Sent = { key: "", ops: a.ops as Op[] };
          const promise = doc.patch(a.ops as Op[], a.ifVersion === undefined ? {} : { ifVersion: a.ifVersion });
          one.key = unanswered.at(-1)!.key;
          sent.push(one);
          promise.then((version) => { one.version = version; }, (e: SkeinError) => { one.code = e.code; });
        } else if (a.do === "other") model.other(a.ops);
        else if (a.do === "up") for (let i = 0; i < a.times; i++) model.up();
        else if (a.do === "down") for (let i = 0; i < a.times; i++) model.down();
        else if (a.do === "cut") model.cut();
        else if (a.do === "snapshot") model.snapshot();
        else if (a.do === "reset") model.reset();
        else model.refusals.push("denied");
        await turn();
        check();
      }
      // Everything arrives in the end.
      for (let quiet = 0; quiet < 3; ) {
        if (model.up() || model.down()) quiet = 0;
        else if (model.link?.subscribed) quiet++;
        await turn();
        check();
      }
      assert.equal(doc.version, head(model.state));
      assert.deepEqual(doc.value, model.state.versions.at(-1)!.value);
      assert.equal(doc.value, doc.base, "nothing is left over the server's value");
      assert.equal(doc.pending, 0);
      for (const { key, version, code } of sent) {
        const there = model.state.versions.flatMap((v, i) => (v.key === key ? [i] : []));
        assert.ok(version !== undefined || code !== undefined, "each patch was answered");
        if (code !== undefined) assert.deepEqual(there, [], `refused with ${code}, so it was not done`);
        else if (there.length) assert.deepEqual(there, [version]); // once, in the version that was told
      }
      assert.deepEqual(changes.list.at(-1)?.value, doc.value);
    } finally {
      skein.close();
    }

    function check(): void {
      if (doc.version === undefined) return assert.equal(doc.value, undefined);
      const { version } = doc;
      const had = [model.state, ...model.past].map(({ versions }) => versions[version]?.value);
      assert.ok(had.some((value) => isDeepStrictEqual(value, doc.base)), "the base is what the server had in that version");
      const pending = sent.filter((one) => one.code === undefined && !(one.version! <= version));
      if (!model.past.length) assert.equal(doc.pending, pending.length);
      if (doc.pending !== pending.length) return;
      let expected = doc.base;
      for (const { ops } of pending) {
        const result = outcome(() => apply(expected, ops));
        if ("value" in result) expected = result.value;
      }
      assert.deepEqual(doc.value, expected, "the value is the base with what is unanswered over it");
    }
  }), { numRuns: 400, includeErrorInReport: true });
});

/** Notes the patches that are asked for. */
function watchPatches(skein: Skein): { key: string; ops: Op[] }[] {
  const list: { key: string; ops: Op[] }[] = [];
  const ask = (skein as any)._ask;
  (skein as any)._ask = function (frame: any, ...rest: any[]) {
    if (frame.type === "patch") list.push(frame);
    return ask.call(this, frame, ...rest);
  };
  return list;
}
