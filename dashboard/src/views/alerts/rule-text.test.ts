import { expect, it } from "vitest";
import { idOf, inWords, keywordsOf, ruleText, trialText } from "./rule-text";
import type { Rule } from "./types";

const RULE: Rule = {
  id: "coffee-anger",
  name: "Anger about coffee",
  keywords: ["coffee", "*"],
  window_s: 300,
  measure: { of: "emotion", label: "anger" },
  condition: { type: "threshold", direction: "above", limit: 40, clear: 30 },
  min_posts: 30,
  for_windows: 2,
  cooldown_s: 3600,
  severity: "warning",
  channels: [],
  enabled: true,
};

it("says each kind of rule in a sentence", () => {
  expect(ruleText(RULE)).toBe(
    "When the share of anger in posts about coffee or all posts is above 40 % in 5 minutes for 2 windows in a row.",
  );
  const volume: Rule = { ...RULE, measure: { of: "volume" }, for_windows: 1, keywords: "each", window_s: 3600 };
  expect(ruleText({ ...volume, condition: { type: "zscore", direction: "above", z: 6, clear: null } })).toBe(
    "When the number of posts about each keyword is 6 robust standard deviations above the usual of this hour, in 1 hour.",
  );
  expect(ruleText({ ...volume, condition: { type: "change", direction: "below", by: 50, clear: null } })).toBe(
    "When the number of posts about each keyword is 50 % less than usual at this hour, in 1 hour.",
  );
  const limit: Rule = {
    ...volume,
    keywords: ["rain", "hail"],
    condition: { type: "threshold", limit: 3, direction: "above", clear: null },
  };
  expect(ruleText(limit)).toBe("When the number of posts about rain or hail is above 3 in 1 hour.");
  expect(ruleText({ ...limit, keywords: ["*"] })).toBe("When the number of all posts is above 3 in 1 hour.");
});

it("says what a rule would have found", () => {
  const span = { since: "2026-03-01T12:00:00Z", until: "2026-03-08T12:00:00Z" };
  const clear = { ...span, windows: 1, windows_too_small: 0, windows_without_baseline: 0, found: 1 };
  expect(trialText(clear)).toMatch(/^From 1 Mar.* to 8 Mar.* it would have found 1 incident in 1 window\.$/);
  expect(trialText({ ...clear, windows: 2_016, windows_too_small: 40, windows_without_baseline: 1, found: 0 })).toMatch(
    /0 incidents in 2,016 windows\. 40 windows had too few posts\. For 1 window too few hours tell what is usual\.$/,
  );
});

it("has durations in words", () => {
  expect([60, 300, 3600, 86_400, 90, 5400].map(inWords)).toEqual([
    "1 minute",
    "5 minutes",
    "1 hour",
    "1 day",
    "90 seconds",
    "90 minutes",
  ]);
});

it("makes ids of names", () => {
  expect(idOf("Ärger über Café!")).toBe("arger-uber-cafe");
  expect(idOf("好用")).toMatch(/^rule-[a-z0-9]+$/);
  expect(idOf("好用")).not.toBe(idOf("用好"));
  expect(idOf("x".repeat(80))).toHaveLength(63);
});

it("reads keywords line by line", () => {
  expect(keywordsOf(" a b \n\na b\n*\n")).toEqual(["a b", "*"]);
});
