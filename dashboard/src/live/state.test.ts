import { describe, expect, it } from "vitest";
import { backoff, IDLE, next, STALE_MS, type State } from "./state";

const LIVE: State = { status: "live", heardAt: 1_000, lastId: "a-1", attempt: 0, retryAt: null };

describe("next", () => {
  it("is live as soon as something comes, and keeps the id that resumes it", () => {
    const begun = next(next(IDLE, { type: "start", now: 5 }), { type: "heard", now: 7 });
    expect(begun).toEqual({ status: "live", heardAt: 7, lastId: null, attempt: 0, retryAt: null });
    expect(next(next(begun, { type: "heard", now: 8, id: "a-2" }), { type: "heard", now: 9 }).lastId).toBe("a-2");
  });

  it("is stale after 35 seconds of silence, and not before", () => {
    expect(next(LIVE, { type: "tick", now: 1_000 + STALE_MS - 1 }).status).toBe("live");
    expect(next(LIVE, { type: "tick", now: 1_000 + STALE_MS }).status).toBe("stale");
  });

  it("stays stale while it tries to connect, and knows since when", () => {
    const stale = next(LIVE, { type: "tick", now: 60_000 });
    const failed = next(stale, { type: "failed", now: 61_000, chance: 0 });
    expect(next(failed, { type: "start", now: 62_000 })).toMatchObject({ status: "stale", heardAt: 1_000 });
  });

  it("waits longer after each failure, and starts anew after success", () => {
    let state = LIVE;
    const waits = [1, 2, 3].map(() => {
      state = next(state, { type: "failed", now: 0, chance: 1 });
      return state.retryAt;
    });
    expect(waits).toEqual([500, 1_000, 2_000]);
    expect(next(state, { type: "heard", now: 1 })).toMatchObject({ attempt: 0, retryAt: null, status: "live" });
  });

  it("does not try again without a new key, nor while it is paused", () => {
    expect(next(LIVE, { type: "refused", now: 1 })).toMatchObject({ status: "refused", retryAt: null });
    const paused = next(LIVE, { type: "pause" });
    expect(next(paused, { type: "tick", now: 1e9 }).status).toBe("paused");
    expect(paused.lastId).toBe("a-1");
  });
});

describe("backoff", () => {
  it("is between half of the time and all of it", () => {
    expect(backoff(3, 0, null)).toBe(2_000);
    expect(backoff(3, 1, null)).toBe(4_000);
    expect(backoff(99, 1, null)).toBe(30_000);
  });

  it("is never earlier than the service says, up to five minutes", () => {
    expect(backoff(0, 1, 7_000)).toBe(7_000);
    expect(backoff(0, 1, 1e9)).toBe(300_000);
  });
});
