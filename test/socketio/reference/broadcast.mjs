// The benchmark's peer: sockets connect from outside and stay idle, and POST
// /broadcast sends one event of 115 bytes to all of them. GET /count tells how
// many there are. Prints its pid, for whoever measures it.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { flags, serve } from "./flags.mjs";

const given = flags(process.argv.slice(2));

// On the wire 42["news","xxx…"], 115 bytes with Engine.IO's type in front.
const text = "x".repeat(115 - '42["news",""]'.length);

const http = createServer((request, response) => {
  if (request.method === "POST" && request.url === "/broadcast") {
    io.emit("news", text);
    response.writeHead(204).end();
  } else if (request.method === "GET" && request.url === "/count") {
    response.writeHead(200, { "Content-Type": "text/plain" }).end(String(io.engine.clientsCount));
  } else {
    response.writeHead(404).end();
  }
});

const io = new Server(http, {
  ...given.engine,
  path: given.path,
  connectTimeout: Number(given["connect-timeout"]),
  serveClient: false,
});

console.log(`pid ${process.pid}`);
serve(http, given.listen);
