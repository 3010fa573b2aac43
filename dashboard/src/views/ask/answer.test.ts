import { expect, it } from "vitest";
import { ago, isSame, origin, type QueryAnswer, sharesOfAnswer } from "./answer";

const ANSWER: QueryAnswer = {
  keyword: "coffee",
  count: 4,
  agg: [
    { label: "joy", count: 3, pct: 75, avg_score: 0.9 },
    { label: "anger", count: 1, pct: 25, avg_score: 0.8 },
  ],
  sentiment: null,
  plot_base64: null,
  source: "inference",
  as_of: "2026-03-01T12:00:00Z",
  since: "2026-02-28T12:00:00Z",
  complete: true,
  unsupported: 2,
  notes: [],
  time: 0.0042,
};

it("has the posts of an answer by label", () => {
  const shares = sharesOfAnswer(ANSWER);
  expect(shares.total).toBe(4);
  expect(shares.unsupported).toBe(2);
  expect(shares.labels[1]).toEqual({ label: "anger", count: 1, share: 0.25 });
});

it("says where an answer comes from, how old it is, and how long it took", () => {
  const now = Date.parse("2026-03-01T12:02:00Z");
  expect(origin(ANSWER, now)).toContain("Posts were searched for");
  expect(origin(ANSWER, now)).toContain("up to 2 min ago");
  expect(origin(ANSWER, now)).toContain("took 4 ms");
  expect(origin({ ...ANSWER, as_of: null, source: "cache", time: 2.34 }, now)).toBe(
    "The service had this answer in its cache. The service took 2.3 s.",
  );
  expect(origin({ ...ANSWER, count: 0, source: "windows" }, now)).toMatch(/^The live windows have none\. /);
  expect(origin({ ...ANSWER, time: 0.0001 }, now)).toContain("took 1 ms");
});

it("names the present", () => {
  expect(ago(400)).toBe("this moment");
  expect(ago(60_000)).toBe("1 min ago");
});

it("takes keywords that differ in case, width and spaces for one", () => {
  expect(isSame("iPhone", "IPHONE")).toBe(true);
  expect(isSame("ＡＢＣ", "abc")).toBe(true);
  expect(isSame(" Galaxy  S24", "galaxy s24")).toBe(true);
  expect(isSame("coffee", "coffees")).toBe(false);
});
