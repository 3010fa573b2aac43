import { describe, expect, it } from "vitest";
import { aligned, axisOf, MOST_WINDOWS, rangeOf, SIZES, SPAN_SECONDS, SPANS } from "./spans";

const NOW = Date.parse("2026-05-03T12:34:56Z");

describe("rangeOf", () => {
  it.each([
    ["15m", 60, 15],
    ["1h", 60, 60],
    ["6h", 300, 72],
    ["24h", 300, 288],
    ["7d", 3_600, 168],
    ["30d", 86_400, 30],
    ["90d", 86_400, 90],
  ] as const)("reads a live span of %s in windows of %i s", (span, size, windows) => {
    const range = rangeOf(span, null, NOW);
    expect(range.size).toBe(size);
    expect(axisOf(range)).toHaveLength(windows);
    expect(range.until).toBeGreaterThanOrEqual(NOW);
    expect(range.until - NOW).toBeLessThan(size * 1_000);
  });

  it("takes longer windows for a small chart", () => {
    expect(axisOf(rangeOf("24h", null, NOW, SIZES, 200))).toHaveLength(24);
  });

  it("takes longer windows where shorter ones are not kept any more", () => {
    const until = NOW - 3 * 86_400_000;
    expect(rangeOf("15m", until, NOW).size).toBe(300);
  });

  it("asks for all windows up to now, because the service answers the latest first", () => {
    const until = NOW - 10 * 3_600_000;
    const range = rangeOf("1h", until, NOW);
    expect(range.size).toBe(60);
    expect(range.limit).toBeGreaterThanOrEqual((NOW - range.since) / 60_000);
  });

  it("never asks for more than one answer has, and is never empty", () => {
    for (const span of SPANS) {
      for (const days of [0, 1, 2, 5, 20, 100, 500]) {
        const range = rangeOf(span, NOW - days * 86_400_000, NOW);
        expect(range.limit).toBeLessThanOrEqual(MOST_WINDOWS);
        expect(axisOf(range).length).toBeGreaterThan(0);
        expect(range.until - range.since).toBeGreaterThanOrEqual(Math.min(SPAN_SECONDS[span], range.size) * 1_000);
        expect(SIZES.map(({ size }) => size)).toContain(range.size);
      }
    }
  });
});

it("leaves a gap where there is no window", () => {
  const axis = axisOf({ size: 60, since: 0, until: 180_000 });
  const windows = [
    { start: "1970-01-01T00:02:00Z" },
    { start: "1970-01-01T00:00:00Z" },
    { start: "1970-01-01T01:00:00Z" },
  ];
  expect(aligned(windows, axis)).toEqual([windows[1], null, windows[0]]);
});
