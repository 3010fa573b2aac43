import { expect, it } from "vitest";
import { problemOf, retryAfter } from "./problem";

it("reads a problem document", async () => {
  const body = JSON.stringify({
    type: "/problems/rate-limited",
    title: "Too Many Requests",
    status: 429,
    detail: "slower",
  });
  const problem = await problemOf(new Response(body, { status: 429, headers: { "Retry-After": "7" } }));
  expect(problem).toMatchObject({ status: 429, detail: "slower", type: "/problems/rate-limited", retryAfterMs: 7000 });
  expect(problem.isPassing).toBe(true);
});

it("makes a problem of an answer that is no document, as of a proxy", async () => {
  const problem = await problemOf(new Response("<html>", { status: 502, statusText: "Bad Gateway" }));
  expect(problem).toMatchObject({ status: 502, title: "Bad Gateway", detail: "", retryAfterMs: null });
});

it("reads seconds and dates, and nothing else", () => {
  const now = Date.parse("2026-05-03T10:00:00Z");
  expect(retryAfter("Sun, 03 May 2026 10:00:05 GMT", now)).toBe(5000);
  expect(retryAfter("0", now)).toBe(0);
  expect(retryAfter("soon", now)).toBeNull();
});
