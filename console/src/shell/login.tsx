import { useEffect, useState } from "preact/hooks";
import { login, Problem } from "../api.ts";
import { why } from "../session.ts";
import { t } from "../words.ts";
import { Button, ErrorNote, Text, useRun } from "../ui/parts.tsx";
import { LanguageButton, Mark } from "./marks.tsx";

export function Login() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const it = useRun();
  useEffect(() => { document.title = `${t("login.title")} · Skein`; }, []);
  const submit = async (e: Event) => {
    e.preventDefault();
    await it.run(() => login({ user: user.trim(), password }));
  };
  const error = it.error?.code === "rate_limited" ? new Problem("rate_limited", t("login.wait", { seconds: it.error.retryAfter })) : it.error;
  return (
    <main class="login">
      <form class="card login-card form" onSubmit={submit}>
        <div class="login-top"><Mark /><LanguageButton /></div>
        <h1>{t("login.title")}</h1>
        {why.value === "expired" && <div class="note warn" role="status">{t("login.expired")}</div>}
        {why.value === "link" && <div class="note bad" role="alert">{t("login.link")}</div>}
        <Text label={t("login.user")} value={user} onChange={setUser} autocomplete="username" required autofocus />
        <Text label={t("login.password")} value={password} onChange={setPassword} type="password" autocomplete="current-password" required />
        <ErrorNote error={error} />
        <Button type="submit" kind="main" busy={it.busy}>{t("login.do")}</Button>
        <p class="soft small">{t("login.help")}</p>
      </form>
    </main>
  );
}
