// The mark of the product, and the icons of the pages: lines that take the colour of the text.

import { language, setLanguage, t } from "../words.ts";

export function Mark() {
  return (
    <span class="mark">
      <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2.6"><ellipse cx="16" cy="16" rx="13" ry="6" /><ellipse cx="16" cy="16" rx="6" ry="13" /></g></svg>
      <span>Skein</span>
    </span>
  );
}

export function LanguageButton() {
  const other = language.value === "zh" ? "en" : "zh";
  return <button type="button" class="button quiet" lang={other === "zh" ? "zh-CN" : "en"} onClick={() => setLanguage(other)}>{t("shell.language")}</button>;
}

const lines: Record<string, string> = {
  overview: "M3 12l4-4 3 3 5-6M3 16h12",
  connections: "M6 5v4a3 3 0 003 3h0a3 3 0 013 3v0M6 3v2M12 15v0M4 3h4M10 15h4",
  channels: "M5 6h8M5 9h8M5 12h5M3 3h12v12H3z",
  users: "M9 9a3 3 0 100-6 3 3 0 000 6zM3 16c0-3 3-5 6-5s6 2 6 5",
  push: "M9 15V4M5 8l4-4 4 4M3 15h12",
  campaigns: "M3 7v4h3l6 4V3L6 7zM14 7v4",
  schedules: "M9 3a6 6 0 100 12A6 6 0 009 3zM9 6v3l2 2",
  hooks: "M6 3v7a3 3 0 006 0V8M12 8l-2 2M12 8l2 2",
  explorer: "M6 5L2 9l4 4M12 5l4 4-4 4",
  audit: "M5 3h8v12H5zM7 6h4M7 9h4M7 12h2",
  settings: "M3 5h12M3 9h12M3 13h12M6 4v2M12 8v2M8 12v2",
};

export function Icon({ name }: { name: string }) {
  return <svg class="nav-icon" viewBox="0 0 18 18" width="18" height="18" aria-hidden="true"><path d={lines[name] ?? ""} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" /></svg>;
}
