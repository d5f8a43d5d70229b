// What can be done with a campaign, in its state.

import { useRef, useState } from "preact/hooks";
import { call } from "../../api.ts";
import { dateTime, number } from "../../format.ts";
import { useLive, type Live } from "../../live.ts";
import { A, go, path } from "../../router.tsx";
import { may } from "../../session.ts";
import { t, type Word } from "../../words.ts";
import { Button, Stale, Text, toast, Waiting } from "../../ui/parts.tsx";
import { Confirm, Form } from "../../ui/dialog.tsx";
import { EstimateView } from "../../people/estimate.tsx";
import type { Campaign, Estimate } from "../../people/types.ts";

type Verb = "start" | "pause" | "resume" | "cancel" | "recall" | "delete";

const fits: { [name in Verb]: string[] } = {
  start: ["draft"], pause: ["scheduled", "running"], resume: ["paused"], cancel: ["draft", "scheduled", "running", "paused"],
  recall: ["scheduled", "running", "paused", "done", "cancelled"], delete: ["draft", "done", "cancelled"],
};

const few = 20; // people to whom a campaign is started without typing how many they are

export function Actions({ of, live }: { of: Campaign; live: Live<Campaign> }) {
  const [asking, setAsking] = useState<Verb | "schedule" | "">("");
  const can = (verb: Verb) => may(`campaigns.${verb}`) && fits[verb].includes(of.state);
  const run = async (verb: Verb) => {
    await call(`campaigns.${verb}`, { id: of.id });
    if (verb === "delete") {
      toast(t("done.deleted"));
      go(path(["campaigns"]));
    } else await live.refresh();
  };
  const quick = (verb: Verb) => void run(verb).catch((e: Error) => toast(e.message, true));
  const close = () => setAsking("");
  const asked = asking === "cancel" || asking === "recall" || asking === "delete" ? asking : undefined;
  return (
    <>
      {can("start") && <Button kind="main" onClick={() => setAsking("start")}>{t("campaign.do.start")}</Button>}
      {can("start") && may("campaigns.create") && may("campaigns.delete") && !("list" in of.to) && <Button onClick={() => setAsking("schedule")}>{t("campaign.do.schedule")}</Button>}
      {can("pause") && <Button onClick={() => quick("pause")}>{t("do.pause")}</Button>}
      {can("resume") && <Button kind="main" onClick={() => quick("resume")}>{t("do.resume")}</Button>}
      {may("push") && may("campaigns.create") && <A class="button plain" to={path(["push"], { copy: of.id })}>{t("campaign.do.copy")}</A>}
      {can("cancel") && <Button kind="danger" onClick={() => setAsking("cancel")}>{t("campaign.do.cancel")}</Button>}
      {can("recall") && of.message && <Button kind="danger" onClick={() => setAsking("recall")}>{t("campaign.do.recall")}</Button>}
      {can("delete") && <Button kind="danger" onClick={() => setAsking("delete")}>{t("do.delete")}</Button>}
      {asking === "start" && <Start of={of} onClose={close} run={() => run("start")} />}
      {asking === "schedule" && <Schedule of={of} onClose={close} />}
      {asked && (
        <Confirm
          title={t(`campaign.${asked}.title` as Word)} text={t(`campaign.${asked}.text` as Word, { n: number(of.audience) })} action={asked === "delete" ? t("do.delete") : t(`campaign.do.${asked}` as Word)}
          {...(asked === "recall" ? { word: of.name } : {})} onClose={close} run={() => run(asked)}
        />
      )}
    </>
  );
}

function Start({ of, onClose, run }: { of: Campaign; onClose: () => void; run: () => Promise<void> }) {
  const estimate = useLive((signal) => call<Estimate>("campaigns.estimate", { id: of.id }, { signal }), 0, [of.id]);
  const [typed, setTyped] = useState("");
  const it = estimate.data.value;
  const many = it !== undefined && it.audience > few;
  const later = of.at !== undefined && Date.parse(of.at) > Date.now();
  return (
    <Form title={t("campaign.do.start")} action={t("campaign.do.start")} danger={many} onClose={onClose} run={run} disabled={!it || (many && typed !== String(it.audience))}>
      <p>{later ? t("campaign.start.at", { at: dateTime(Date.parse(of.at!)) }) : t("campaign.start.now")}</p>
      <Stale of={estimate} />
      {it ? <EstimateView of={it} /> : !estimate.error.value && <Waiting />}
      {many && <Text label={t("send.type", { n: it.audience })} value={typed} onChange={setTyped} />}
    </Form>
  );
}

// Schedule puts a draft with a time in the place of one without, and starts that: the time
// of a campaign is said when it is made.
function Schedule({ of, onClose }: { of: Campaign; onClose: () => void }) {
  const [at, setAt] = useState("");
  const [typed, setTyped] = useState("");
  const estimate = useLive((signal) => call<Estimate>("campaigns.estimate", { id: of.id }, { signal }), 0, [of.id]);
  const it = estimate.data.value;
  const many = it !== undefined && it.audience > few;
  const when = at ? new Date(at).getTime() : NaN;
  const done = useRef({ at: "", id: "", started: false }); // what is done is not done again when it is tried again
  const run = async () => {
    const { name, to, category, event, data, expires, collapse, escalate, pace } = of;
    const it = done.current;
    if (it.id && it.at !== at && !it.started) it.id = "";
    if (!it.id) {
      it.id = (await call<Campaign>("campaigns.create", { name, to, category, event, data, expires, collapse, escalate, pace, at: new Date(when).toISOString() })).id;
      it.at = at;
    }
    if (!it.started) {
      await call("campaigns.start", { id: it.id }).catch(async (e: unknown) => {
        // It was started, and the answer did not come through.
        if ((await call<Campaign>("campaigns.get", { id: it.id })).state === "draft") throw e;
      });
    }
    it.started = true;
    await call("campaigns.delete", { id: of.id });
    go(path(["campaigns", it.id]), true);
  };
  return (
    <Form title={t("campaign.do.schedule")} action={t("campaign.do.schedule")} onClose={onClose} run={run} disabled={Number.isNaN(when) || !it || (many && typed !== String(it.audience))}>
      <Text label={t("campaign.at")} hint={t("campaign.at.hint", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })} type="datetime-local" value={at} onChange={setAt} required />
      <Stale of={estimate} />
      {it ? <EstimateView of={it} /> : !estimate.error.value && <Waiting />}
      {many && <Text label={t("send.type", { n: it.audience })} value={typed} onChange={setTyped} />}
    </Form>
  );
}
