// The one error of this client.

/** What went wrong, in a word: those of the protocol, and `closed`, which is this client's own. */
export type ErrorCode =
  | "bad_frame" | "bad_request" | "unknown_type" | "unauthorized" | "denied" | "not_found" | "conflict" | "too_large"
  | "rate_limited" | "unavailable" | "internal"
  | "auth_timeout" | "token_refused" | "token_expired" | "disconnected" | "replaced" | "going_away" | "policy"
  | "closed"
  | (string & {});

/** Everything that a promise of this client is rejected with, and every `error` event. */
export class SkeinError extends Error {
  override readonly name = "SkeinError";
  /** For programs; `message` is for people, and its wording may change. */
  readonly code: ErrorCode;
  /** Milliseconds after which a repeat may succeed; undefined when waiting does not help. */
  readonly retryAfter: number | undefined;
  /** The channel that it is about, if any. */
  readonly channel: string | undefined;

  constructor(code: ErrorCode, message: string, retryAfter?: number, channel?: string) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
    this.channel = channel;
  }
}
