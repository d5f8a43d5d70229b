// How old a list is.

import { clock } from "../format.ts";
import { t } from "../words.ts";
import { Button } from "./parts.tsx";
import type { Pages } from "./table.tsx";

// Fresh says of when a list is that is not asked for again and again, and reads it anew.
export function Fresh({ of }: { of: Pick<Pages<unknown>, "at" | "busy" | "live" | "error" | "refresh"> }) {
  const old = of.at > 0 && (!of.live || of.error);
  return (
    <>
      {old && <span class="soft small">{t("data.asof", { at: clock(of.at) })}</span>}
      {old && <Button busy={of.busy} onClick={() => void of.refresh()}>{t("do.refresh")}</Button>}
    </>
  );
}
