import { call } from "../../api.ts";
import { useLive } from "../../live.ts";
import type { Json } from "../../json.ts";
import { format } from "../../json.ts";
import type { PageProps } from "../../pages.tsx";
import { setQuery } from "../../router.tsx";
import { has, t } from "../../words.ts";
import { Badge, Card, Check, Empty, Page, Search, Stale, Waiting } from "../../ui/parts.tsx";
import "../../style/operations.css";

interface Setting {
  key: string;
  value: Json;
  source: string;
  place?: string;
  env?: string;
  doc: string;
}

const section = (key: string) => (key.includes(".") ? key.slice(0, key.indexOf(".")) : "");

// value writes a setting as it stands in the configuration.
const value = (v: Json): string => (typeof v === "string" ? v : v === null ? "" : format(v));

function groups(settings: Setting[]): [string, Setting[]][] {
  const by = new Map<string, Setting[]>();
  for (const s of settings) by.set(section(s.key), [...(by.get(section(s.key)) ?? []), s]);
  return [...by];
}

function Line({ of }: { of: Setting }) {
  const text = value(of.value);
  const word = `settings.source.${of.source}`;
  return (
    <div class="ops-setting" data-key={of.key}>
      <dt><code>{of.key}</code>{of.doc && <span class="soft small ops-setting-doc">{of.doc}</span>}</dt>
      <dd>
        <code class="ops-setting-value">{text === "" ? <span class="soft">{t("settings.empty")}</span> : text}</code>
        <span class="ops-setting-from">
          <Badge tone={of.source === "default" ? "soft" : "accent"}>{has(word) ? t(word) : of.source}</Badge>
          {of.place && <code class="soft">{of.place}</code>}
          {of.env && <code class="soft" title={t("settings.env")}>{of.env}</code>}
        </span>
      </dd>
    </div>
  );
}

export function Settings({ query }: PageProps) {
  const it = useLive((signal) => call<{ settings: Setting[]; file?: string }>("settings", {}, { signal }), 10_000);
  const all = it.data.value?.settings;
  const q = (query.get("q") ?? "").toLowerCase();
  const changed = query.get("changed") === "1";
  const found = all?.filter((s) => (!changed || s.source !== "default") && (!q || [s.key, value(s.value), s.doc, s.env, s.place].some((text) => text?.toLowerCase().includes(q))));
  return (
    <Page title={t("settings.title")} lead={t("settings.lead")}>
      <div class="filters">
        <Search label={t("settings.search")} value={query.get("q") ?? ""} onChange={(text) => setQuery({ q: text })} />
        <Check label={t("settings.changed")} value={changed} onChange={(on) => setQuery({ changed: on ? "1" : undefined })} />
      </div>
      <Stale of={it} />
      {!all && !it.error.value && <Waiting />}
      {all && found && <p class="soft small" role="status">{t("settings.count", { n: found.length, all: all.length })}{it.data.value?.file && <> · {t("settings.file")}: <code>{it.data.value.file}</code></>}</p>}
      {found?.length === 0 && <Card><Empty>{t("settings.none")}</Empty></Card>}
      {found && groups(found).map(([name, list]) => (
        <Card key={name} title={name || t("settings.general")}><dl class="ops-settings">{list.map((s) => <Line key={s.key} of={s} />)}</dl></Card>
      ))}
    </Page>
  );
}
