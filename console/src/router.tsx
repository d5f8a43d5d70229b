// Addresses of pages: /console/users/42?tab=inbox is the page "users" with the rest
// ["42"] and a query. What a page shows is in its address, so that it can be sent to a
// colleague and the browser's arrows work.

import { computed, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "./words.ts";

const base = "/console/";

function read(): URL {
  return new URL(location.href);
}

const here = signal(read());

// unsaved tells that something would be lost by going away. Whoever does is asked first.
let unsaved = false;

function leave(): boolean {
  if (unsaved && !confirm(t("leave.unsaved"))) return false;
  unsaved = false;
  return true;
}

addEventListener("beforeunload", (e) => { if (unsaved) e.preventDefault(); });
addEventListener("popstate", () => {
  if (leave()) here.value = read();
  else history.pushState(null, "", here.peek().href); // where one still is
});

// useUnsaved says while something is shown whether it would be lost. What it gives says that
// it may go now.
export function useUnsaved(is: boolean): () => void {
  useEffect(() => {
    unsaved = is;
    return () => { unsaved = false; };
  }, [is]);
  return () => { unsaved = false; };
}

// place is where one is. Names in the path may hold anything; they are decoded.
export const place = computed(() => {
  const parts = here.value.pathname.slice(base.length).split("/").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part.startsWith("~") ? part.slice(1) : part);
    } catch {
      return part;
    }
  });
  return { page: parts[0] ?? "overview", rest: parts.slice(1), query: here.value.searchParams };
});

// encode writes a name in a path. A browser takes . and .. for steps, however they are
// encoded; so they get a ~ in front, and so does what begins with one.
const encode = (part: string) => (/^(~|\.{1,2}$)/.test(part) ? "~" : "") + encodeURIComponent(part);

// path makes an address of names and a query; what is empty is left out of the query.
export function path(parts: string[], query: Record<string, string | undefined> = {}): string {
  const set = Object.entries(query).filter(([, v]) => v !== undefined && v !== "") as [string, string][];
  return base + parts.map(encode).join("/") + (set.length > 0 ? `?${new URLSearchParams(set)}` : "");
}

export function go(to: string, replace = false): void {
  if (!leave()) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  const moved = here.value.pathname !== new URL(to, location.href).pathname;
  here.value = read();
  if (moved && !replace) {
    scrollTo(0, 0);
    document.getElementById("main")?.focus({ preventScroll: true });
  }
}

// setQuery changes parts of the query in place, for filters.
export function setQuery(change: Record<string, string | undefined>): void {
  const query = Object.fromEntries(here.value.searchParams);
  go(path([place.value.page, ...place.value.rest], { ...query, ...change }), true);
}

interface Link {
  to: string;
  children: ComponentChildren;
  class?: string;
  title?: string | undefined;
  "aria-current"?: "page" | "true" | undefined;
  "aria-label"?: string | undefined;
}

// A is a link to a page of the console.
export function A({ to, children, ...rest }: Link) {
  const click = (e: MouseEvent) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    go(to);
  };
  return <a href={to} onClick={click} {...rest}>{children}</a>;
}
