// Categories: how often, and when, their messages may interrupt somebody.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { useLive } from "../../live.ts";
import { setQuery } from "../../router.tsx";
import { may } from "../../session.ts";
import { t, type Word } from "../../words.ts";
import { Badge, Button, Card, Empty, Facts, Page, Stale, toast, Waiting, When } from "../../ui/parts.tsx";
import { Confirm } from "../../ui/dialog.tsx";
import { Table } from "../../ui/table.tsx";
import { perName } from "../../people/outcome.tsx";
import type { Category } from "../../people/types.ts";
import { CategoryDialog } from "./category.tsx";

export const capsText = (c: Category) => (c.caps ?? []).map((cap) => t("cap.text", { max: cap.max, per: perName(cap.per) })).join(", ");

export function Categories({ query, tabs }: { query: URLSearchParams; tabs: ComponentChildren }) {
  const live = useLive((signal) => call<{ items: Category[] }>("categories.list", {}, { signal }), 5000);
  const [deleting, setDeleting] = useState("");
  const items = live.data.value?.items;
  const shown = items?.find((c) => c.name === query.get("show"));
  const edit = query.get("edit");
  const editing = edit === null ? undefined : items?.find((c) => c.name === edit);
  const close = () => setQuery({ edit: undefined, new: undefined });
  const admin = may("categories.put");
  return (
    <Page title={t("categories.title")} lead={t("categories.lead")} actions={admin && <Button kind="main" onClick={() => setQuery({ new: "1", edit: undefined })}>{t("categories.new")}</Button>}>
      {tabs}
      <Stale of={live} />
      {!items && !live.error.value && <Waiting />}
      {shown && <Shown of={shown} admin={admin} onDelete={() => setDeleting(shown.name)} />}
      {items && (
        <section class="card flush">
          <Table label={t("categories.title")} rows={items} rowKey={(c) => c.name} empty={<Empty>{t("categories.none")}</Empty>} columns={[
            { name: t("word.name"), cell: (c) => <button type="button" class="link" aria-pressed={c.name === shown?.name} onClick={() => setQuery({ show: c.name === shown?.name ? undefined : c.name })}>{c.name}</button> },
            { name: t("category.caps"), cell: (c) => (c.error ? <Badge tone="bad" title={c.error}>{t("rules.broken")}</Badge> : c.bypass ? <Badge tone="accent">{t("category.bypass.short")}</Badge> : capsText(c) || <span class="soft">{t("word.none")}</span>), grow: true },
            { name: t("category.quiet"), cell: (c) => (c.quiet ? `${c.quiet.from}–${c.quiet.to}` : ""), wide: true },
            { name: t("category.parent"), cell: (c) => c.parent ?? "", wide: true },
            { name: t("category.priority"), cell: (c) => c.priority ?? 5, end: true, wide: true },
            { name: t("category.source"), cell: (c) => t(c.source === "config" ? "category.config" : "category.api"), wide: true },
          ]} />
        </section>
      )}
      {admin && query.get("new") && <CategoryDialog all={items ?? []} onClose={close} after={live.refresh} />}
      {admin && editing && editing.source !== "config" && <CategoryDialog of={editing} all={items ?? []} onClose={close} after={live.refresh} />}
      {deleting && <Confirm title={t("category.delete")} text={t("category.delete.text", { name: deleting })} action={t("do.delete")} word={deleting} onClose={() => setDeleting("")} run={async () => {
        await call("categories.delete", { name: deleting });
        toast(t("done.deleted"));
        setQuery({ show: undefined });
        await live.refresh();
      }} />}
    </Page>
  );
}

function Shown({ of, admin, onDelete }: { of: Category; admin: boolean; onDelete: () => void }) {
  const yes = (is: boolean | undefined) => t(is ? "word.yes" : "word.no");
  const fixed = of.source === "config";
  return (
    <Card title={of.name} actions={admin && !fixed && <><Button onClick={() => setQuery({ edit: of.name, new: undefined })}>{t("do.edit")}</Button>{may("categories.delete") && <Button kind="danger" onClick={onDelete}>{t("do.delete")}</Button>}</>}>
      {of.error && <div class="note bad">{of.error}</div>}
      {fixed && <p class="soft small">{t("category.fixed")}</p>}
      <Facts of={[
        [t("category.caps"), capsText(of) || t("word.none")],
        [t("category.on_cap"), t(`category.on_cap.${of.on_cap ?? "inbox"}` as Word)],
        [t("category.quiet"), of.quiet ? `${of.quiet.from}–${of.quiet.to}` : t("word.none")],
        [t("category.on_quiet"), t(`category.on_quiet.${of.on_quiet ?? "defer"}` as Word)],
        [t("category.parent"), of.parent ?? t("word.none")],
        [t("category.priority"), String(of.priority ?? 5)],
        [t("category.ttl"), of.ttl ?? t("category.ttl.none")],
        [t("category.bypass"), yes(of.bypass)],
        ...(of.bypass ? [[t("category.counts"), yes(of.counts)] as [string, string]] : []),
        [t("category.mutable"), yes(of.mutable)],
        [t("category.escalate"), of.escalate ?? t("word.no")],
        ...(of.changed ? [[t("users.changed"), <When ms={of.changed} />] as [string, ComponentChildren]] : []),
      ]} />
    </Card>
  );
}
