// Sending, after one has seen what it would do; and making it a campaign.

import { useRef, useState } from "preact/hooks";
import { call } from "../../api.ts";
import { number } from "../../format.ts";
import { format, type Json } from "../../json.ts";
import { useLive } from "../../live.ts";
import { go, path, setQuery } from "../../router.tsx";
import { t } from "../../words.ts";
import { Check, Stale, Text, toast, Waiting } from "../../ui/parts.tsx";
import { Form } from "../../ui/dialog.tsx";
import { EstimateView } from "../../people/estimate.tsx";
import type { Campaign, Pushed, Target } from "../../people/types.ts";

// few is how many people are written to without typing how many they are.
export const few = 20;

const listPage = 10_000; // users of one call

type Content = { [name: string]: Json };

const newKey = () => `console ${crypto.randomUUID()}`;

export function SendDialog({ target, content, userKey, onClose }: { target: Target; content: Content; userKey: string; onClose: () => void }) {
  const [key] = useState(userKey || newKey()); // the same when it is tried again: nobody gets it twice
  const [typed, setTyped] = useState("");
  const params = { to: target, ...content };
  const dry = useLive((signal) => call<Pushed>("push", { ...params, dry_run: true }, { signal }), 0);
  const it = dry.data.value;
  const many = it !== undefined && it.audience > few;
  const word = String(it?.audience ?? "");
  const run = async () => {
    const done = await call<Pushed>("push", params, { key });
    toast(t(done.duplicate ? "push.duplicate" : "done.sent"));
    if (done.campaign) go(path(["campaigns", done.campaign]));
    else setQuery({ sent: done.id });
    scrollTo(0, 0);
  };
  return (
    <Form title={t("send.title")} action={t("send.do")} danger={many} onClose={onClose} run={run} disabled={!it || it.audience === 0 || (many && typed !== word)}>
      <Stale of={dry} />
      {!it && !dry.error.value && <Waiting />}
      {it?.estimate && <EstimateView of={{ ...it.estimate, audience: it.audience }} />}
      {it?.audience === 0 && <p class="note warn">{t("send.nobody")}</p>}
      {it && "all" in target && <p class="note warn">{t("push.all.text")}</p>}
      {it && it.audience > 1000 && <p>{t("send.background")}</p>}
      {many && <Text label={t("send.type", { n: word })} value={typed} onChange={setTyped} />}
    </Form>
  );
}

export function CampaignDialog({ target, content, onClose }: { target: Target; content: Content; onClose: () => void }) {
  const [name, setName] = useState("");
  const [pace, setPace] = useState("");
  const [later, setLater] = useState(false);
  const [at, setAt] = useState("");
  const users = "users" in target ? target.users : [];
  const long = users.length > listPage;
  const made = useRef({ id: "", asked: "", added: 0 }); // a list that was begun is gone on with when it is tried again
  const run = async () => {
    const to = long ? { list: true as const } : target;
    const params = { name, to, ...content, ...(pace ? { pace: Number(pace) } : {}), ...(later && at ? { at: new Date(at).toISOString() } : {}) };
    const it = made.current;
    if (it.asked !== format(params)) Object.assign(it, { id: (await call<Campaign>("campaigns.create", params)).id, asked: format(params), added: 0 });
    for (; long && it.added < users.length; it.added += listPage) await call("campaigns.add", { id: it.id, users: users.slice(it.added, it.added + listPage) });
    go(path(["campaigns", it.id]));
  };
  const when = at ? new Date(at).getTime() : NaN;
  return (
    <Form title={t("push.campaign")} action={t("campaign.create")} onClose={onClose} run={run} disabled={!name.trim() || (later && Number.isNaN(when))}>
      <p class="soft">{t("campaign.create.text")}</p>
      <Text label={t("word.name")} value={name} onChange={setName} required />
      <Text label={t("campaign.pace")} hint={t("campaign.pace.hint")} type="number" min={1} max={1_000_000} value={pace} onChange={setPace} />
      <Check label={t("campaign.later")} value={later} onChange={setLater} />
      {later && <Text label={t("campaign.at")} hint={t("campaign.at.hint", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })} type="datetime-local" value={at} onChange={setAt} required />}
      {long && <p class="small soft">{t("campaign.list.n", { n: number(users.length) })}</p>}
    </Form>
  );
}

