import { connect } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", {
  token, // asked before each attempt to connect, and when the token is about to expire
});

async function token() {
  // Your application's: return (await fetch("/token")).text();
  return undefined; // anonymous
}

skein.on("state", ({ state, error, delay }) => {
  console.log(state, error?.code ?? "", delay ?? "");
});
skein.on("error", (error) => console.error(error.code, error.message)); // what nobody else was told

const { user, heartbeat } = await skein.ready();
console.log(user, heartbeat);
skein.close();
// → connecting
// → connected
// → undefined 15
// → closed closed
