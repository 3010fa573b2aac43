import { expect, it } from "vitest";
import type { LivePost } from "../live/messages";
import { fromLive, fromStored, placeAt, safeUrl } from "./post";

const LIVE = {
  id: "1",
  source: "test",
  keywords: ["tea"],
  created_at: "2026-05-03T10:00:00.000Z",
  classified_at: "2026-05-03T10:00:00.250Z",
  text: "hello",
  url: "https://example.org/1",
  label: "joy",
  confidence: 0.9,
  sentiment: { label: "positive", score: 0.8 },
  model: { name: "m", version: "1", tier: "full" },
} satisfies LivePost;

it("reads a post of the live stream", () => {
  expect(fromLive(LIVE)).toEqual({
    id: "1",
    source: "test",
    keywords: ["tea"],
    text: "hello",
    label: "joy",
    confidence: 0.9,
    sentiment: "positive",
    score: 0.8,
    tier: "full",
    url: "https://example.org/1",
    createdAt: Date.parse("2026-05-03T10:00:00Z"),
    classifiedAt: Date.parse("2026-05-03T10:00:00.250Z"),
  });
});

it("takes posts that lack what a post may lack, and none without a time", () => {
  const { text: _, model: __, ...less } = LIVE;
  const bare = { ...less, sentiment: null, url: null, label: null, confidence: null };
  expect(fromLive(bare)).toMatchObject({
    text: null,
    sentiment: null,
    score: null,
    tier: null,
    url: null,
    label: null,
  });
  expect(fromLive({ ...LIVE, created_at: "yesterday" })).toBeNull();
});

it("reads a post of the history, which has no tier", () => {
  const stored = { ...LIVE, lang: "en", sentiment: "positive", sentiment_score: 0.8 };
  expect(fromStored(stored)).toEqual({ ...fromLive(LIVE), tier: null, classifiedAt: null });
});

it.each([
  ["https://example.org/a?b=1", "https://example.org/a?b=1"],
  ["http://example.org", "http://example.org/"],
  ["javascript:alert(1)", null],
  [" javascript:alert(1)", null],
  ["data:text/html,x", null],
  ["/relative", null],
  ["", null],
  [null, null],
])("opens addresses of the web only: %s", (url, expected) => {
  expect(safeUrl(url)).toBe(expected);
});

it("writes a place in the history as the service does", () => {
  expect(placeAt(1_795_929_957_718)).toBe("1795929957718000-0-0");
});
