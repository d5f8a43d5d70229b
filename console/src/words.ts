// The words of the console, in English and Chinese. Each area of pages has a file in
// src/words with both languages, whose keys the compiler holds against each other.

import { computed, signal } from "@preact/signals";
import { shell } from "./words/shell.ts";
import { data } from "./words/data.ts";
import { people } from "./words/people.ts";
import { operations } from "./words/operations.ts";

const en = { ...shell.en, ...data.en, ...people.en, ...operations.en };
const zh: Record<keyof typeof en, string> = { ...shell.zh, ...data.zh, ...people.zh, ...operations.zh };

export type Word = keyof typeof en;
export type Language = "en" | "zh";

function remembered(): Language {
  const said = localStorage.getItem("skein.language");
  if (said === "en" || said === "zh") return said;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const language = signal<Language>(remembered());

export function setLanguage(to: Language): void {
  localStorage.setItem("skein.language", to);
  language.value = to;
}

export const locale = computed(() => (language.value === "zh" ? "zh-CN" : "en"));

// t gives a word or sentence; {name} stands for a value.
export function t(word: Word, values: Record<string, string | number> = {}): string {
  return (language.value === "zh" ? zh : en)[word].replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all));
}

// has tells whether there is a word of that name: for names that come from the server.
export function has(word: string): word is Word {
  return Object.hasOwn(en, word);
}
