import { expect, it } from "vitest";
import type { Window } from "../api/client";
import { type LivePost, partFor, union } from "./messages";

const windows = [{ keyword: "*" }, { keyword: "tea" }] as Window[];
const posts = [
  { id: "1", keywords: ["tea"] },
  { id: "2", keywords: ["coffee"] },
] as LivePost[];

it("makes one stream of what all views want", () => {
  const wanted = [
    { keywords: ["tea", "*"], kinds: ["window"] },
    { keywords: ["tea"], kinds: ["post", "window"] },
  ] as const;
  expect(union(wanted)).toEqual({ keywords: ["*", "tea"], kinds: ["post", "window"] });
  expect(union([])).toBeNull();
});

it("gives each subscriber its part only", () => {
  expect(partFor({ keywords: ["tea"], kinds: ["window"] }, windows, posts)).toEqual({
    type: "update",
    windows: [windows[1]],
    posts: [],
    skipped: 0,
  });
  expect(partFor({ keywords: ["*"], kinds: ["post"] }, windows, posts)).toMatchObject({ windows: [], posts });
  expect(partFor({ keywords: ["milk"], kinds: ["post", "window"] }, windows, posts)).toBeNull();
});

it("tells of posts that were left out to those who want posts", () => {
  const none = { windows: [], posts: [], skipped: 7 };
  expect(partFor({ keywords: ["milk"], kinds: ["post"] }, windows, posts, 7)).toMatchObject(none);
  expect(partFor({ keywords: ["milk"], kinds: ["window"] }, windows, posts, 7)).toBeNull();
});
