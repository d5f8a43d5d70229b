// One WebSocket: each text message is a frame.

import { address, closed, hello, type Link, type Wire } from "./transport.js";

export function websocket(wire: Wire): Link {
  const url = address(wire, "ws");
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new wire.WebSocket!(url.href);
  let live = true;
  socket.onopen = () => {
    const first = hello(wire);
    if (first) socket.send(wire.stringify(first));
  };
  socket.onmessage = (event: { data: unknown }) => {
    if (live && typeof event.data === "string") wire.frame(wire.parse(event.data));
  };
  // A close follows; without a listener some implementations throw.
  socket.onerror = () => {};
  socket.onclose = (event: { code: number }) => {
    if (live) wire.gone(closed(event.code));
    live = false;
  };
  return {
    send: (text) => socket.send(text),
    end() {
      live = false;
      socket.close();
    },
  };
}
