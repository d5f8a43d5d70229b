// The frame: who is logged in, where one is, and whether the server answers.

import { useEffect } from "preact/hooks";
import { login, Problem, whoami } from "../api.ts";
import { session, why } from "../session.ts";
import { language, t } from "../words.ts";
import { Waiting } from "../ui/parts.tsx";
import { Login } from "./login.tsx";
import { Shell } from "./shell.tsx";

// begin takes a one-time link out of the address, so that it stays neither in the history
// nor on the screen, or asks who is logged in. It goes on until the server answers.
async function begin(): Promise<void> {
  const token = new URLSearchParams(location.hash.slice(1)).get("link");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  for (let wait = 500; ; wait = Math.min(10_000, wait * 2)) {
    try {
      if (token) await login({ link: token });
      else await whoami();
      return;
    } catch (e) {
      if (e instanceof Problem && e.code !== "offline" && e.code !== "unavailable") {
        if (token) why.value = "link";
        session.value = null;
        return;
      }
      await new Promise((wake) => setTimeout(wake, wait));
    }
  }
}

export function App() {
  useEffect(() => {
    void begin();
    // A link that is pasted into the address of a page that is open loads nothing anew.
    const pasted = () => { if (location.hash.startsWith("#link=")) void begin(); };
    addEventListener("hashchange", pasted);
    return () => removeEventListener("hashchange", pasted);
  }, []);
  useEffect(() => { document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en"; }, [language.value]);
  if (session.value === undefined) return <main class="starting"><Waiting /><p class="soft slow">{t("login.offline")}</p></main>;
  return session.value === null ? <Login /> : <Shell key={session.value.user} />;
}
