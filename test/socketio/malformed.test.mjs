// Socket.IO packets that cannot be read, or that come where they may not: each
// closes the whole connection, and nothing of it reaches another one.

import assert from "node:assert/strict";
import { checks } from "./check.mjs";
import { join, peer, serves } from "./member.mjs";
import { rejects, within } from "./wire.mjs";

const check = checks(import.meta.filename);

check("bad packet: an unknown type closes the connection", async () => {
  const line = await join();
  line.send("4abc");
  await line.closed(450);
});

check("bad packet: an event that is an object closes the connection", async () => {
  const line = await join();
  line.send("42{}");
  await line.closed(450);
});

check("bad packet: letters in place of the ack id close the connection", async () => {
  const line = await join();
  line.send('42abc["message-with-ack",1,"2",{"3":[false]}]');
  await line.closed(450);
});

for (const packet of [
  "4", "42", "42[]", "42[null]", "42[{}]", "42[[]]", '42"message"', '42["message"', '42["message"]x', "421", '42-1["message"]', '42 1["message"]', "42[true]",
  "43", "431", "431{}", '431"x"', "41{}", "41[]", "47[]", "49", "4-2[]", '42/,custom["message"]', '42/["message"]',
  "45", '45["message"]', '45-["message"]', '45x-["message"]', '451["message"]', '45-1-["message"]', '451.5-["message"]', "451-{}", "451-[]", '46["x"]', "461-1{}",
  '4511-["message"]', '4599999999999999999999-["message"]',
]) {
  check(`bad packet: "${packet}" closes the connection`, async () => {
    const line = await join();
    line.send(packet);
    await line.closed(450);
  });
}

for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
  check(`bad packet: the reserved event "${name}" closes the connection`, async () => {
    const line = await join();
    line.send(`42["${name}","x"]`);
    await line.closed(450);
  });
}

check("bad packet: binary where none is due closes the connection", async () => {
  const line = await join();
  line.send(Buffer.from([1, 2, 3]));
  await line.closed(450);
});

check("bad packet: text where a buffer is due closes the connection", async () => {
  const line = await join();
  line.send('451-["message",{"_placeholder":true,"num":0}]');
  line.send('42["message","x"]');
  await line.closed(450);
});

for (const num of ["1", "-1", "0.5", '"0"', "null", "99999999999999999999", "{}"]) {
  check(`bad packet: a placeholder whose num is ${num} closes the connection`, async () => {
    const line = await join();
    line.send(`451-["message",{"_placeholder":true,"num":${num}}]`);
    line.send(Buffer.from([1]));
    await line.closed(450);
  });
}

check("bad packet: one in a namespace ends all namespaces of the connection", async () => {
  const line = await join("/", "/custom");
  line.send("42/custom,{}");
  await line.closed(450);
});

check("bad packet, polling: it ends the session", async () => {
  const session = await peer.open();
  await session.send("40");
  await session.collect(2);
  await rejects(session.post("42{}"), 200, 400);
  await session.over();
});

check("bad packet: eleven buffers are too many", async () => {
  const line = await join();
  line.send(`4511-["message"${Array.from({ length: 11 }, (_, i) => `,{"_placeholder":true,"num":${i}}`).join("")}]`);
  await line.closed(450);
});

check("bad packet: ten buffers are not", async () => {
  const line = await join();
  line.send(`4510-["message"${Array.from({ length: 10 }, (_, i) => `,{"_placeholder":true,"num":${i}}`).join("")}]`);
  for (let i = 0; i < 10; i++) line.send(Buffer.from([i]));
  assert.match(await line.message(), /^4510-\["message-back",/);
  for (let i = 0; i < 10; i++) assert.deepEqual(await line.message(), Buffer.from([i]));
  await serves(line);
});

check("nothing that is refused disturbs another connection", async () => {
  const good = await join();
  for (const packet of ["4abc", "42{}", '451-["message",{"_placeholder":true,"num":5}]']) {
    const bad = await join();
    bad.send(packet);
    if (packet.startsWith("45")) bad.send(Buffer.from([1]));
    await bad.closed(450);
  }
  await serves(good);
});

check("a connection that ends between two buffers leaves nothing behind", async () => {
  const line = await join();
  line.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  line.send(Buffer.from([1]));
  await line.end();
  const next = await join();
  await within(2000, serves(next), "no answer");
});
