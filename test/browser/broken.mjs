// A proxy for HTTP as they go wrong before a server: it answers in the server's name, cuts
// answers in the middle, or lets requests hang, until it is told to pass them on again.

import { once } from "node:events";
import { createServer, request } from "node:http";

export async function broken(port) {
  let mode = "pass";
  const open = new Set();
  const listener = createServer((req, res) => {
    if (mode === "502") {
      req.resume();
      res.writeHead(502, { "Content-Type": "text/html" });
      return void res.end("<html><body><h1>502 Bad Gateway</h1></body></html>");
    }
    if (mode === "hang") return void req.resume();
    const far = request({ host: "127.0.0.1", port, method: req.method, path: req.url, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      if (mode !== "cut") return void answer.pipe(res);
      answer.once("data", (chunk) => {
        res.write(chunk.subarray(0, Math.ceil(chunk.length / 2)));
        setImmediate(() => res.destroy());
      });
      answer.once("end", () => res.destroy());
    });
    far.on("error", () => res.destroy());
    res.on("close", () => far.destroy());
    req.pipe(far);
  });
  listener.on("connection", (socket) => {
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    base: `http://127.0.0.1:${listener.address().port}`,
    be(now) { mode = now; },
    // mend passes on what comes from now on, and ends what hung.
    mend() { mode = "pass"; },
    async close() {
      for (const socket of open) socket.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}
