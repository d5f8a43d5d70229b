// What is known of a user: attributes, shown and changed.

import { useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import type { Live } from "../../live.ts";
import { equal, format, type Json } from "../../json.ts";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { compare, Diff, JsonField, JsonView, readJson } from "../../ui/json.tsx";
import { Button, Card, Empty, Facts, toast, Waiting, When } from "../../ui/parts.tsx";
import { Form } from "../../ui/dialog.tsx";
import type { User } from "../../people/types.ts";
import type { Known } from "./user.tsx";

export function Profile({ id, known }: { id: string; known: Live<Known> }) {
  const [base, setBase] = useState<Json | undefined>(undefined); // what is being edited
  const it = known.data.value;
  if (!it) return <Waiting />;
  const attributes = it.user?.attributes;
  return (
    <Card title={t("users.attributes")} actions={may("users.put") && <Button onClick={() => setBase(attributes ?? {})}>{t("do.edit")}</Button>}>
      {attributes ? <JsonView value={attributes} label={t("users.attributes")} /> : <Empty>{t("profile.none")}</Empty>}
      {it.user && <Facts of={[[t("profile.created"), <When ms={it.user.created} />], [t("users.changed"), <When ms={it.user.changed} />]]} />}
      {base !== undefined && <Edit id={id} base={base} onClose={() => setBase(undefined)} after={known.refresh} />}
    </Card>
  );
}

function Edit({ id, base, onClose, after }: { id: string; base: Json; onClose: () => void; after: () => Promise<void> }) {
  const [text, setText] = useState(format(base, 2));
  const said = readJson(text);
  const changes = said.value === undefined ? [] : compare(base, said.value);
  const run = async () => {
    // What was changed meanwhile, by the application or somebody else, is not overwritten.
    const now = await call<User>("users.get", { id }).catch((e: unknown) => {
      if (e instanceof Problem && e.code === "not_found") return undefined;
      throw e;
    });
    if (!equal(now?.attributes ?? {}, base)) throw new Problem("conflict", t("profile.changed"));
    await call("users.put", { id, attributes: said.value });
    toast(t("done.saved"));
    await after();
  };
  return (
    <Form title={t("profile.edit", { user: id })} action={t("do.save")} wide onClose={onClose} run={run} disabled={changes.length === 0}>
      <JsonField label={t("users.attributes")} hint={t("profile.hint")} value={text} onChange={setText} rows={14} />
      {changes.length > 0 && <div><h3>{t("profile.changes")}</h3><Diff changes={changes} /></div>}
    </Form>
  );
}
