// A filter of users, put together from rows or written as JSON.

import { useEffect, useId, useState } from "preact/hooks";
import { format } from "../json.ts";
import { t, type Word } from "../words.ts";
import { readJson, JsonField } from "../ui/json.tsx";
import { Button } from "../ui/parts.tsx";
import { fromFilter, group, leaf, operators, toFilter, type Group, type Kind, type Leaf, type Row } from "./filter.ts";

// readWhere reads the filter of an address; "" is everybody.
export function readWhere(text: string): { filter: ReturnType<typeof toFilter>; error: string | undefined } {
  const said = readJson(text, {});
  const is = said.value !== undefined && typeof said.value === "object" && said.value !== null && !Array.isArray(said.value);
  return { filter: is ? (said.value as { [name: string]: never }) : undefined, error: said.error ?? (is ? undefined : t("where.object")) };
}

interface Props {
  value: string; // JSON
  onChange: (text: string | undefined) => void; // undefined: not complete
}

export function Where({ value, onChange }: Props) {
  const [rows, setRows] = useState<Group>(() => fromFilter(readWhere(value).filter ?? {}));
  const [text, setText] = useState(value);
  const [json, setJson] = useState(false);
  // What comes from elsewhere, such as the browser's arrows, makes the rows anew.
  useEffect(() => {
    const mine = toFilter(rows);
    const theirs = readWhere(value).filter;
    if (mine && theirs && format(mine) !== format(theirs)) setRows(fromFilter(theirs));
    if (readWhere(text).filter === undefined || format(readWhere(text).filter) !== format(theirs)) setText(value);
  }, [value]);
  const change = (next: Group) => {
    setRows(next);
    const filter = toFilter(next);
    if (filter) setText(Object.keys(filter).length > 0 ? format(filter) : "");
    onChange(filter && (Object.keys(filter).length > 0 ? format(filter) : ""));
  };
  const typed = (next: string) => {
    setText(next);
    const { filter } = readWhere(next);
    if (filter) setRows(fromFilter(filter));
    onChange(filter && (Object.keys(filter).length > 0 ? format(filter) : ""));
  };
  const incomplete = toFilter(rows) === undefined;
  return (
    <fieldset class="where">
      <legend>{t("where.title")}</legend>
      <GroupRows of={rows} top onChange={(g) => change(g ?? group())} />
      {incomplete && <p class="field-note" role="status">{t("where.incomplete")}</p>}
      <div class="where-foot"><Button kind="quiet" aria-expanded={json} onClick={() => setJson(!json)}>{json ? t("where.json.hide") : t("where.json.show")}</Button></div>
      {json && <JsonField label={t("where.json")} hint={t("where.json.hint")} value={text} onChange={typed} rows={4} error={readWhere(text).error} />}
    </fieldset>
  );
}

function GroupRows({ of, top, onChange }: { of: Group; top?: boolean; onChange: (next: Group | undefined) => void }) {
  const set = (i: number, next: Row | undefined) => onChange({ ...of, items: next ? of.items.map((r, j) => (j === i ? next : r)) : of.items.filter((_, j) => j !== i) });
  const add = (row: Row) => onChange({ ...of, items: [...of.items, row] });
  const mode = of.not ? (of.mode === "all" ? "notall" : "none") : of.mode;
  const modes: [string, Word][] = top ? [["all", "where.all"], ["any", "where.any"]] : [["all", "where.all"], ["any", "where.any"], ["none", "where.none"], ["notall", "where.notall"]];
  return (
    <div class={top ? "where-group root" : "where-group"}>
      <div class="where-head">
        {(of.items.length > 1 || !top) && (
          <select aria-label={t("where.mode")} value={mode} onChange={(e) => {
            const to = e.currentTarget.value;
            onChange({ ...of, mode: to === "all" || to === "notall" ? "all" : "any", not: to === "none" || to === "notall" });
          }}>{modes.map(([id, word]) => <option key={id} value={id}>{t(word)}</option>)}</select>
        )}
        {!top && <button type="button" class="icon" aria-label={t("where.remove.group")} onClick={() => onChange(undefined)}>✕</button>}
      </div>
      {of.items.map((row, i) => (row.is === "group"
        ? <GroupRows key={row.id} of={row} onChange={(next) => set(i, next)} />
        : <LeafRow key={row.id} of={row} at={i + 1} onChange={(next) => set(i, next)} />))}
      <div class="where-add">
        <Button onClick={() => add(leaf())}>{t("where.add")}</Button>
        <Button onClick={() => add(leaf({ is: "tag" }))}>{t("where.add.tag")}</Button>
        {of.items.length > 0 && <Button kind="quiet" onClick={() => add(group({ mode: "any", items: [leaf()] }))}>{t("where.add.group")}</Button>}
      </div>
    </div>
  );
}

function LeafRow({ of, at, onChange }: { of: Leaf; at: number; onChange: (next: Leaf | undefined) => void }) {
  const id = useId();
  const set = (change: Partial<Leaf>) => onChange({ ...of, ...change });
  const kinds: Kind[] = of.op === "eq" || of.op === "in" ? ["text", "number", "bool"] : of.op === "prefix" ? ["text"] : ["text", "number"];
  const op = (next: Leaf["op"]) => set({ op: next, ...(next === "exists" ? { kind: "bool", value: "true" } : of.op === "exists" ? { kind: "text", value: "" } : next === "prefix" ? { kind: "text" } : {}) });
  return (
    <div class="where-row" role="group" aria-label={t("where.row", { n: at })}>
      <select aria-label={t("where.not")} value={of.not ? "not" : "is"} onChange={(e) => set({ not: e.currentTarget.value === "not" })}>
        <option value="is">{t("where.is")}</option><option value="not">{t("where.isnot")}</option>
      </select>
      {of.is === "tag" && <><span class="where-word">{t("where.tag")}</span><input class="grow" aria-label={t("where.tag.name")} value={of.value} spellcheck={false} autocomplete="off" onInput={(e) => set({ value: e.currentTarget.value })} /></>}
      {of.is === "json" && <input class="grow code" aria-label={t("where.json")} value={of.value} spellcheck={false} autocomplete="off" onInput={(e) => set({ value: e.currentTarget.value })} />}
      {of.is === "field" && (
        <>
          <input class="grow" aria-label={t("where.field")} placeholder="/city" value={of.field} list={`${id}-fields`} spellcheck={false} autocomplete="off" onInput={(e) => set({ field: e.currentTarget.value })} />
          <datalist id={`${id}-fields`}>{["/tz", "/city", "/level"].map((f) => <option key={f} value={f} />)}</datalist>
          <select aria-label={t("where.op")} value={of.op} onChange={(e) => op(e.currentTarget.value as Leaf["op"])}>{operators.map((o) => <option key={o} value={o}>{t(`where.op.${o}`)}</option>)}</select>
          {of.op !== "exists" && kinds.length > 1 && <select aria-label={t("where.kind")} value={of.kind} onChange={(e) => set({ kind: e.currentTarget.value as Kind, ...(e.currentTarget.value === "bool" ? { value: "true" } : {}) })}>{kinds.map((k) => <option key={k} value={k}>{t(`where.kind.${k}` as Word)}</option>)}</select>}
          {of.kind === "bool" && of.op !== "in"
            ? <select class="grow" aria-label={t("where.value")} value={of.value} onChange={(e) => set({ value: e.currentTarget.value })}><option value="true">{t("word.yes")}</option><option value="false">{t("word.no")}</option></select>
            : <input class="grow" aria-label={t("where.value")} placeholder={of.op === "in" ? t("where.value.in") : t("where.value")} inputMode={of.kind === "number" && of.op !== "in" ? "decimal" : "text"} value={of.value} spellcheck={false} autocomplete="off" onInput={(e) => set({ value: e.currentTarget.value })} />}
        </>
      )}
      <button type="button" class="icon" aria-label={t("where.remove", { n: at })} onClick={() => onChange(undefined)}>✕</button>
    </div>
  );
}
