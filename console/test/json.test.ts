import { deepStrictEqual, strictEqual, throws } from "node:assert";
import { test } from "node:test";
import { equal, Exact, format, JsonError, parse } from "../src/json.ts";

test("what JSON.parse reads is read alike, and written back as it was", () => {
  for (const text of [
    "null", "true", "false", "0", "-1", "1.5", '""', '"a\\u00e9\\n\\"\\\\/"', "[]", "{}", '[1,[2,{"a":null}],"x"]', '{"a":{"b":[true]},"":0}',
    '"\\ud83d\\ude00"', '{"a/b~c":1,"constructor":2}',
  ]) {
    deepStrictEqual(parse(text), JSON.parse(text), text);
    deepStrictEqual(JSON.parse(format(parse(text))), JSON.parse(text), text);
    deepStrictEqual(parse(` \n${text}\t`), JSON.parse(text), text);
  }
});

test("numbers that JavaScript would change stay as they were written", () => {
  for (const text of ["9007199254740993", "0.10", "1e3", "-0", "1E+400", "123456789012345678901234567890", "1.0"]) {
    const value = parse(`{"n":${text}}`) as { n: unknown };
    strictEqual(value.n instanceof Exact, true, text);
    strictEqual(format(value), `{"n":${text}}`);
  }
  strictEqual(parse("9007199254740991"), 9007199254740991);
  strictEqual(equal(parse("1.0"), parse("1")), false);
  strictEqual(equal(parse('{"a":[9007199254740993]}'), parse('{ "a": [9007199254740993] }')), true);
});

test("a name may be any text, __proto__ too", () => {
  const value = parse('{"__proto__":{"polluted":true}}') as object;
  deepStrictEqual(Object.keys(value), ["__proto__"]);
  strictEqual((value as { polluted?: boolean }).polluted, undefined);
  strictEqual(format(value), '{"__proto__":{"polluted":true}}');
});

test("what is no JSON is refused, with line and column", () => {
  for (const [text, line, column] of [
    ["", 1, 1], ["{", 1, 2], ['{"a":1,}', 1, 8], ["[1,]", 1, 4], ["[1 2]", 1, 4], ["01", 1, 2], ["+1", 1, 1], ["'a'", 1, 1], ['"\t"', 1, 1], ['"\\x"', 1, 1],
    ['{\n  "a": tru\n}', 2, 8], ["NaN", 1, 1], ['{"a" 1}', 1, 6], ["{a:1}", 1, 2], ["1 1", 1, 3], ['"abc', 1, 1],
  ] as const) {
    throws(() => JSON.parse(text), SyntaxError, text);
    throws(() => parse(text), (e) => e instanceof JsonError && e.line === line && e.column === column, text);
  }
  throws(() => parse("[".repeat(5000) + "]".repeat(5000)), JsonError);
});

test("for people: one member a line", () => {
  strictEqual(format(parse('{"a":[1,{"b":2}],"c":{},"d":[]}'), 2), '{\n  "a": [\n    1,\n    {\n      "b": 2\n    }\n  ],\n  "c": {},\n  "d": []\n}');
});
