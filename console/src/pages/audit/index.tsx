import { clock, dateTime, moment } from "../../format.ts";
import { format } from "../../json.ts";
import type { PageProps } from "../../pages.tsx";
import { A, path, setQuery } from "../../router.tsx";
import { t } from "../../words.ts";
import { Button, Card, Page, Search, Select } from "../../ui/parts.tsx";
import { download, Moment } from "../../ui/moment.tsx";
import { List, usePages, type Column } from "../../ui/table.tsx";
import { Details } from "./details.tsx";
import { By, Outcome, type Line } from "./line.tsx";
import "../../style/operations.css";

const codes = ["denied", "unauthorized", "bad_request", "not_found", "conflict", "too_large", "rate_limited", "unavailable", "internal"];

// when reads a moment of the address; nonsense is none.
function when(text: string | null): number | undefined {
  const ms = text ? Number(text) : NaN;
  return Number.isSafeInteger(ms) && ms > 0 ? ms : undefined;
}

function Filters({ query }: { query: URLSearchParams }) {
  const outcomes: [string, string][] = [["", t("audit.outcome.all")], ["ok", t("audit.outcome.ok")], ["failed", t("audit.outcome.failed")], ["open", t("audit.outcome.open")], ...codes.map((c): [string, string] => [c, c])];
  const some = ["who", "verb", "outcome", "from", "to"].some((name) => query.get(name));
  return (
    <div class="filters ops-audit">
      <Search label={t("audit.who")} value={query.get("who") ?? ""} onChange={(who) => setQuery({ who })} />
      <Search label={t("audit.verb")} placeholder={`${t("audit.verb")}, ${t("audit.verb.hint")}`} value={query.get("verb") ?? ""} onChange={(verb) => setQuery({ verb })} />
      <Select label={t("audit.outcome")} value={query.get("outcome") ?? ""} onChange={(outcome) => setQuery({ outcome })} options={outcomes} />
      <Moment label={t("audit.from")} value={when(query.get("from"))} onChange={(ms) => setQuery({ from: ms?.toString() })} />
      <Moment label={t("audit.to")} value={when(query.get("to"))} onChange={(ms) => setQuery({ to: ms?.toString() })} />
      {some && <Button kind="quiet" onClick={() => setQuery({ who: "", verb: "", outcome: "", from: "", to: "" })}>{t("audit.clear")}</Button>}
    </div>
  );
}

export function Audit({ query }: PageProps) {
  const filter: Record<string, string | number> = {};
  for (const name of ["who", "verb", "outcome"]) if (query.get(name)) filter[name] = query.get(name)!;
  for (const name of ["from", "to"]) {
    const ms = when(query.get(name));
    if (ms !== undefined) filter[name] = ms;
  }
  const pages = usePages<Line, { lines: Line[]; next?: string }>("audit", filter, { take: (a) => ({ items: a.lines, next: a.next }), ms: 3000 });
  const rest = Object.fromEntries([...query].filter(([name]) => name !== "line" && name !== "at"));
  const columns: Column<Line>[] = [
    { name: t("word.time"), cell: (l) => <A to={path(["audit"], { ...rest, line: l.id, at: String(l.time) })} aria-label={t("audit.show", { time: moment(l.time), verb: l.verb })}><time dateTime={new Date(l.time).toISOString()} title={dateTime(l.time)}>{moment(l.time)}</time></A> },
    { name: t("audit.who"), cell: (l) => <span title={l.who}>{l.who}</span> },
    { name: t("audit.by"), cell: (l) => <By of={l} />, wide: true },
    { name: t("audit.verb"), cell: (l) => <code>{l.verb}</code> },
    { name: t("audit.target"), cell: (l) => (l.target ? <span title={l.target}>{l.target}</span> : <span class="soft">–</span>), grow: true, wide: true },
    { name: t("audit.outcome"), cell: (l) => <Outcome of={l} /> },
    { name: t("audit.address"), cell: (l) => <span class="soft">{l.address ?? "–"}</span>, wide: true },
  ];
  const id = query.get("line");
  const close = () => setQuery({ line: "", at: "" });
  return (
    <Page title={t("audit.title")} lead={t("audit.lead")} actions={<Button disabled={pages.rows.length === 0} onClick={() => download(`audit-${clock(Date.now()).replaceAll(":", "")}.ndjson`, pages.rows.map((l) => format(l) + "\n").join(""))}>{t("audit.export")}</Button>}>
      <Filters query={query} />
      <Card flush><List label={t("audit.title")} columns={columns} pages={pages} rowKey={(l) => l.id} empty={t("audit.empty")} /></Card>
      {id && <Details id={id} at={when(query.get("at"))} known={pages.rows.find((l) => l.id === id)} onClose={close} />}
    </Page>
  );
}
