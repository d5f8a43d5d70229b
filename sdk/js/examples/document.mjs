import { connect, path } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" });
const game = await skein.document("game:42").open();
game.on("change", ({ value, version, local }) => {
  // Draw the value. It is new where something has changed, and the same objects everywhere else.
});

const player = path("players", "ana"); // "/players/ana"
const done = game.set(player, { gold: 5 });
console.log(game.value.players.ana.gold, "at once,", game.pending, "pending");
console.log("version", await done);

await game.inc(`${player}/gold`, 2); // two players who do this at the same time lose nothing
await game.patch([
  { op: "test", path: `${player}/gold`, value: 7 },
  { op: "set", path: `${player}/rich`, value: true },
]); // all or nothing

await game.inc(`${player}/gold`, -100, { min: 0 }).catch((error) => console.log(error.code));
console.log(game.value);
skein.close();
// → 5 at once, 1 pending
// → version 1
// → conflict
// → { players: { ana: { gold: 7, rich: true } } }
