import { expect, it } from "vitest";
import type { Window } from "../api/client";
import { sentimentOrder, sentimentsOf } from "./sentiment";

function window(labels: Record<string, number> | null, mean = 0): Window {
  return { sentiment: labels && { labels, mean_sentiment: mean } } as Window;
}

it("orders from negative to positive", () => {
  expect(sentimentOrder(["positive", "mixed", "negative", "neutral"])).toEqual([
    "negative",
    "neutral",
    "positive",
    "mixed",
  ]);
});

it("has shares and means of windows, and gaps where no post has a sentiment", () => {
  const found = sentimentsOf([
    window({ positive: 3, negative: 1 }, 0.5),
    null,
    window(null),
    window({ negative: 4 }, -1),
  ]);
  expect(found.total).toBe(8);
  expect(found.mean).toBe(-0.25);
  expect(found.means).toEqual([0.5, null, null, -1]);
  expect(found.labels).toEqual([
    { label: "negative", count: 5, share: 0.625 },
    { label: "positive", count: 3, share: 0.375 },
  ]);
  expect(found.series[1]?.shares).toEqual([0.75, null, null, 0]);
});

it("has no mean of nothing", () => {
  expect(sentimentsOf([null, window({})])).toMatchObject({ total: 0, mean: null, means: [null, null] });
});
