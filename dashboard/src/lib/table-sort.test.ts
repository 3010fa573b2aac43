import { expect, it } from "vitest";
import { clicked, matching, sorted } from "./table-sort";
import { compareUrl, keywordUrl } from "./urls";

const self = <T>(value: T) => value;

it("sorts numbers and texts, with unknown ones last in both directions", () => {
  expect(sorted([1, null, 3, 2], self, true)).toEqual([3, 2, 1, null]);
  expect(sorted([1, null, 3, 2], self, false)).toEqual([1, 2, 3, null]);
  expect(sorted(["b", "C", "a", "topic 10", "topic 9"], self, false)).toEqual(["a", "b", "C", "topic 9", "topic 10"]);
});

it("keeps the order of equal rows", () => {
  const rows = [
    { n: 1, id: "a" },
    { n: 1, id: "b" },
    { n: 2, id: "c" },
  ];
  expect(sorted(rows, ({ n }) => n, true).map(({ id }) => id)).toEqual(["c", "a", "b"]);
});

it("turns the order with a second click, and begins with the largest number or the first text", () => {
  expect(clicked({ column: "a", isDescending: true }, "a", false)).toEqual({ column: "a", isDescending: false });
  expect(clicked({ column: "a", isDescending: false }, "b", false)).toEqual({ column: "b", isDescending: true });
  expect(clicked({ column: "a", isDescending: true }, "name", true)).toEqual({ column: "name", isDescending: false });
});

it("finds names that begin with a text first, and then those that contain it", () => {
  expect(matching(["iced Tea", "tea", "Teapot", "milk"], self, " te ")).toEqual(["tea", "Teapot", "iced Tea"]);
  expect(matching(["tea", "milk"], self, "")).toEqual(["tea", "milk"]);
});

it("writes addresses that hold any keyword", () => {
  expect(keywordUrl("a&b=c #d")).toBe("/?keyword=a%26b%3Dc+%23d");
  expect(new URLSearchParams(compareUrl(["*", "قهوة"]).split("?")[1]).getAll("keyword")).toEqual(["*", "قهوة"]);
});
