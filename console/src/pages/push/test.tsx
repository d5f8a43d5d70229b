// A test to oneself: the same content to one user, whom the browser remembers.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import type { Json } from "../../json.ts";
import { useLive } from "../../live.ts";
import { A } from "../../router.tsx";
import { t } from "../../words.ts";
import { Button, ErrorNote, Stale, Text, useRun } from "../../ui/parts.tsx";
import { OutcomeBadge, why } from "../../people/outcome.tsx";
import { messagePath } from "../../people/records.tsx";
import type { Pushed, Record, RecordPage } from "../../people/types.ts";

const kept = "skein.push.test";

export function TestSend({ content }: { content: { [name: string]: Json } | undefined }) {
  const [user, setUser] = useState(localStorage.getItem(kept) ?? "");
  const [sent, setSent] = useState("");
  const it = useRun();
  const send = () => void it.run(async () => {
    localStorage.setItem(kept, user);
    // A test replaces nothing that is real.
    const { collapse: _, ...rest } = content ?? {};
    const done = await call<Pushed>("push", { to: { users: [user.trim()] }, ...rest });
    setSent(done.id ?? "");
  });
  return (
    <form class="test-send" onSubmit={(e) => { e.preventDefault(); if (user.trim() && content) send(); }}>
      <Text label={t("test.user")} hint={t("test.hint")} value={user} onChange={setUser} />
      <Button type="submit" busy={it.busy} disabled={!user.trim() || !content}>{t("test.do")}</Button>
      <ErrorNote error={it.error} />
      {sent && <TestResult message={sent} />}
    </form>
  );
}

function TestResult({ message }: { message: string }) {
  const fate = useLive(async (signal): Promise<Record | null> => (await call<RecordPage>("records", { message, limit: 1 }, { signal })).items[0] ?? null, 1500, [message]);
  const record = fate.data.value;
  return (
    <div class="test-result" role="status">
      <Stale of={fate} />
      {record && <><OutcomeBadge of={record} /> <span>{why(record)}</span> <A to={messagePath(record)}>{t("test.more")}</A></>}
    </div>
  );
}
