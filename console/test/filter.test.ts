// Filters: rows and JSON say the same.

import assert from "node:assert/strict";
import { test } from "node:test";
import { format, parse } from "../src/json.ts";
import { fromFilter, group, leaf, toFilter } from "../src/people/filter.ts";

const there = (text: string) => format(toFilter(fromFilter(parse(text))));

test("a filter becomes rows and the same filter again", () => {
  for (const text of [
    "{}",
    '{"tag":"vip"}',
    '{"not":{"tag":"vip"}}',
    '{"field":"/city","eq":"Oslo"}',
    '{"field":"/city","eq":""}',
    '{"field":"/city","in":["Oslo","Beijing"]}',
    '{"field":"/account","eq":9007199254740993}',
    '{"field":"/share","in":[0.10,0.2]}',
    '{"field":"/blocked","eq":false}',
    '{"field":"/city","exists":false}',
    '{"not":{"field":"/a~1b","prefix":"x y"}}',
    '{"all":[{"tag":"a"},{"any":[{"field":"/level","gte":3},{"not":{"all":[{"tag":"b"},{"tag":"c"}]}}]}]}',
    '{"not":{"any":[{"tag":"a"},{"tag":"b"}]}}',
    // What no row says is kept as it is written.
    '{"field":"/city","in":["Oslo, Norway"," x"]}',
    '{"field":"/city","in":[1,"a"]}',
    '{"field":"/city","eq":null}',
    '{"not":{"not":{"tag":"a"}}}',
    '{"all":[{},{"tag":"a"}]}',
    '{"unheard":1}',
  ]) assert.equal(there(text), text);
});

test("two bounds become two rows, and a single row needs no group around it", () => {
  assert.equal(there('{"field":"/level","gte":1,"lt":2.50}'), '{"all":[{"field":"/level","gte":1},{"field":"/level","lt":2.50}]}');
  assert.equal(there('{"all":[{"tag":"a"}]}'), '{"tag":"a"}');
});

test("a row that is not filled in makes the whole no filter, so that it chooses nobody else", () => {
  const tag = leaf({ is: "tag", value: "vip" });
  for (const open of [leaf(), leaf({ is: "tag" }), leaf({ field: "city", op: "in", value: " , " }), leaf({ field: "level", op: "gte", kind: "number", value: "ten" }), leaf({ field: "level", op: "lt", value: "" }), leaf({ is: "json", value: '{"tag"' }), group()]) {
    assert.equal(toFilter(group({ items: [tag, open] })), undefined, JSON.stringify(open));
  }
  assert.deepEqual(toFilter(group({ items: [leaf({ field: "city", value: "Oslo" })] })), { field: "/city", eq: "Oslo" });
});
