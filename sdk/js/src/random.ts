/** A key that nobody else will choose: 128 random bits. */
export const key = (): string =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");
