// Writing a push: to whom, what, and what they will see of it.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../../api.ts";
import { useLive } from "../../live.ts";
import { setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { JsonField } from "../../ui/json.tsx";
import { Button, Card, Page, Select, Stale, Text } from "../../ui/parts.tsx";
import { address, begin, contentOf, draftOf, empty, keep, targetOf, type Draft } from "../../people/draft.ts";
import type { Campaign, Category } from "../../people/types.ts";
import { Audience } from "./audience.tsx";
import { Preview } from "./preview.tsx";
import { CampaignDialog, SendDialog } from "./send.tsx";
import { Sent } from "./sent.tsx";
import { TestSend } from "./test.tsx";
import { ToFields } from "./to.tsx";

export function Compose({ query, tabs }: { query: URLSearchParams; tabs: ComponentChildren }) {
  const [draft, setDraft] = useState<Draft>(() => begin(query));
  const [complete, setComplete] = useState(true); // the rows of the filter are filled in
  const [asking, setAsking] = useState<"" | "send" | "campaign">("");
  const [copied, setCopied] = useState("");
  const categories = useLive((signal) => call<{ items: Category[] }>("categories.list", {}, { signal }), 30_000);
  const copy = query.get("copy") ?? "";
  const original = useLive((signal) => (copy ? call<Campaign>("campaigns.get", { id: copy }, { signal }) : Promise.resolve(undefined)), 0, [copy]);
  const change = (what: Partial<Draft>) => {
    const next = { ...draft, ...what };
    setDraft(next);
    keep(next);
    setQuery(address(next));
  };
  const from = original.data.value;
  useEffect(() => {
    if (!from || copied === from.id) return;
    const next = draftOf(from);
    setCopied(from.id);
    setDraft(next);
    keep(next);
    setQuery({ ...address(next), copy: undefined });
  }, [from]);
  const target = targetOf(draft, complete);
  const content = contentOf(draft);
  const sent = query.get("sent") ?? "";
  return (
    <Page title={t("push.title")} lead={t("push.lead")} actions={<Button onClick={() => { setDraft({ ...empty }); keep(empty); setComplete(true); setQuery({ ...address(empty), to: undefined, sent: undefined, copy: undefined }); }}>{t("push.clear")}</Button>}>
      {tabs}
      {copy && <Stale of={original} />}
      {sent && <Sent message={sent} />}
      <div class="compose">
        <div>
          <Card title={t("push.to")}><ToFields draft={draft} change={change} onComplete={setComplete} /></Card>
          <Card title={t("push.what")}><Content draft={draft} change={change} categories={categories.data.value?.items ?? []} /></Card>
        </div>
        <div>
          <Card title={t("push.audience")}><Audience target={target} category={draft.category} /></Card>
          <Card title={t("push.preview")}><Preview content={content} /></Card>
          <Card title={t("push.send")}>
            <TestSend content={content} />
            <div class="send-foot">
              {may("campaigns.create") && <Button disabled={!target || !content} onClick={() => setAsking("campaign")}>{t("push.campaign")}</Button>}
              <Button kind="main" disabled={!target || !content} onClick={() => setAsking("send")}>{t("push.now")}</Button>
            </div>
            {(!target || !content) && <p class="small soft">{t(target ? "push.missing.data" : "push.missing.to")}</p>}
          </Card>
        </div>
      </div>
      {asking === "send" && target && content && <SendDialog target={target} content={content} userKey={draft.key.trim()} onClose={() => setAsking("")} />}
      {asking === "campaign" && target && content && <CampaignDialog target={target} content={content} onClose={() => setAsking("")} />}
    </Page>
  );
}

function Content({ draft, change, categories }: { draft: Draft; change: (what: Partial<Draft>) => void; categories: Category[] }) {
  const names = categories.map((c): [string, string] => [c.name, c.error ? `${c.name} (${t("rules.broken")})` : c.name]);
  if (draft.category && !categories.some((c) => c.name === draft.category)) names.push([draft.category, draft.category]);
  return (
    <div class="form">
      <div class="fields">
        <Select label={t("word.category")} hint={draft.category ? undefined : t("push.nocategory.hint")} value={draft.category} onChange={(category) => change({ category })} options={[["", t("push.nocategory")], ...names]} />
        <Text label={t("word.event")} placeholder="message" value={draft.event} onChange={(event) => change({ event })} />
      </div>
      <JsonField label={t("push.data")} value={draft.data} onChange={(data) => change({ data })} rows={8} />
      <div class="fields three">
        <Text label={t("push.expires")} hint={t("push.expires.hint")} placeholder="2h" value={draft.expires} onChange={(expires) => change({ expires })} />
        <Text label={t("push.collapse")} hint={t("push.collapse.hint")} value={draft.collapse} onChange={(collapse) => change({ collapse })} />
        <Text label={t("push.key")} hint={t("push.key.hint")} value={draft.key} onChange={(key) => change({ key })} />
      </div>
    </div>
  );
}
