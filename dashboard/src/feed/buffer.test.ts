import { expect, it } from "vitest";
import { FeedBuffer, MOST, MOST_QUEUED, perFrame } from "./buffer";
import type { FeedPost } from "./post";

const ALL = { label: "", keyword: "" };

function post(id: number, label = "joy", keywords = ["tea"]): FeedPost {
  return { id: String(id), label, keywords, createdAt: id } as unknown as FeedPost;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => post(from + index));
const ids = (posts: readonly FeedPost[]) => posts.map(({ id }) => id);

it("shows the newest first, and each post once", () => {
  const buffer = new FeedBuffer(ALL);
  buffer.add([post(1), post(2), post(1)]);
  buffer.take(10);
  buffer.add([post(2), post(3)]);
  expect(ids(buffer.take(10))).toEqual(["3"]);
  expect(ids(buffer.shown)).toEqual(["3", "2", "1"]);
});

it("takes a part of the posts, the oldest first", () => {
  const buffer = new FeedBuffer(ALL);
  buffer.add(range(0, 5));
  expect(ids(buffer.take(2))).toEqual(["0", "1"]);
  expect(buffer.queued).toBe(3);
});

it("stays bounded, however many posts come and wait", () => {
  const buffer = new FeedBuffer(ALL);
  let dropped = 0;
  for (let batch = 0; batch < 100; batch++) dropped += buffer.add(range(batch * 125, (batch + 1) * 125));
  expect(dropped).toBe(12_500 - MOST_QUEUED);
  expect(buffer.waits).toBe(12_500);
  expect(buffer.queued).toBe(MOST_QUEUED);
  buffer.take(1_000);
  expect(buffer.waits).toBe(0);
  expect(buffer.shown).toHaveLength(MOST);
  expect(buffer.shown[0]?.id).toBe("12499");
});

it("takes a post again that it has dropped, so that it remembers no more than it shows", () => {
  const buffer = new FeedBuffer(ALL);
  buffer.add(range(0, MOST + 1));
  buffer.take(1_000);
  buffer.add([post(0)]);
  expect(buffer.queued).toBe(1);
});

it("puts posts of the history among those that came, by their time", () => {
  const buffer = new FeedBuffer(ALL);
  buffer.add([post(5)]);
  buffer.take(10);
  buffer.fill([post(7), post(5), post(2)]);
  expect(ids(buffer.shown)).toEqual(["7", "5", "2"]);
});

it("leaves out what does not pass the filter, and finds it again when the filter changes", () => {
  const buffer = new FeedBuffer({ label: "joy", keyword: "" });
  buffer.add([post(1, "joy"), post(2, "fear"), post(3, "joy", ["Teapot"])]);
  buffer.take(10);
  expect(ids(buffer.shown)).toEqual(["3", "1"]);
  buffer.refilter({ label: "", keyword: "TEAP" });
  expect(ids(buffer.shown)).toEqual(["3"]);
  buffer.refilter({ label: "fear", keyword: "" });
  expect(ids(buffer.shown)).toEqual(["2"]);
  expect(buffer.waits).toBe(0);
});

it("spreads a batch over frames, and is never behind for long", () => {
  for (const batch of [1, 4, 50, 125, MOST_QUEUED]) {
    let [left, frames] = [batch, 0];
    for (; left > 0; frames++) left -= perFrame(left);
    expect(frames).toBeLessThanOrEqual(15);
    expect(perFrame(batch)).toBeLessThanOrEqual(34);
  }
});
