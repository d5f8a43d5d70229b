// Uses the client in the runtime that runs this: the address is the argument.

import { conversations } from "../../sdk/js/dist/chat.js";
import { connect, path } from "../../sdk/js/dist/index.js";

const base = (globalThis.Deno?.args ?? globalThis.process.argv.slice(2))[0];
const used = [];

for (const transport of ["websocket", "sse", "poll"]) {
  if (transport === "websocket" && !globalThis.WebSocket) continue;
  const skein = connect(base, { user: "ana", transports: [transport] });
  const room = skein.channel(`room:${transport}`);
  const heard = new Promise((resolve) => room.on("message", ({ data }) => resolve(data)));
  const { seq } = await room.publish("message", "hello");
  if (seq !== 1 || (await heard) !== "hello") throw new Error(`${transport}: the message is wrong`);
  const doc = await skein.document(`game:${transport}`).open();
  await doc.set(path("a/b"), { n: 1 });
  if ((await doc.inc(path("a/b", "n"))) !== 2 || doc.value["a/b"].n !== 2) throw new Error(`${transport}: the document is wrong`);
  const refusal = await doc.remove("/nothing").catch((error) => error.code);
  if (refusal !== "conflict") throw new Error(`${transport}: the refusal is ${refusal}`);
  const dm = await conversations(skein).direct(transport);
  await dm.ready();
  await dm.send("hello");
  if (dm.messages.map(({ data, state }) => `${data} ${state}`).join() !== "hello sent") throw new Error(`${transport}: the conversation is wrong`);
  used.push(skein.transport);
  skein.close();
}
console.log(used.join(" "));
