// JSON that keeps numbers as they were written. A JavaScript number holds neither
// 9007199254740993 nor 0.10; what the console shows, compares and sends back must not
// change them. A number that JavaScript would print as it was written stays a number;
// any other one is an Exact.

export class Exact {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
  toJSON(): number {
    return Number(this.text); // for JSON.stringify, which knows no better; format() does
  }
}

export type Json = null | boolean | number | string | Exact | Json[] | { [key: string]: Json };

// JsonError says where a text is not JSON: line and column begin at 1.
export class JsonError extends Error {
  readonly line: number;
  readonly column: number;
  constructor(text: string, at: number, message: string) {
    super(message);
    const before = text.slice(0, at).split("\n");
    this.line = before.length;
    this.column = (before[before.length - 1] ?? "").length + 1;
  }
}

const numberForm = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const stringForm = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const deepest = 200;

class Reader {
  private at = 0;
  private readonly text: string;
  constructor(text: string) {
    this.text = text;
  }

  whole(): Json {
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) throw this.fail("unexpected text behind the value");
    return value;
  }

  private fail(message: string): JsonError {
    return new JsonError(this.text, this.at, message);
  }

  private space(): void {
    while (" \t\r\n".includes(this.text[this.at] ?? "x")) this.at++;
  }

  private match(form: RegExp): string | undefined {
    form.lastIndex = this.at;
    const found = form.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  private value(depth: number): Json {
    if (depth > deepest) throw this.fail(`nested more than ${deepest} levels deep`);
    this.space();
    const c = this.text[this.at];
    if (c === "{") return this.object(depth);
    if (c === "[") return this.array(depth);
    if (c === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const number = this.match(numberForm);
    if (number === undefined) throw this.fail(c === undefined ? "the text ends too early" : `unexpected ${JSON.stringify(c)}`);
    return String(Number(number)) === number ? Number(number) : new Exact(number);
  }

  private string(): string {
    const found = this.match(stringForm);
    if (found === undefined) throw this.fail("a string that does not end, or with a character that must be escaped");
    return JSON.parse(found) as string;
  }

  private object(depth: number): Json {
    const members: [string, Json][] = [];
    this.at++;
    this.space();
    if (this.text[this.at] === "}") {
      this.at++;
      return {};
    }
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') throw this.fail("a name in quotes is missing");
      const name = this.string();
      this.space();
      if (this.text[this.at] !== ":") throw this.fail("a colon is missing");
      this.at++;
      members.push([name, this.value(depth + 1)]);
      this.space();
      const c = this.text[this.at];
      if (c !== "," && c !== "}") throw this.fail("a comma or } is missing");
      this.at++;
      if (c === "}") return Object.fromEntries(members); // defines, so that "__proto__" is a name like others
    }
  }

  private array(depth: number): Json {
    const list: Json[] = [];
    this.at++;
    this.space();
    if (this.text[this.at] === "]") {
      this.at++;
      return list;
    }
    for (;;) {
      list.push(this.value(depth + 1));
      this.space();
      const c = this.text[this.at];
      if (c !== "," && c !== "]") throw this.fail("a comma or ] is missing");
      this.at++;
      if (c === "]") return list;
    }
  }
}

// parse reads JSON; a JsonError says where it is none.
export function parse(text: string): Json {
  return new Reader(text).whole();
}

// format writes a value, numbers as they were. With indent it is for people.
export function format(value: unknown, indent = 0, level = 0): string {
  if (value instanceof Exact) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const parts = Array.isArray(value)
    ? value.map((v) => format(v, indent, level + 1))
    : Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) => `${JSON.stringify(k)}:${indent ? " " : ""}${format(v, indent, level + 1)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!indent || parts.length === 0) return `${open}${parts.join(",")}${close}`;
  const pad = "\n" + " ".repeat(indent * (level + 1));
  return `${open}${pad}${parts.join("," + pad)}\n${" ".repeat(indent * level)}${close}`;
}

// equal compares two values; 1 and 1.0 differ, since they are written differently.
export function equal(a: unknown, b: unknown): boolean {
  return format(a) === format(b);
}
