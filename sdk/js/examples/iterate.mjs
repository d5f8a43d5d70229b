import { connect } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" });
const steps = skein.channel("room:steps", { since: { seq: 0 } }); // from the beginning
for (const n of [1, 2, 3]) await steps.publish("step", n);

for await (const { data } of steps) {
  console.log("step", data);
  if (data === 3) break;
}
skein.close();
// → step 1
// → step 2
// → step 3
