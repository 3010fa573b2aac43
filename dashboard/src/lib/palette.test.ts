import { describe, expect, it } from "vitest";
import { contrast, labelOrder, type Style, stylesOf, visibleOn } from "./palette";
import text from "./palette-cases.json?raw";

interface Case {
  labels: string[];
  styles: Record<string, Style>;
}

// One label is a lone surrogate, which an import of JSON refuses.
const cases = JSON.parse(text) as Case[];

describe("stylesOf", () => {
  // The cases are written by `scripts/palette.py --cases`, from the Python function.
  it.each(cases)("gives the labels $labels the styles of the Python palette", ({ labels, styles }) => {
    expect(Object.fromEntries(stylesOf(labels))).toEqual(styles);
  });
});

it("puts the emotions of the bundled model first", () => {
  expect(labelOrder(["zest", "anger", "awe", "joy", "anger"])).toEqual(["joy", "anger", "awe", "zest"]);
});

it("makes a dark colour visible on a dark page, and leaves a light one as it is", () => {
  expect(contrast("#a81f0d", "#16181c")).toBeLessThan(3);
  expect(contrast(visibleOn("#a81f0d", "#16181c", "#eceef0"), "#16181c")).toBeGreaterThanOrEqual(3);
  expect(visibleOn("#e6bd13", "#16181c", "#eceef0")).toBe("#e6bd13");
});
