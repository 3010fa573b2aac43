import { expect, it } from "vitest";
import type { Window } from "../api/client";
import { comparedOf, comparedTable, rounded, topsOf } from "./compared";

function window(labels: Record<string, number>, sentiment: Record<string, number>, mean: number): Window {
  const count = Object.values(labels).reduce((sum, one) => sum + one, 0);
  const stats = Object.entries(labels).map(([label, one]) => [label, { count: one }]);
  return {
    count,
    unsupported: 0,
    labels: Object.fromEntries(stats),
    sentiment: { labels: sentiment, mean_sentiment: mean },
  } as Window;
}

const AXIS = [0, 60_000];
const tea = comparedOf("tea", [window({ joy: 2, fear: 2 }, { positive: 4 }, 0.5), null], AXIS, 60);
const milk = comparedOf("milk", [null, window({ joy: 12 }, { negative: 12 }, -1)], AXIS, 60);

it("gives all charts the same axes", () => {
  expect(topsOf([tea])).toEqual({ share: 0.6, posts: 5 });
  expect(topsOf([tea, milk])).toEqual({ share: 1, posts: 20 });
  expect(topsOf([])).toEqual({ share: 0.2, posts: 1 });
});

it.each([
  [0, 1],
  [1, 1],
  [3, 5],
  [10, 10],
  [11, 20],
  [501, 1_000],
])("rounds %i up to %i", (value, expected) => {
  expect(rounded(value)).toBe(expected);
});

it("has one table of all keywords, in which a missing window is empty and a missing label is zero", () => {
  expect(comparedTable([tea, milk])).toEqual({
    columns: ["keyword", "start", "posts", "joy", "fear", "sentiment negative", "sentiment positive", "mean sentiment"],
    rows: [
      ["tea", "1970-01-01T00:00:00Z", 4, 2, 2, 0, 4, 0.5],
      ["tea", "1970-01-01T00:01:00Z", null, null, null, null, null, null],
      ["milk", "1970-01-01T00:00:00Z", null, null, null, null, null, null],
      ["milk", "1970-01-01T00:01:00Z", 12, 12, 0, 12, 0, -1],
    ],
  });
});
