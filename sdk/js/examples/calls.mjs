import { connect, SkeinError } from "@skein-realtime/client";

const skein = connect("http://127.0.0.1:8000", { user: "ana" });

// The server asks, we answer.
skein.handle("version", () => "1.2.3");

// We ask, the application answers; here there is none.
try {
  console.log(await skein.call("add", [1, 2]));
} catch (error) {
  console.log(error instanceof SkeinError, error.code);
}
skein.close();
// → true not_found
