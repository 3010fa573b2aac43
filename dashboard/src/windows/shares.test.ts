import { expect, it } from "vitest";
import type { Window } from "../api/client";
import { merged, sharesOf } from "./shares";

function window(start: string, labels: Record<string, number>, revision = 1): Window {
  const count = Object.values(labels).reduce((sum, one) => sum + one, 0);
  const stats = Object.entries(labels).map(([label, one]) => [label, { count: one, pct: 0, mean_confidence: 1 }]);
  return { start, count, revision, unsupported: 0, labels: Object.fromEntries(stats) } as Window;
}

it("counts the posts of a span, and leaves gaps where there are no windows", () => {
  const found = sharesOf([window("a", { joy: 3, awe: 1 }), null, window("c", { joy: 1 })]);
  expect(found.total).toBe(5);
  expect(found.labels).toEqual([
    { label: "joy", count: 4, share: 0.8 },
    { label: "awe", count: 1, share: 0.2 },
  ]);
  expect(found.series[1]).toEqual({ label: "awe", counts: [1, null, 0], shares: [0.25, null, 0] });
});

it("has no shares of a window in which no post has a label", () => {
  expect(sharesOf([window("a", { joy: 0 })]).series[0]?.shares).toEqual([null]);
});

it("keeps the newest state of a window", () => {
  const old = merged(new Map(), [window("a", { joy: 2 }, 4)]);
  expect(merged(old, [window("a", { joy: 1 }, 3)]).get("a")?.count).toBe(2);
  expect(merged(old, [window("a", { joy: 3 }, 5)]).get("a")?.count).toBe(3);
});
