import { connect } from "@skein-realtime/client";
import { conversations } from "@skein-realtime/client/chat";

const skein = connect("http://127.0.0.1:8000", { user: "ana" }); // a server in development mode
const chat = conversations(skein);
chat.on("change", () => {
  // Draw chat.list and chat.unread.
});

const bob = await chat.direct("bob"); // a conversation with him, begun or not
bob.on("change", () => {
  // Draw bob.messages, with bob.status(message) for the ticks, and bob.typists.
});
await bob.ready();
bob.typing();
const sending = bob.send({ text: "Hello" }); // shown at once
console.log(bob.messages[0].state);
const { seq, users } = await sending;
console.log("stored as", seq, users ? "and bob is there" : "and bob will find it");
await bob.edit(seq, { text: "Hello, Bob" });
bob.read(); // everything that is there, on all devices

const team = await chat.create("team:rockets", { users: ["bob", "eve"], data: { title: "Rockets" } });
await team.role("bob", "admin");
const { items } = await team.members();
console.log(items.map(({ user, role }) => `${user}: ${role}`).join(", "));

await chat.ready();
console.log(chat.unread, "not read");
skein.close();
// → pending
// → stored as 1 and bob will find it
// → ana: owner, bob: admin, eve: member
// → 0 not read
