import { connect } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" });
const inbox = skein.inbox();
inbox.on("held", ({ count, categories }) => console.log(count, "more to read", categories));
inbox.on("mark", ({ read, unread }) => console.log("another device has read up to", read, "and left", unread));

await skein.ready();
const { messages, unread } = await inbox.history({ limit: 20 });
console.log(messages.length, "messages,", unread, "not read");
// → 0 messages, 0 not read
const newest = messages.at(-1);
if (newest) await inbox.read(newest.seq); // on all devices
console.log("muted:", (await inbox.muted()).join() || "nothing");
// → muted: nothing
skein.close();
