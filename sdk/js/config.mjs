// How esbuild is called, by the build and by the tests.

import { fileURLToPath } from "node:url";

export const common = {
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  bundle: true,
  target: "es2022",
  logLevel: "warning",
};

// What begins with an underscore is between the classes; nobody outside may know its name.
export const small = { minify: true, mangleProps: /^_[a-z]/, legalComments: "none" };
