// A server with what applications do: namespaces, rooms, acks both ways, refusals.

import { createServer } from "node:http";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";
import { flags, serve } from "./flags.mjs";

const given = flags(process.argv.slice(2));
const http = createServer((request, response) => response.writeHead(404).end());

const io = new Server(http, {
  ...given.engine,
  path: given.path,
  connectTimeout: Number(given["connect-timeout"]),
  ...(given.recovery > 0 && { connectionStateRecovery: { maxDisconnectionDuration: given.recovery } }),
  ...(given.parser === "msgpack" && { parser: msgpack }),
});

function serveNamespace(namespace) {
  namespace.on("connection", (socket) => {
    socket.emit("welcome", { id: socket.id, recovered: socket.recovered });
    socket.on("echo", (...args) => socket.emit("echo-back", ...args));
    socket.on("echo-ack", (...args) => args.pop()(...args));
    socket.on("message", (x) => socket.send(Buffer.isBuffer(x) ? x : `re:${x}`));
    socket.on("join", (room, done) => {
      socket.join(room);
      done("ok");
    });
    socket.on("leave", (room, done) => {
      socket.leave(room);
      done("ok");
    });
    socket.on("say-room", (room, message) => socket.to(room).emit("said", message));
    socket.on("say-others", (message) => socket.broadcast.emit("said", message));
    socket.on("say-all", (message) => namespace.emit("said", message));
    socket.on("ask-me", () => socket.emit("question", 41, (answer) => socket.emit("answered", answer)));
    socket.on("rooms", (done) => done([...socket.rooms].sort()));
    socket.on("kick", () => socket.disconnect());
    socket.on("drop", () => socket.conn.close());
  });
}

serveNamespace(io.of("/"));
serveNamespace(io.of("/chat"));

const secret = io.of("/secret");
secret.use((socket, next) => {
  const { auth, query } = socket.handshake;
  if (auth.token === "good" || query.token === "good") return next();
  next(Object.assign(new Error("not authorized"), { data: { code: 4401 } }));
});
serveNamespace(secret);

serve(http, given.listen);
