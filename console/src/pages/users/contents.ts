// What the messages of records say: records do not hold it, inboxes do, as long as they
// keep a message.

import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../../api.ts";
import type { InboxItem, InboxPage, Record } from "../../people/types.ts";

// contentOf reads one message of an inbox; undefined: it is not there any more, because it
// was recalled, has expired, was never put there, or was too long ago.
export async function contentOf(user: string, record: { message: string; seq: number }, signal?: AbortSignal): Promise<InboxItem | undefined> {
  if (record.seq < 1) return undefined;
  const page = await call<InboxPage>("inbox.list", { user, before: record.seq + 1, limit: 1 }, signal ? { signal } : {});
  return page.items.find((i) => i.id === record.message);
}

// useContents reads what the messages of some records of a user say, a page at a time. null
// is a message that is not in the inbox.
export function useContents(user: string, rows: Record[]): Map<string, InboxItem | null> {
  const known = useRef(new Map<string, InboxItem | null>());
  const [, shown] = useState(0);
  const [tries, setTries] = useState(0);
  const missing = rows.filter((r) => !known.current.has(r.message));
  const wanted = missing.map((r) => r.message).join();
  useEffect(() => {
    if (missing.length === 0) return;
    const abort = new AbortController();
    let timer = 0;
    void (async () => {
      let rest = missing;
      while (rest.length > 0) {
        const top = rest.reduce((n, r) => Math.max(n, r.seq), 0);
        const page = await call<InboxPage>("inbox.list", { user, before: top + 1, limit: 200 }, { signal: abort.signal });
        const lowest = page.more ? page.items.reduce((n, i) => Math.min(n, i.seq), top) : 0;
        for (const i of page.items) known.current.set(i.id, i);
        for (const r of rest) if (r.seq >= lowest && !known.current.has(r.message)) known.current.set(r.message, null);
        rest = rest.filter((r) => !known.current.has(r.message));
        shown((n) => n + 1);
      }
    })().catch(() => {
      // The list itself says what is wrong.
      if (!abort.signal.aborted) timer = window.setTimeout(() => setTries(tries + 1), 3000);
    });
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [user, wanted, tries]);
  return known.current;
}
