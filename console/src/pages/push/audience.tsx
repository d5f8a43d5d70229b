// Whom a push would reach if it was sent now, while one writes it: how many, and some of them.

import { useEffect, useState } from "preact/hooks";
import { call, Problem } from "../../api.ts";
import { format } from "../../json.ts";
import { useLive } from "../../live.ts";
import { A, path } from "../../router.tsx";
import { t } from "../../words.ts";
import { Badge, Empty, Stale, Waiting } from "../../ui/parts.tsx";
import { EstimateView } from "../../people/estimate.tsx";
import { verdict } from "../../people/outcome.tsx";
import type { Estimate, Explained, Online, Target, User } from "../../people/types.ts";

const sampleSize = 6;

interface Person {
  id: string;
  online: boolean;
  now: Explained | undefined;
}

// usersOf gives some of those whom a target names.
async function usersOf(to: Target, signal: AbortSignal): Promise<string[]> {
  if ("users" in to) return to.users.slice(0, sampleSize);
  if ("members" in to) return (await call<{ items: { user: string }[] }>("members.list", { channel: to.members, limit: sampleSize }, { signal })).items.map((m) => m.user);
  return (await call<{ items: User[] }>("users.query", { ...("where" in to ? { where: to.where } : {}), limit: sampleSize }, { signal })).items.map((u) => u.id);
}

async function sample(to: Target, category: string, signal: AbortSignal): Promise<Person[]> {
  const users = await usersOf(to, signal);
  if (users.length === 0) return [];
  const [online, verdicts] = await Promise.all([
    call<{ [id: string]: Online }>("online", { users }, { signal }),
    Promise.all(users.map((user) => (category ? call<Explained>("explain", { user, category }, { signal }) : undefined))),
  ]);
  return users.map((id, i) => ({ id, online: online[id]?.online ?? false, now: verdicts[i] }));
}

interface Answer {
  estimate: Estimate;
  people: Person[];
}

export function Audience({ target, category }: { target: Target | undefined; category: string }) {
  // What somebody types is asked about when he stops.
  const asked = target ? format({ target, category }) : "";
  const [settled, setSettled] = useState(asked);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(asked), 350);
    return () => clearTimeout(timer);
  }, [asked]);
  const current = settled === asked;
  const answer = useLive(async (signal): Promise<Answer | undefined> => {
    if (!target || !current) return undefined;
    const [estimate, people] = await Promise.all([
      call<Estimate>("campaigns.estimate", { to: target, ...(category ? { category } : {}) }, { signal }),
      sample(target, category, signal).catch((e: unknown) => {
        if (e instanceof Problem && e.code !== "offline") return []; // the estimate says what is wrong
        throw e;
      }),
    ]);
    return { estimate, people };
  }, 5000, [settled, current]);
  if (!target) return <Empty>{t("audience.none")}</Empty>;
  const it = current ? answer.data.value : undefined;
  return (
    <div class="audience">
      {current && <Stale of={answer} />}
      {!it && !answer.error.value && <Waiting />}
      {it && <EstimateView of={it.estimate} />}
      {it && it.people.length > 0 && (
        <>
          <h3>{t("audience.sample")}</h3>
          <ul class="people">
            {it.people.map((p) => {
              const said = p.now && verdict(p.now);
              return (
                <li key={p.id}>
                  <A to={path(["users", p.id], { tab: "rules", ...(category ? { category } : {}) })}>{p.id}</A>
                  <Badge tone={p.online ? "good" : "soft"}>{t(p.online ? "users.isonline" : "users.offline")}</Badge>
                  {said && <span class="small soft" title={said.text}>{said.name}{p.now?.rule && ` · ${p.now.rule}`}</span>}
                </li>
              );
            })}
          </ul>
        </>
      )}
    </div>
  );
}
