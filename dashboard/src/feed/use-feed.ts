import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { get } from "../api/client";
import { useAnswer } from "../api/use-answer";
import { subscribe } from "../live/live";
import { FeedBuffer, perFrame } from "./buffer";
import { drawn } from "./delay";
import { type FeedPost, type Filter, fromLive, fromStored, placeAt } from "./post";

/** Why the feed stands still: the reader has stopped it, has scrolled away from its top, or is at a link in it. */
export type Hold = "button" | "scroll" | "focus";

/** How many posts of the history fill the feed at the beginning. */
const HISTORY = 50;
/** The same if only a part of them may pass the filter. */
const MOST_HISTORY = 200;

/**
 * The classified posts of a keyword: those that come, or the last ones before a fixed moment (`until`, in ms).
 *
 * Every second frame draws a part of the posts that wait (`perFrame`), so that the page stays fluent at hundreds of posts
 * a second.
 * While there is a reason to hold the feed, they wait.
 */
export function useFeed(keyword: string, until: number | null, filter: Filter) {
  const { label, keyword: part } = filter;
  const feed = useMemo(() => new LiveFeed(filter), [keyword, until]);

  const answer = useAnswer(
    async (abort) => {
      const before = until === null ? {} : { before: placeAt(until) };
      const query = { keyword, limit: part ? MOST_HISTORY : HISTORY, ...before, ...(label && { label }) };
      const { posts } = await get("/v1/posts", { query, signal: abort });
      return { feed, posts: posts.map(fromStored) };
    },
    [keyword, until, label, Boolean(part)],
  );
  const { reload } = answer;
  const stored = answer.data.value;

  useEffect(() => feed.refilter({ label, keyword: part }), [feed, label, part]);
  useEffect(() => {
    // An answer of before belongs to a feed of before.
    if (stored?.feed === feed) feed.fill(stored.posts);
  }, [feed, stored, label, part]);
  useEffect(() => {
    if (until !== null) return;
    const end = subscribe({ keywords: [keyword], kinds: ["post"] }, (message) => {
      if (message.type === "gap") reload();
      else
        feed.add(
          message.posts.flatMap((post) => fromLive(post) ?? []),
          message.skipped,
        );
    });
    return () => {
      end();
      feed.stop();
    };
  }, [feed, keyword, until, reload]);

  return { feed, problem: answer.problem.value, loading: answer.loading.value, reload };
}

/** While the page scrolls, the feed draws no more often than this, in ms: the frames belong to the scrolling. */
const SCROLL_PAUSE_MS = 250;
/** How long after a scroll event the page counts as scrolling, in ms. */
const SCROLLING_MS = 150;

let scrolledAt = Number.NEGATIVE_INFINITY;
addEventListener(
  "scroll",
  () => {
    scrolledAt = performance.now();
  },
  { capture: true, passive: true },
);

/** Draws the posts that come, frame by frame. */
export class LiveFeed {
  readonly posts = signal<readonly FeedPost[]>([]);
  /** Posts that have come, and are not in the list. */
  readonly waits = signal(0);
  readonly holds = signal<ReadonlySet<Hold>>(new Set());
  /** Posts that the service or the page has left out, because too many came. */
  readonly skipped = signal(0);
  /** Called with the posts that a frame has drawn. */
  onDrawn: (posts: readonly FeedPost[]) => void = () => undefined;
  #buffer: FeedBuffer;
  /** Posts whose delay says nothing about the system, because the reader let them wait. */
  #late = new WeakSet<FeedPost>();
  #frame = 0;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(filter: Filter) {
    this.#buffer = new FeedBuffer(filter);
  }

  add(posts: readonly FeedPost[], skipped: number): void {
    const isHeld = this.holds.peek().size > 0;
    const dropped = this.#buffer.add(posts);
    const left = skipped + (isHeld ? 0 : dropped);
    if (left) this.skipped.value += left;
    // A hidden page draws nothing until it is seen again.
    if (isHeld || document.hidden) for (const post of posts) this.#late.add(post);
    if (isHeld) this.waits.value = this.#buffer.waits;
    else this.#plan();
  }

  fill(posts: readonly FeedPost[]): void {
    this.#buffer.fill(posts);
    this.posts.value = this.#buffer.shown;
  }

  refilter(filter: Filter): void {
    this.#buffer.refilter(filter);
    this.posts.value = this.#buffer.shown;
    this.waits.value = 0;
  }

  /** Set or remove a reason to hold the feed. */
  hold(reason: Hold, isHeld: boolean): void {
    if (this.holds.peek().has(reason) === isHeld) return;
    const holds = new Set(this.holds.peek());
    if (isHeld) holds.add(reason);
    else holds.delete(reason);
    this.holds.value = holds;
    if (!holds.size) this.#plan();
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  #plan(): void {
    if (!this.#frame && this.#buffer.queued) this.#frame = requestAnimationFrame(this.#draw);
  }

  #draw = (): void => {
    this.#frame = 0;
    if (this.holds.peek().size) return;
    const now = performance.now();
    if (now - scrolledAt < SCROLLING_MS && now - this.#drawnAt < SCROLL_PAUSE_MS) {
      this.#plan();
      return;
    }
    this.#drawnAt = now;
    const taken = this.#buffer.take(perFrame(this.#buffer.queued));
    this.posts.value = this.#buffer.shown;
    this.waits.value = 0;
    const timely = taken.filter((post) => !this.#late.has(post));
    // A task that a frame's callback plans runs after the frame is painted.
    setTimeout(() => {
      if (timely.length) drawn(timely, Date.now());
      this.onDrawn(taken);
    });
    if (this.#buffer.queued) this.#frame = requestAnimationFrame(this.#rest);
  };

  /** A frame without new posts, so that a frame that draws them may take longer than its own time. */
  #rest = (): void => {
    this.#frame = requestAnimationFrame(this.#draw);
  };
}
