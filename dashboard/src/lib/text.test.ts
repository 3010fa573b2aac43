import { expect, it } from "vitest";
import { drawable, isolated } from "./text";

it("leaves marks of direction out, and keeps the joiners of emoji", () => {
  expect(drawable("abc\u202edef\u2066\u200f")).toBe("abcdef");
  expect(drawable("👩\u200d🚀")).toBe("👩\u200d🚀");
});

it("makes one line of a text and shows control characters", () => {
  expect(drawable(" a\nb\u0000\ud800 ")).toBe("a b\ufffd\ufffd");
});

it("keeps three accents of a stack", () => {
  expect(drawable(`e${"\u0301".repeat(9)}`)).toBe(`e${"\u0301".repeat(3)}`);
});

it("isolates a text", () => {
  expect(isolated("שלום\u2069")).toBe("\u2068שלום\u2069");
});
