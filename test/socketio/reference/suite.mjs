// Echo at /engine.io/, and the small Socket.IO server that the protocol's own texts describe.

import { createServer } from "node:http";
import { Server as Engine } from "engine.io";
import { Server } from "socket.io";
import { flags, serve } from "./flags.mjs";

const given = flags(process.argv.slice(2));
const http = createServer((request, response) => response.writeHead(404).end());

const engine = new Engine(given.engine);
engine.attach(http, { path: "/engine.io/", destroyUpgrade: false });
engine.on("connection", (socket) => {
  socket.on("message", (data) => socket.send(data));
});

const io = new Server(http, { ...given.engine, path: given.path, connectTimeout: Number(given["connect-timeout"]) });
io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
});
io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));

serve(http, given.listen);
