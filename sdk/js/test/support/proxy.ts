// A TCP proxy that behaves like a bad network.

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export interface Proxy {
  base: string;
  /** How many connections were opened to each path. */
  opened: Record<string, number>;
  /** Paths that end at once, such as `/ws`. */
  refuse: Set<string>;
  /** Cuts all connections. */
  cut(): void;
  /** Nothing passes any more on connections that there are, and nobody is told. */
  freeze(): void;
  close(): Promise<void>;
}

export async function proxy(to: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const opened: Record<string, number> = {};
  const refuse = new Set<string>();
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {});
    client.on("close", () => sockets.delete(client));
    client.once("data", (first) => {
      const path = /^\w+ (\/\w*)/.exec(first.toString("latin1"))?.[1] ?? "";
      opened[path] = (opened[path] ?? 0) + 1;
      if (refuse.has(path)) return client.destroy();
      const upstream = connect(to, "127.0.0.1");
      upstream.on("error", () => client.destroy());
      upstream.on("close", () => client.destroy());
      client.on("close", () => upstream.destroy());
      upstream.write(first);
      client.pipe(upstream);
      upstream.pipe(client);
      sockets.add(upstream);
      upstream.on("close", () => sockets.delete(upstream));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    opened,
    refuse,
    cut,
    freeze: () => sockets.forEach((socket) => { socket.unpipe(); socket.pause(); }),
    async close() {
      cut();
      server.close();
      await once(server, "close");
    },
  };
}
