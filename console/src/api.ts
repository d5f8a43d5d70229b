// Calls of the server: verbs, the door, and the stream of a trace.

import { signal } from "@preact/signals";
import { format, parse, type Json } from "./json.ts";
import { session, why, type Session } from "./session.ts";

// Problem is the error of a call: what the server said, or that it did not answer.
export class Problem extends Error {
  readonly code: string; // one of the API's codes, or "offline"
  readonly field: string;
  readonly retryAfter: number; // seconds; 0: not said
  constructor(code: string, message: string, field = "", retryAfter = 0) {
    super(message);
    this.code = code;
    this.field = field;
    this.retryAfter = retryAfter;
  }
}

// link tells whether the server answers. What is on the page is old as long as it is "lost".
export const link = signal<"live" | "lost">("live");

// lastAnswer is when the server answered last.
export const lastAnswer = signal(Date.now());

const patience = 20_000;
const pulse = 6_000; // for the question who is logged in, by which a page finds out that nothing comes through

async function send(path: string, init: RequestInit, body?: unknown, wait = patience): Promise<Response> {
  const headers = new Headers(init.headers);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  if (session.value) headers.set("X-CSRF-Token", session.value.csrf);
  let res: Response;
  try {
    res = await fetch(path, {
      credentials: "same-origin", redirect: "error", cache: "no-store",
      ...init, headers, signal: init.signal ? AbortSignal.any([init.signal, AbortSignal.timeout(wait)]) : AbortSignal.timeout(wait), ...(body === undefined ? {} : { body: format(body) }),
    });
  } catch (e) {
    if (init.signal?.aborted) throw e;
    link.value = "lost";
    throw new Problem("offline", "the server does not answer");
  }
  // A proxy whose server is away answers in its name, and not with JSON.
  const type = res.headers.get("Content-Type") ?? "";
  if (!res.ok && !type.includes("json")) {
    if (res.status >= 500) link.value = "lost";
    throw new Problem(res.status >= 500 ? "offline" : "internal", `the server, or a proxy before it, answered ${res.status}`);
  }
  return res;
}

// came notes that an answer came whole: one that breaks off in the middle is none.
function came(): void {
  link.value = "live";
  lastAnswer.value = Date.now();
}

// json reads the whole of an answer. What is no JSON did not come from the server.
async function json<T>(res: Response, signal?: AbortSignal): Promise<T> {
  let text: string;
  try {
    text = await res.text();
  } catch (e) {
    if (signal?.aborted) throw e;
    link.value = "lost";
    throw new Problem("offline", "the answer broke off");
  }
  try {
    const value = parse(text) as T;
    came();
    return value;
  } catch {
    link.value = "lost";
    throw new Problem("offline", "what came back is not the server's: is there a proxy in between?");
  }
}

async function problemOf(res: Response, signal?: AbortSignal): Promise<Problem> {
  const said = await json<{ code?: string; detail?: string; field?: string }>(res, signal);
  return new Problem(said.code ?? "internal", said.detail ?? `status ${res.status}`, said.field ?? "", Number(res.headers.get("Retry-After") ?? 0));
}

// expired ends the session on this page: the server does not know it any more.
function expired(): void {
  if (session.value) {
    session.value = null;
    why.value = "expired";
  }
}

// call runs a verb. Numbers that JavaScript cannot hold come as Exact.
export async function call<R>(verb: string, params: object = {}, options: { signal?: AbortSignal; key?: string; patience?: number } = {}): Promise<R> {
  const headers: Record<string, string> = options.key ? { "Idempotency-Key": options.key } : {};
  const res = await send(`/api/v1/${verb}`, { method: "POST", headers, ...(options.signal ? { signal: options.signal } : {}) }, params, options.patience);
  if (res.status === 401) expired();
  if (!res.ok) throw await problemOf(res, options.signal);
  return json<R>(res, options.signal);
}

// get reads a document of the server that is no verb's answer.
export async function get<R>(path: string, options: { signal?: AbortSignal } = {}): Promise<R> {
  const res = await send(path, { method: "GET", ...(options.signal ? { signal: options.signal } : {}) });
  if (res.status === 401) expired();
  if (!res.ok) throw await problemOf(res, options.signal);
  return json<R>(res, options.signal);
}

// Answer is what came back, whether it went well or not.
export interface Answer {
  status: number;
  body: Json | undefined; // undefined: it is no JSON
  text: string;
  took: number; // milliseconds
}

// attempt runs a verb and gives what came back, for people who try verbs. With an API key
// it is the key's call: the session has no part in it.
export async function attempt(verb: string, params: unknown, options: { apiKey?: string; key?: string } = {}): Promise<Answer> {
  const headers = new Headers({ "Content-Type": "application/json" });
  if (options.key) headers.set("Idempotency-Key", options.key);
  if (options.apiKey) headers.set("Authorization", `Bearer ${options.apiKey}`);
  else if (session.value) headers.set("X-CSRF-Token", session.value.csrf);
  const began = performance.now();
  try {
    const res = await fetch(`/api/v1/${verb}`, {
      method: "POST", headers, body: format(params), redirect: "error", cache: "no-store",
      credentials: options.apiKey ? "omit" : "same-origin", signal: AbortSignal.timeout(3 * patience),
    });
    const text = await res.text();
    const took = performance.now() - began;
    if (res.status === 401 && !options.apiKey) expired();
    let body: Json | undefined;
    try {
      body = parse(text);
    } catch {
      body = undefined;
    }
    return { status: res.status, body, text, took };
  } catch (e) {
    if (e instanceof TypeError && !navigator.onLine) link.value = "lost";
    throw new Problem("offline", "the server does not answer");
  }
}

// whoami asks who is logged in.
export async function whoami(): Promise<void> {
  const res = await send("/console/session", { method: "GET" }, undefined, pulse);
  if (res.ok) session.value = await json<Session>(res);
  else if (res.status === 401) {
    came();
    expired();
    session.value = null;
  } else throw await problemOf(res);
}

// login takes a user's password, or a one-time link.
export async function login(what: { user: string; password: string } | { link: string }): Promise<void> {
  const res = await send("/console/login", { method: "POST" }, what);
  if (!res.ok) throw await problemOf(res);
  session.value = await json<Session>(res);
  why.value = "";
}

export async function logout(): Promise<void> {
  const res = await send("/console/logout", { method: "POST" });
  if (!res.ok && res.status !== 401) throw await problemOf(res);
  came();
  session.value = null;
  why.value = "";
}

// trace follows the frames of a user, a connection or a channel, until stop is called or
// the server ends it. It gives each line to take.
export function trace<L>(query: Record<string, string>, take: (line: L) => void, ended: (error?: Problem) => void): () => void {
  const abort = new AbortController();
  void (async () => {
    try {
      const res = await fetch(`/api/v1/trace?${new URLSearchParams(query)}`, {
        credentials: "same-origin", cache: "no-store", signal: abort.signal,
        headers: { "X-CSRF-Token": session.value?.csrf ?? "" },
      });
      if (res.status === 401) expired();
      if (!res.ok || !res.body) throw await problemOf(res);
      const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line) take(parse(line) as L);
      }
      ended();
    } catch (e) {
      if (abort.signal.aborted) return;
      ended(e instanceof Problem ? e : new Problem("offline", "the connection was lost"));
    }
  })();
  return () => abort.abort();
}
