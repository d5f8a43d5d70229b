import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { lastAnswer, link, logout, whoami } from "../api.ts";
import { clock } from "../format.ts";
import { A, path, place } from "../router.tsx";
import { may, session } from "../session.ts";
import { choice, choose, type Theme } from "../theme.ts";
import { t, type Word } from "../words.ts";
import { Ago, Empty, Page, Toasts, toast } from "../ui/parts.tsx";
import { pages } from "../pages.tsx";
import { Icon, LanguageButton, Mark } from "./marks.tsx";

// groups are the pages in the order of the menu.
const groups: [Word | "", string[]][] = [
  ["", ["overview"]],
  ["nav.group.live", ["connections", "channels"]],
  ["nav.group.people", ["users", "push", "campaigns"]],
  ["nav.group.work", ["schedules", "hooks", "explorer", "audit", "settings"]],
];

const open = signal(false); // the menu, on a phone

// allowed tells whether the role sees the page at all.
const allowed = (name: string) => !pages[name]?.needs || may(pages[name].needs);

function Menu() {
  const at = place.value.page;
  return (
    <nav id="menu" class={open.value ? "menu open" : "menu"} aria-label={t("nav.pages")}>
      {groups.map(([title, names]) => {
        const seen = names.filter((name) => pages[name] && allowed(name));
        return seen.length > 0 && (
          <div class="menu-group" key={title}>
            {title && <h2>{t(title)}</h2>}
            {seen.map((name) => (
              <A key={name} to={path([name])} aria-current={name === at ? "page" : undefined}><Icon name={name} /><span>{t(`nav.${name}` as Word)}</span></A>
            ))}
          </div>
        );
      })}
      <div class="menu-foot">
        <label class="theme"><span class="hidden">{t("shell.theme")}</span>
          <select value={choice.value} onChange={(e) => choose(e.currentTarget.value as Theme)}>
            <option value="auto">{t("shell.theme.auto")}</option>
            <option value="light">{t("shell.theme.light")}</option>
            <option value="dark">{t("shell.theme.dark")}</option>
          </select>
        </label>
        <LanguageButton />
      </div>
    </nav>
  );
}

// Pulse says whether the server answers. Everything that is on the page is as old as it says.
function Pulse() {
  return link.value === "live"
    ? <span class="pulse live" role="status">{t("shell.live")}</span>
    : <span class="pulse lost" role="status">{t("shell.lost", { since: clock(lastAnswer.value) })}</span>;
}

function Who() {
  const it = session.value!;
  const leave = () => logout().catch((e: Error) => toast(e.message, true));
  return (
    <details class="who">
      <summary><span class="who-name">{it.user}</span> <span class="badge soft">{t(`shell.role.${it.role}`)}</span></summary>
      <div class="who-body">
        <p class="soft small"><Ago ms={it.expires} /></p>
        <button type="button" class="button plain" onClick={leave}>{t("shell.logout")}</button>
      </div>
    </details>
  );
}

export function Shell() {
  // The server is asked while nothing else asks, so that a page without live values tells
  // when it is away too, and a session that has ended is noticed.
  useEffect(() => {
    const look = () => { if (!document.hidden && (link.value === "lost" || Date.now() - lastAnswer.value > 4000)) whoami().catch(() => {}); };
    const timer = setInterval(look, 2000);
    return () => clearInterval(timer);
  }, []);
  const at = place.value;
  useEffect(() => { open.value = false; }, [at.page]);
  const page = pages[at.page];
  return (
    <div class={link.value === "lost" ? "shell lost" : "shell"}>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>{t("nav.skip")}</a>
      <header class="top">
        <button type="button" class="icon menu-button" aria-label={t("nav.menu")} aria-expanded={open.value} aria-controls="menu" onClick={() => { open.value = !open.value; }}>☰</button>
        <A to={path([])} class="home" aria-label="Skein"><Mark /></A>
        {session.value?.dev && <span class="badge warn dev">{t("shell.dev")}</span>}
        <span class="top-room" />
        <Pulse />
        <Who />
      </header>
      <Menu />
      <main id="main" tabIndex={-1}>
        {link.value === "lost" && <div class="note bad" role="alert">{t("shell.lost.long", { at: clock(lastAnswer.value) })}</div>}
        {!page ? <Page title={t("shell.notfound")}><p><A to={path([])}>{t("shell.notfound.back")}</A></p></Page>
          : !allowed(at.page) ? <Page title={t(`nav.${at.page}` as Word)}><Empty>{t("shell.denied")}</Empty></Page>
          : <page.view key={at.page} rest={at.rest} query={at.query} />}
      </main>
      <Toasts />
    </div>
  );
}
