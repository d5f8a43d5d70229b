// How conversations between two users are called.

// What must not stand in a part of a channel's name, and what divides the parts.
const special = /[%:\p{Cc}\p{White_Space}]/gu;

// The order is that of the bytes, which for UTF-16 is another one.
const bytes = (id: string): string => Array.from(new TextEncoder().encode(id), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The channel of the conversation between two users: whoever asks, it is the same. */
export function directChannel(namespace: string, a: string, b: string): string {
  const users = bytes(a) < bytes(b) ? [a, b] : [b, a];
  return [namespace, ...users.map((id) => id.replace(special, encodeURIComponent))].join(":");
}
