// Server-sent events down, POST up. The stream is read with fetch and not with
// an EventSource: that has no headers, so its token would stand in the address,
// and it comes back by itself, which is the client's business here.

import { http } from "./http.js";
import { address, type Link, type Wire } from "./transport.js";

export function sse(wire: Wire): Link {
  const { queue, over, end, fail, request, batch } = http(wire);
  let connection: string | undefined;
  let busy = false;

  const authorization = (): RequestInit => {
    const token = wire.token();
    return { headers: token ? { Authorization: `Bearer ${token}` } : {} };
  };

  const read = async () => {
    const { body } = await request(address(wire, "sse", true), authorization());
    const reader = body!.getReader();
    const decoder = new TextDecoder();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return fail();
      // A frame has no line breaks here, so each line of data is a whole one.
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (over()) return;
        if (!line.startsWith("data:")) continue;
        const frame = wire.parse(line.slice(5));
        connection ??= frame.connection;
        wire.frame(frame);
      }
    }
  };

  // One request after the other, so that frames stay in order.
  const post = async () => {
    for (busy = true; queue.length; ) {
      await request(address(wire, `sse/${connection}`), { method: "POST", body: `[${batch()}]`, ...authorization() });
    }
    busy = false;
  };

  read().catch(() => fail());
  return {
    send(text) {
      queue.push(text);
      if (!busy) post().catch(() => fail());
    },
    end,
  };
}
