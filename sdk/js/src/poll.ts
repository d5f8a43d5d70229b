// Long polling. One call waits at the server; frames go up with a second one,
// which ends the waiting of the first. A call that fails ends the link: each
// channel knows its place, so a new link loses nothing that the old one could keep.

import { http } from "./http.js";
import { address, closed, hello, type Link, type Wire } from "./transport.js";

export function poll(wire: Wire): Link {
  const { queue, over, end, fail, request, batch } = http(wire);
  const url = address(wire, "poll");
  let place = ""; // the connection, as the beginning of a body
  let after = 0;
  let calls = 0;
  let carrying = ""; // frames that are on their way

  const post = (body: string, init?: RequestInit) => request(url, { method: "POST", body: `{${place}${body}}`, ...init });

  const call = async (frames: string) => {
    calls++;
    carrying ||= frames;
    const answer = wire.parse(await (await post(`"after":${after},"frames":[${frames}]`)).text());
    calls--;
    if (frames) carrying = "";
    place ||= `"connection":${JSON.stringify(answer.connection)},`;
    // Two calls that overlap may both bring the same answer: its number tells.
    if (answer.after > after) {
      after = answer.after;
      for (const frame of answer.frames) if (!over()) wire.frame(frame);
    }
    if (answer.closed) fail(closed(answer.closed));
    next();
  };

  const start = (frames: string) => void call(frames).catch(() => fail());

  const next = () => {
    if (over() || carrying) return;
    // The ping has an answer at once, whatever the frames are: what comes after
    // them has to wait until they have arrived.
    if (queue.length) start(batch() + ',{"type":"ping"}');
    else if (!calls) start("");
  };

  const first = hello(wire);
  start(first ? wire.stringify(first) : "");
  return {
    idle: 30_000,
    send(text) {
      queue.push(text);
      // Frames that are sent together go together.
      queueMicrotask(next);
    },
    end() {
      end();
      if (place) post('"close":true', { keepalive: true, signal: null }).catch(() => {});
    },
  };
}
