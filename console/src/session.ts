// Who is logged in.

import { signal } from "@preact/signals";

export interface Session {
  user: string;
  role: "viewer" | "operator" | "admin";
  csrf: string;
  expires: number; // Unix milliseconds
  dev: boolean;
  verbs: string[];
}

// session is undefined until the server has said, null when nobody is logged in.
export const session = signal<Session | null | undefined>(undefined);

// why tells on the login page why one is there: the session expired, or the link was no good.
export const why = signal<"" | "expired" | "link">("");

// may tells whether the role runs a verb; what it does not run is not offered.
export function may(verb: string): boolean {
  return session.value?.verbs.includes(verb) ?? false;
}
