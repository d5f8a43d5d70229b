import { connect } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" });
skein.inbox().on("message", async ({ data }) => {
  await save(data); // acknowledged when this is done; when it fails, the message comes again
});

async function save(data) {
  console.log(data);
}
await skein.ready();
skein.close();
