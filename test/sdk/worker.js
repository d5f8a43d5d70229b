import { connect } from "/sdk/skein.js";

// Says what it hears in the channel that it is told, and doubles it there.
onmessage = async ({ data: { channel: name, ...options } }) => {
  const skein = connect(options);
  const channel = skein.channel(name);
  channel.on("message", ({ data }) => postMessage(data));
  await channel.open();
  await channel.publish("message", `from a worker by ${skein.transport}`);
};
