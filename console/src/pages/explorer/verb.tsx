// One verb: what it takes and gives, and a place to try it.

import { useMemo } from "preact/hooks";
import { params, type Names, type Schema, type Verb } from "../../openapi.ts";
import { t } from "../../words.ts";
import { Badge, Card } from "../../ui/parts.tsx";
import { Try } from "./try.tsx";

export function Kind({ of }: { of: Verb }) {
  return of.kind === "read" ? <Badge>{t("explorer.read")}</Badge> : <Badge tone="warn">{of.kind === "traffic" ? t("explorer.traffic") : t("explorer.write")}</Badge>;
}

function Fields({ of, label, none, needed }: { of: Schema; label: string; none: string; needed?: boolean }) {
  const names: Names = { any: t("explorer.any"), either: t("explorer.either"), list: (type) => t("explorer.list", { type }) };
  const rows = useMemo(() => params(of, names), [of, names.any]);
  if (rows.length === 0) return <p class="soft">{none}</p>;
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={label}>
      <table class="ops-docs">
        <thead><tr><th scope="col">{t("explorer.name")}</th><th scope="col">{t("explorer.type")}</th><th scope="col">{t("explorer.text")}</th></tr></thead>
        <tbody>
          {rows.map((p) => (
            <tr key={p.path}>
              <th scope="row" class={`deep-${p.depth}`}><code>{p.path}</code>{needed && p.required && <> <Badge tone={p.required === "either" ? "soft" : "accent"}>{p.required === "either" ? t("explorer.oneof") : t("explorer.required")}</Badge></>}</th>
              <td class="soft"><code>{p.type}</code></td>
              <td>{p.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function One({ of }: { of: Verb }) {
  return (
    <>
      <Try of={of} />
      <Card title={t("explorer.params")}><Fields of={of.params} label={t("explorer.params")} none={t("explorer.params.none")} needed /></Card>
      <Card title={t("explorer.result")}><Fields of={of.result} label={t("explorer.result")} none={t("explorer.any")} /></Card>
    </>
  );
}
