// Sending a message to a channel or a connection.

import { useMemo, useState } from "preact/hooks";
import { call } from "../api.ts";
import { number } from "../format.ts";
import { t } from "../words.ts";
import { Form } from "./dialog.tsx";
import { JsonField, readJson } from "./json.tsx";
import { Area, Text, toast } from "./parts.tsx";

interface Published {
  id: string;
  seq?: number;
  connections: number;
  users: number;
  stored: boolean;
}

const many = 100; // from so many receivers on a word is asked for

// names reads a list: one a line.
export function names(text: string): string[] {
  return [...new Set(text.split("\n").map((line) => line.trim()).filter(Boolean))];
}

// once gives a key that stays as long as what is sent stays: sent again after a lost answer
// it is not done twice.
export function useOnce(...what: unknown[]): string {
  return useMemo(() => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join(""), what);
}

export function Publish({ to, reach = 0, onClose, done }: { to: { channel: string } | { connection: string }; reach?: number; onClose: () => void; done?: () => void }) {
  const [event, setEvent] = useState("");
  const [data, setData] = useState("");
  const [without, setWithout] = useState("");
  const [typed, setTyped] = useState("");
  const key = useOnce(event, data, without);
  const word = "channel" in to && reach >= many ? to.channel : undefined;
  const value = readJson(data);
  const run = async () => {
    const users = names(without);
    const got = await call<Published>("publish", {
      to, data: value.value, ...(event.trim() ? { event: event.trim() } : {}), ...(users.length > 0 ? { exclude: { users } } : {}),
    }, { key });
    toast(t("publish.done", { connections: number(got.connections), users: number(got.users) }));
    done?.();
  };
  return (
    <Form title={"channel" in to ? t("publish.channel") : t("publish.connection")} action={t("publish.do")} onClose={onClose} run={run} disabled={value.value === undefined || (word !== undefined && typed !== word)} wide>
      <p class="soft small">{"channel" in to ? to.channel : to.connection}</p>
      <Text label={t("word.event")} hint={t("publish.event.hint")} value={event} onChange={setEvent} autofocus />
      <JsonField label={t("publish.data")} hint={t("publish.data.hint")} value={data} onChange={setData} rows={6} />
      {"channel" in to && <Area label={t("publish.without")} hint={t("publish.without.hint")} value={without} onChange={setWithout} rows={2} />}
      {word !== undefined && <><p>{t("publish.many", { n: number(reach) })}</p><Text label={t("confirm.type", { word })} value={typed} onChange={setTyped} /></>}
    </Form>
  );
}
