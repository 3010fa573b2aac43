import { expect, it } from "vitest";
import { capital } from "./format";

it("writes the first letter large, also if it is isolated", () => {
  expect(capital("joy")).toBe("Joy");
  expect(capital("\u2068anger\u2069 is 41 %")).toBe("\u2068Anger\u2069 is 41 %");
  expect(capital("𐐨")).toBe("𐐀");
  expect(capital("")).toBe("");
});
