import { signal } from "@preact/signals";
import type { FeedPost } from "./post";

const KEPT = 100;
/** A clock may be as much ahead of the service's without being called wrong, in ms. */
const TOLERATED_MS = 250;

/** Delays of the last posts that the page drew, in ms. */
export interface Delays {
  posts: number;
  /** Median from the creation of a post to the frame that shows it. */
  created: number;
  /** Median from its classification to this frame; null if it is not known. */
  classified: number | null;
}

/** How often the figures change at most, in ms: a figure that changes in every frame cannot be read. */
const EVERY_MS = 500;

/** What the page has measured; null before the first post. */
export const delays = signal<Delays | null>(null);

let created: number[] = [];
let classified: number[] = [];
let toldAt = Number.NEGATIVE_INFINITY;

/** Note that a frame that shows these posts was drawn at `now`, in ms. */
export function drawn(posts: readonly FeedPost[], now: number): void {
  created = [...created, ...posts.map((post) => now - post.createdAt)].slice(-KEPT);
  const known = posts.flatMap(({ classifiedAt }) => (classifiedAt === null ? [] : [now - classifiedAt]));
  classified = [...classified, ...known].slice(-KEPT);
  const middle = median(created);
  if (middle === null || now - toldAt < EVERY_MS) return;
  toldAt = now;
  delays.value = { posts: created.length, created: middle, classified: median(classified) };
}

/** Whether this device's clock is behind the clock that dated the posts: they would come before they were made. */
export const isImpossible = ({ created: ms }: Delays): boolean => ms < -TOLERATED_MS;

/** Returns the median of values, the lower one of two; null for none. */
export function median(values: readonly number[]): number | null {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? null;
}
