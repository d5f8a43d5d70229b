// Reads integers that a JavaScript number cannot hold as bigints, and writes them.
export const parse = (text) => JSON.parse(
  text.replace(/"(?:[^"\\]|\\.)*"|(?<![\w.+-])-?\d{16,}(?![\d.eE])/g, (token) =>
    token[0] === '"' || Number.isSafeInteger(Number(token)) ? token : `"\\u0000${token}"`),
  (_, value) => (typeof value === "string" && /^\0-?\d+$/.test(value) ? BigInt(value.slice(1)) : value),
);

export const stringify = (value) => JSON.stringify(
  value, (_, v) => (typeof v === "bigint" ? `\0${v}` : v),
).replace(/"\\u0000(-?\d+)"/g, "$1");
