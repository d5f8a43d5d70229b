// What an edit of a document amounts to, and what taking a version back changes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { format, parse, type Json } from "../src/json.ts";
import { applied, changesOf, merged, operations, sum, undone, type Version } from "../src/ops.ts";

const same = (got: Json | undefined, want: Json | undefined) => assert.equal(format(got), format(want));

test("the operations of an edit make the one value of the other", () => {
  for (const [before, after, ops] of [
    ['{"a":1}', '{"a":1}', "[]"],
    ['{"a":1,"b":{"c":2}}', '{"a":1,"b":{"c":3,"d/~":null}}', '[{"op":"set","path":"/b/c","value":3},{"op":"set","path":"/b/d~1~0","value":null}]'],
    ['{"a":1,"b":2}', '{"b":2}', '[{"op":"remove","path":"/a"}]'],
    ['{"l":[1,2]}', '{"l":[1,3]}', '[{"op":"set","path":"/l","value":[1,3]}]'],
    ["null", '{"a":1}', '[{"op":"set","path":"","value":{"a":1}}]'],
    ["[1]", "7", '[{"op":"set","path":"","value":7}]'],
    ['{"n":9007199254740993}', '{"n":9007199254740992}', '[{"op":"set","path":"/n","value":9007199254740992}]'],
    ['{"n":1.0}', '{"n":1.00}', '[{"op":"set","path":"/n","value":1.00}]'],
    ['{"__proto__":{"a":1}}', '{"__proto__":{"a":2}}', '[{"op":"set","path":"/__proto__/a","value":2}]'],
  ] as const) {
    const got = operations(parse(before), parse(after));
    assert.equal(format(got), ops);
    same(applied(parse(before), got), parse(after));
  }
  const large = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`n${i}`, i]));
  assert.deepEqual(operations({}, large), [{ op: "set", path: "", value: large }], "more than the server takes at once");
});

test("sums are exact where both are whole", () => {
  same(sum(parse("9007199254740993") as never, 2), parse("9007199254740995"));
  same(sum(5, parse("9007199254740993") as never, -1), parse("-9007199254740988"));
  same(sum(0.5, 0.25), 0.75);
  same(merged(parse('{"a":{"b":1,"c":2}}'), parse('{"a":{"b":null,"d":[null]}}')), parse('{"a":{"c":2,"d":[null]}}'));
});

const version = (text: string) => ({ version: 1, time: 0, ...(parse(text) as object) }) as Version;

test("what a version has changed, place by place", () => {
  const v = version('{"ops":[{"op":"set","path":"/a/b","value":1},{"op":"merge","path":"/m","value":{"x":null,"y":{"z":1}}},{"op":"inc","path":"/n","by":2,"value":5},{"op":"append","path":"/l","value":"e"},{"op":"remove","path":"/r"}],'
    + '"old":[{"op":0,"path":""},{"op":1,"path":"/m/x","value":1},{"op":1,"path":"/m/y"},{"op":2,"path":"/n","value":3},{"op":3,"path":"/l","index":2},{"op":4,"path":"/r","value":[0]}]}');
  assert.deepEqual(changesOf(v).map((c) => `${c.path} ${format(c.before ?? "none")} ${format(c.after ?? "none")}`), [
    '/a/b "none" 1', '/m/x 1 "none"', '/m/y "none" {"z":1}', "/n 3 5", '/l/2 "none" "e"', '/r [0] "none"',
  ]);
});

test("taking a version back", () => {
  for (const [now, done, want] of [
    ['{"n":15}', '{"ops":[{"op":"inc","path":"/n","by":-7,"value":13}],"old":[{"op":0,"path":"/n","value":20}]}', '{"n":22}'],
    ['{"n":2}', '{"ops":[{"op":"inc","path":"/n","by":2,"value":2}],"old":[{"op":0,"path":""}]}', undefined],
    ['{"n":2,"m":1}', '{"ops":[{"op":"inc","path":"/n","by":2,"value":2}],"old":[{"op":0,"path":"/n"}]}', '{"m":1}'],
    ['{"l":["a","new","e"]}', '{"ops":[{"op":"append","path":"/l","value":"e"}],"old":[{"op":0,"path":"/l","index":1}]}', '{"l":["a","new"]}'],
    ['{"l":["e"],"k":1}', '{"ops":[{"op":"append","path":"/l","value":"e"}],"old":[{"op":0,"path":"/l"}]}', '{"k":1}'],
    ['{"a":{"b":{"c":1}},"k":1}', '{"ops":[{"op":"set","path":"/a/b/c","value":1}],"old":[{"op":0,"path":"/a"}]}', '{"k":1}'],
    ['{"a":{"b":{"c":1},"other":2}}', '{"ops":[{"op":"set","path":"/a/b/c","value":1}],"old":[{"op":0,"path":"/a"}]}', '{"a":{"other":2}}'],
    ['{"x":"later"}', '{"ops":[{"op":"set","path":"/x","value":"then"}],"old":[{"op":0,"path":"/x","value":"before"}]}', '{"x":"before"}'],
    ["null", '{"ops":[{"op":"remove","path":""}],"old":[{"op":0,"path":"","value":{"a":1}}]}', '{"a":1}'],
  ] as const) {
    const got = undone(parse(now), version(done));
    if (want === undefined) assert.equal(got, undefined);
    else same(got, parse(want));
  }
});
