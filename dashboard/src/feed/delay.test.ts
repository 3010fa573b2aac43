import { expect, it } from "vitest";
import { delays, drawn, isImpossible, median } from "./delay";
import type { FeedPost } from "./post";

const post = (createdAt: number, classifiedAt: number | null): FeedPost =>
  ({ createdAt, classifiedAt }) as unknown as FeedPost;

it("has no median of nothing, and the lower one of two", () => {
  expect(median([])).toBeNull();
  expect(median([3, 1])).toBe(1);
  expect(median([9, 1, 5])).toBe(5);
});

it("tells the median of the last posts, and changes twice a second at most", () => {
  expect(delays.value).toBeNull();
  drawn([post(1_000, null)], 1_400);
  expect(delays.value).toEqual({ posts: 1, created: 400, classified: null });
  drawn([post(1_000, 1_100)], 1_500);
  expect(delays.value?.posts).toBe(1);
  drawn([post(1_900, 1_950)], 2_000);
  expect(delays.value).toEqual({ posts: 3, created: 400, classified: 50 });
  drawn(
    Array.from({ length: 150 }, () => post(2_990, 2_995)),
    3_000,
  );
  expect(delays.value).toEqual({ posts: 100, created: 10, classified: 5 });
});

it("notices a clock that cannot be right", () => {
  expect(isImpossible({ posts: 1, created: -4_000, classified: null })).toBe(true);
  expect(isImpossible({ posts: 1, created: -20, classified: null })).toBe(false);
});
