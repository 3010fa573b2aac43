/** What the page knows about its live stream. Pure: time and chance come with the events. */

export const STALE_MS = 35_000;
/** How long a hidden page keeps its stream. */
export const HIDDEN_MS = 5 * 60_000;
const FIRST_MS = 500;
const MOST_MS = 30_000;

export type Status = "idle" | "connecting" | "live" | "reconnecting" | "stale" | "paused" | "refused";

export interface State {
  status: Status;
  /** When something came last, or the page began to wait, in ms; signs of life count. */
  heardAt: number;
  /** Resumes the stream. */
  lastId: string | null;
  /** Failures since the stream last brought something. */
  attempt: number;
  /** When to connect again, in ms; null while connected, or if nothing is wanted. */
  retryAt: number | null;
}

export type Input =
  | { type: "start"; now: number }
  | { type: "heard"; now: number; id?: string }
  | { type: "failed"; now: number; chance: number; retryAfterMs?: number | null }
  | { type: "refused"; now: number }
  | { type: "tick"; now: number }
  | { type: "pause" }
  | { type: "stop" };

export const IDLE: State = { status: "idle", heardAt: 0, lastId: null, attempt: 0, retryAt: null };

/** Returns the state after an input. */
export function next(state: State, input: Input): State {
  switch (input.type) {
    case "start": {
      const isFirst = state.status === "idle" || state.status === "refused";
      const status = isFirst ? "connecting" : state.status === "stale" ? "stale" : "reconnecting";
      return { ...state, status, heardAt: isFirst ? input.now : state.heardAt, retryAt: null };
    }
    case "heard":
      return { status: "live", heardAt: input.now, lastId: input.id ?? state.lastId, attempt: 0, retryAt: null };
    case "failed": {
      const retryAt = input.now + backoff(state.attempt, input.chance, input.retryAfterMs ?? null);
      const status = state.status === "stale" ? "stale" : "reconnecting";
      return { ...state, status, attempt: state.attempt + 1, retryAt };
    }
    case "refused":
      return { ...state, status: "refused", retryAt: null };
    case "tick": {
      const waits = ["connecting", "live", "reconnecting"].includes(state.status);
      return waits && input.now - state.heardAt >= STALE_MS ? { ...state, status: "stale" } : state;
    }
    case "pause":
      return state.status === "idle" ? state : { ...state, status: "paused", retryAt: null };
    case "stop":
      return { ...IDLE, lastId: state.lastId };
  }
}

/**
 * Returns after how many ms to try again: twice as long after each failure, with jitter, at most 30 s.
 *
 * It is never earlier than the service asks for, up to five minutes.
 */
export function backoff(attempt: number, chance: number, retryAfterMs: number | null): number {
  const longest = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  const own = longest * (0.5 + chance / 2);
  return Math.max(own, Math.min(retryAfterMs ?? 0, 300_000));
}
