// How a push looks: as a card on a device, and as the frame that a client gets.

import { Exact, type Json } from "../../json.ts";
import { t } from "../../words.ts";
import { JsonLine, JsonView } from "../../ui/json.tsx";

const isObject = (v: Json | undefined): v is { [name: string]: Json } => typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Exact);

// pick gives the first of some members that is a text.
function pick(data: Json | undefined, names: string[]): string {
  if (typeof data === "string" && names.includes("text")) return data;
  if (!isObject(data)) return "";
  for (const name of names) if (typeof data[name] === "string" && data[name]) return data[name];
  return "";
}

export function Preview({ content }: { content: { [name: string]: Json } | undefined }) {
  if (!content) return <p class="soft">{t("preview.none")}</p>;
  const title = pick(content.data, ["title", "subject", "headline"]);
  const text = pick(content.data, ["text", "body", "message", "content"]);
  const { data, event, category, collapse, expires } = content;
  const frame = {
    type: "msg", channel: "@inbox", id: "01J…", seq: 8, event: event ?? "message", data,
    ...(category ? { category } : {}), ...(expires ? { expires } : {}), ...(collapse ? { collapse } : {}), time: Date.now(),
  };
  return (
    <>
      <div class="push-card" role="group" aria-label={t("preview.card")}>
        <span class="push-card-app">{typeof category === "string" ? category : t("push.nocategory")} · {t("time.now")}</span>
        {title && <strong>{title}</strong>}
        {text ? <span>{text}</span> : !title && <JsonLine value={data} />}
      </div>
      <details class="frame"><summary>{t("preview.frame")}</summary><JsonView value={frame} label={t("preview.frame")} /></details>
    </>
  );
}
