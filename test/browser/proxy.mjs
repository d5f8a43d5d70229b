// A way to a server that can be cut, as when somebody pulls the plug: what is
// open ends at once, and nothing comes through until it is mended. Or it takes
// all that is sent in one direction and brings it nowhere, until it is cut.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export async function proxy(port) {
  const open = new Map(); // a socket, and where it leads to
  let whole = true;
  const listener = createServer((near) => {
    near.on("error", () => {});
    if (!whole) return near.destroy();
    const far = connect(port, "127.0.0.1");
    far.on("error", () => {});
    for (const [one, other, direction] of [[near, far, "up"], [far, near, "down"]]) {
      open.set(one, { other, direction });
      one.pipe(other);
      one.on("close", () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const cut = () => {
    whole = false;
    for (const socket of open.keys()) socket.destroy();
  };
  return {
    base: `http://127.0.0.1:${listener.address().port}`,
    cut,
    mend: () => { whole = true; },
    // swallow loses what goes "up", to the server, or "down".
    swallow(lost) {
      for (const [one, { other, direction }] of open) if (direction === lost) one.unpipe(other).resume();
    },
    async close() {
      cut();
      listener.close();
      await once(listener, "close");
    },
  };
}
