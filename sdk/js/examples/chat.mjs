import { connect } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" }); // a server in development mode
const room = skein.channel("room:7");

const stop = room.on("message", ({ seq, event, data, from }) => {
  console.log(seq, event, data.text, from.user);
});
await room.open(); // resolves when it is subscribed, rejects when it may not be

const { seq } = await room.publish("message", { text: "Hello" });
console.log("stored as", seq);

const { messages } = await room.history({ limit: 20 });
console.log(messages.length, "so far");

stop(); // nobody listens any more
skein.close();
// → 1 message Hello ana
// → stored as 1
// → 1 so far
