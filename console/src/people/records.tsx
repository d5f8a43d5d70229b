// Lists of what became of messages.

import type { ComponentChildren } from "preact";
import { A, path } from "../router.tsx";
import { t } from "../words.ts";
import { Ago, Select } from "../ui/parts.tsx";
import { List, usePages, type Column, type Pages } from "../ui/table.tsx";
import { OutcomeBadge, outcomeName, short, why } from "./outcome.tsx";
import { outcomes, type Record, type RecordPage } from "./types.ts";

// notArrived are the outcomes of what did not come to a device.
const notArrived = ["queued", "capped", "muted", "expired", "recalled", "failed"];

// outcomeFilter makes the params of records of what a filter in an address says.
export function outcomeFilter(said: string): object {
  if (said === "not") return { outcome: notArrived };
  if (said === "read") return { read: true };
  return (outcomes as readonly string[]).includes(said) ? { outcome: said } : {};
}

export function OutcomeSelect({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const options: [string, string][] = [["", t("records.all")], ["not", t("records.not")], ...outcomes.map((o): [string, string] => [o, outcomeName(o)]), ["read", outcomeName("read")]];
  return <Select label={t("records.outcome")} value={value} onChange={onChange} options={options} />;
}

export function useRecords(params: object, ms = 3000): Pages<Record> {
  return usePages<Record, RecordPage>("records", params, { take: (a) => ({ items: a.items, next: a.next }), ms, limit: 100 });
}

export const messagePath = (r: { user: string; message: string }) => path(["users", r.user, "messages", r.message]);

// Why is the reason of a record in a cell: a few words, and the sentence as a tip.
export function Why({ of }: { of: Record }) {
  return <span title={why(of)}>{short(of) || <span class="soft">–</span>}</span>;
}

// RecordList lists what became of one message, or of those of a campaign, for each user.
export function RecordList({ pages, empty }: { pages: Pages<Record>; empty?: ComponentChildren }) {
  const columns: Column<Record>[] = [
    { name: t("word.user"), cell: (r) => <A to={messagePath(r)}>{r.user}</A> },
    { name: t("records.outcome"), cell: (r) => <OutcomeBadge of={r} /> },
    { name: t("records.why"), cell: (r) => <Why of={r} />, grow: true },
    { name: t("word.device"), cell: (r) => r.device ?? "", wide: true },
    { name: t("records.queued"), cell: (r) => <Ago ms={r.queued} />, wide: true },
  ];
  return <List label={t("records.title")} columns={columns} pages={pages} rowKey={(r) => `${r.message} ${r.user}`} empty={empty} />;
}
