// Light or dark: as the system has it, or as somebody chose.

import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

function remembered(): Theme {
  const said = localStorage.getItem("skein.theme");
  return said === "light" || said === "dark" ? said : "auto";
}

export const choice = signal<Theme>(remembered());
const system = matchMedia("(prefers-color-scheme: dark)");
const dark = signal(system.matches);
system.addEventListener("change", () => { dark.value = system.matches; });

// theme is what is shown; what draws by itself (charts) draws anew when it changes.
export const theme = signal<"light" | "dark">("light");

effect(() => {
  const now = choice.value === "auto" ? (dark.value ? "dark" : "light") : choice.value;
  document.documentElement.dataset.theme = now;
  theme.value = now;
});

export function choose(to: Theme): void {
  if (to === "auto") localStorage.removeItem("skein.theme");
  else localStorage.setItem("skein.theme", to);
  choice.value = to;
}
