// To whom a push goes.

import { t, type Word } from "../../words.ts";
import { number } from "../../format.ts";
import { Field, Text } from "../../ui/parts.tsx";
import { Where } from "../../people/where.tsx";
import { usersOf, type Draft, type To } from "../../people/draft.ts";

const kinds: To[] = ["users", "where", "members", "all"];

export function ToFields({ draft, change, onComplete }: { draft: Draft; change: (what: Partial<Draft>) => void; onComplete: (complete: boolean) => void }) {
  const users = usersOf(draft.users);
  return (
    <div class="form">
      <fieldset class="choice">
        <legend class="hidden">{t("push.to")}</legend>
        {kinds.map((kind) => (
          <label key={kind} class={draft.to === kind ? "on" : ""}><input type="radio" name="to" value={kind} checked={draft.to === kind} onChange={() => { onComplete(true); change({ to: kind }); }} /> {t(`push.to.${kind}` as Word)}</label>
        ))}
      </fieldset>
      {draft.to === "users" && (
        <Field label={t("push.users")} hint={users.length > 0 ? t("push.users.n", { n: number(users.length) }) : t("push.users.hint")}>
          {(ids) => <textarea {...ids} class="code" rows={Math.min(10, Math.max(3, users.length + 1))} value={draft.users} spellcheck={false} onInput={(e) => change({ users: e.currentTarget.value })} />}
        </Field>
      )}
      {draft.to === "where" && (
        <>
          <Where value={draft.where} onChange={(where) => { onComplete(where !== undefined); if (where !== undefined) change({ where }); }} />
          {!draft.where && <p class="small soft">{t("push.where.everybody")}</p>}
        </>
      )}
      {draft.to === "members" && <Text label={t("push.members")} hint={t("push.members.hint")} placeholder="team:7" value={draft.channel} onChange={(channel) => change({ channel })} />}
      {draft.to === "all" && <p class="note warn">{t("push.all.text")}</p>}
    </div>
  );
}
