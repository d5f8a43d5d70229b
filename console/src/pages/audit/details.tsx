import { call } from "../../api.ts";
import { useLive } from "../../live.ts";
import { has, t } from "../../words.ts";
import { Dialog } from "../../ui/dialog.tsx";
import { JsonView } from "../../ui/json.tsx";
import { Copy, Empty, Facts, Stale, Waiting, When } from "../../ui/parts.tsx";
import { By, Outcome, type Line } from "./line.tsx";

function Shown({ of }: { of: Line }) {
  const role = of.role ? `shell.role.${of.role}` : "";
  return (
    <>
      <Facts of={[
        [t("word.time"), <When ms={of.time} />],
        [t("audit.who"), <><strong>{of.who}</strong> <By of={of} /></>],
        ...(of.role ? [[t("audit.role"), has(role) ? t(role) : of.role] as [string, string]] : []),
        ...(of.address ? [[t("audit.address"), <code>{of.address}</code>] as [string, preact.ComponentChildren]] : []),
        [t("audit.verb"), <code>{of.verb}</code>],
        ...(of.target ? [[t("audit.target"), of.target] as [string, string]] : []),
        [t("audit.outcome"), <><Outcome of={of} />{!of.outcome && <span class="soft small"> {t("audit.open.long")}</span>}</>],
        ...(of.error ? [[t("audit.error"), of.error] as [string, string]] : []),
        [t("word.id"), <Copy text={of.id} />],
      ]} />
      <h3 class="ops-part">{t("audit.params")}</h3>
      {of.truncated ? <p class="soft">{t("audit.truncated")}</p> : of.params === undefined ? <p class="soft">{t("audit.params.none")}</p> : <JsonView value={of.params} label={t("audit.params")} />}
    </>
  );
}

// Details shows one line. When it is not among those that are loaded, it is looked for at
// its time, so that an address with a line in it can be sent.
export function Details({ id, at, known, onClose }: { id: string; at: number | undefined; known: Line | undefined; onClose: () => void }) {
  const it = useLive(async (signal) => {
    if (known || at === undefined) return known;
    const { lines } = await call<{ lines: Line[] }>("audit", { from: at, to: at + 1, limit: 1000 }, { signal });
    return lines.find((l) => l.id === id);
  }, 0, [id]);
  const line = known ?? it.data.value;
  return (
    <Dialog title={t("audit.details")} onClose={onClose} wide>
      {!line && <Stale of={it} />}
      {line ? <Shown of={line} /> : it.at.value ? <Empty>{t("audit.gone")}</Empty> : !it.error.value && <Waiting />}
    </Dialog>
  );
}
