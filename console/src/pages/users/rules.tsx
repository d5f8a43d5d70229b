// Whether a message would come to a user now, for each category, and what the user has muted.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { dateTime, number } from "../../format.ts";
import { useLive, type Live } from "../../live.ts";
import { A, path, setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t } from "../../words.ts";
import { Badge, Button, Empty, ErrorNote, Search, Stale, useRun, Waiting } from "../../ui/parts.tsx";
import { perName, verdict } from "../../people/outcome.tsx";
import type { Category, Explained } from "../../people/types.ts";

const most = 30; // categories that are asked about at once

interface Answer {
  list: { category: Category; now: Explained | undefined; error: string }[];
  all: number; // that fit the search
}

export function Rules({ user, query }: { user: string; query: URLSearchParams }) {
  const search = query.get("category") ?? "";
  const answer = useLive(async (signal): Promise<Answer> => {
    const { items } = await call<{ items: Category[] }>("categories.list", {}, { signal });
    const fit = items.filter((c) => c.name.includes(search));
    const list = await Promise.all(fit.slice(0, most).map(async (category) => {
      if (category.error) return { category, now: undefined, error: category.error };
      return { category, now: await call<Explained>("explain", { user, category: category.name }, { signal }), error: "" };
    }));
    return { list, all: fit.length };
  }, 3000, [user, search]);
  const it = answer.data.value;
  return (
    <>
      <div class="filters"><Search label={t("rules.search")} value={search} onChange={(category) => setQuery({ category })} /></div>
      <Stale of={answer} />
      {!it && !answer.error.value && <Waiting />}
      {it && it.list.length === 0 && <Empty>{search ? t("rules.none.search") : t("rules.none")}</Empty>}
      {it && it.list.length > 0 && (
        <ul class="rules">
          {it.list.map(({ category, now, error }) => <Rule key={category.name} user={user} category={category} now={now} error={error} of={answer} />)}
        </ul>
      )}
      {it && it.all > it.list.length && <p class="soft">{t("rules.more", { n: number(it.list.length), all: number(it.all) })}</p>}
    </>
  );
}

function Rule({ user, category, now, error, of }: { user: string; category: Category; now: Explained | undefined; error: string; of: Live<Answer> }) {
  const it = useRun();
  const [muted, setMuted] = useState<boolean | undefined>(undefined); // as asked for, until the server has said so
  const is = muted ?? now?.muted ?? false;
  const mute = () => void it.run(async () => {
    setMuted(!is);
    try {
      await call("categories.mute", { user, category: category.name, muted: !is });
      await of.refresh();
    } finally {
      setMuted(undefined);
    }
  });
  const said = now && verdict(now, category);
  return (
    <li class="card" data-category={category.name}>
      <header class="card-head">
        <h2><A to={path(["push", "categories"], { show: category.name })}>{category.name}</A></h2>
        {said ? <Badge tone={said.tone}>{said.name}</Badge> : <Badge tone="bad">{t("rules.broken")}</Badge>}
      </header>
      <p>{said ? said.text : error}</p>
      {category.bypass && <p class="small soft">{t("rules.bypass")}</p>}
      {now && now.caps.length > 0 && (
        <ul class="caps">
          {now.caps.map((c) => (
            <li key={`${c.category} ${c.per}`}>
              <meter min={0} max={Math.max(1, c.max)} value={Math.min(c.used, c.max)} aria-label={t("rules.cap", { category: c.category, used: c.used, max: c.max, per: perName(c.per) })} />
              <span>{t("rules.cap", { category: c.category, used: c.used, max: c.max, per: perName(c.per) })}</span>
              {c.used >= c.max && c.until && <span class="soft">{t("rules.cap.until", { until: dateTime(c.until) })}</span>}
            </li>
          ))}
        </ul>
      )}
      <ErrorNote error={it.error} />
      <footer class="rule-foot">
        <span class="soft small">{category.mutable ? (is ? t("rules.muted") : t("rules.notmuted")) : t("rules.immutable")}</span>
        {may("categories.mute") && now && (category.mutable || is) && <Button busy={it.busy} onClick={mute} aria-label={`${is ? t("rules.unmute") : t("rules.mute")}: ${category.name}`}>{is ? t("rules.unmute") : t("rules.mute")}</Button>}
      </footer>
    </li>
  );
}
