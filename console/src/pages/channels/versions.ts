// The versions of a document, the newest first, in the manner of a log: the newest are asked
// for again and again, older ones come page by page.

import { call } from "../../api.ts";
import type { Version } from "../../ops.ts";
import type { Pages } from "../../ui/table.tsx";
import { useTail, type Slice } from "./log.ts";

interface Answer {
  patches: Version[]; // the oldest first
  more: boolean;
  epoch: string;
}

export function useVersions(channel: string): Pages<Version> {
  return useTail<Version>(async (params, signal): Promise<Slice<Version>> => {
    const a = await call<Answer>("doc.history", { channel, ...params }, { signal });
    return { rows: a.patches.slice().reverse(), more: a.more, epoch: a.epoch };
  }, (v) => v.version, undefined, [channel]);
}
