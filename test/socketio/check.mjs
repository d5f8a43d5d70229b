// A test with a name, and the short list of those that the Node reference is known to fail.

import assert from "node:assert/strict";
import { basename } from "node:path";
import { after, test } from "node:test";
import { exceptions } from "./exceptions.mjs";

const reference = process.env.REFERENCE === "1";

// checks gives the `check` of one test file. `check(name, fn)` is a test; with
// the reference behind it, one that is in the list of exceptions has to fail,
// and every exception has to name a test, so that the list cannot go stale.
export function checks(file) {
  const known = new Map(Object.entries(exceptions[basename(file)] ?? {}));
  const seen = new Set();
  after(() => {
    assert.deepEqual([...known.keys()].filter((name) => !seen.has(name)), [], "exceptions that name no test");
  });
  return function check(name, options, fn = options) {
    if (typeof options === "function") options = {};
    seen.add(name);
    if (!reference || !known.has(name)) return test(name, { timeout: 30_000, ...options }, fn);
    return test(`${name} [the reference fails: ${known.get(name)}]`, { timeout: 30_000, ...options }, async (t) => {
      let error;
      try {
        await fn(t);
      } catch (e) {
        error = e;
      }
      assert.ok(error, "the reference passes; take the test off the list of exceptions");
      assert.ok(error instanceof assert.AssertionError, `it fails in another way: ${error?.stack}`);
    });
  };
}
