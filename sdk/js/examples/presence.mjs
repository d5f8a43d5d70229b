import { connect } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" });
const here = await skein.presence("room:7").open();
await here.set({ at: "the door" }); // what the others see of us
console.log(here.members, here.connections, here.users);

here.on("join", ({ user }) => console.log(user, "came"));
here.on("change", () => {
  // Draw here.members.
});
skein.close();
// → [ { user: 'ana', connections: 1, data: { at: 'the door' } } ] 1 1
