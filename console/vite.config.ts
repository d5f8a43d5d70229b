import { defineConfig } from "vite";

// Everything is a file of its own with a hash in its name: the content security policy of
// the page allows neither inline scripts nor inline styles, nor data: scripts.
export default defineConfig({
  base: "/console/",
  build: {
    outDir: "../internal/edge/console/dist",
    emptyOutDir: false, // a file that keeps the folder in the repository is in it; tools/console clears the rest
    assetsInlineLimit: 0,
    target: "es2022",
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
});
