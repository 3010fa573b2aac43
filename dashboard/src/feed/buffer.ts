import { type FeedPost, type Filter, passes } from "./post";

/** The most posts in the list. */
export const MOST = 100;

/** The most posts that are kept while they wait for the list: as many as one update of the live stream has. */
export const MOST_QUEUED = 200;

/**
 * The posts of the feed: those that are shown, newest first, and those that wait to be shown. Pure.
 *
 * It never holds more than a few hundred posts, however many come. `waits` counts all that came since the list last
 * had every post, also those that are not held any more.
 */
export class FeedBuffer {
  shown: readonly FeedPost[] = [];
  waits = 0;
  #queue: FeedPost[] = [];
  #recent: FeedPost[] = [];
  #known = new Set<string>();
  #filter: Filter;

  constructor(filter: Filter) {
    this.#filter = filter;
  }

  /** How many posts the list can take. */
  get queued(): number {
    return this.#queue.length;
  }

  /**
   * Take in posts of the live stream, the oldest first. A post that is here already changes nothing. Returns how many
   * older ones were dropped for them, because too many wait.
   */
  add(posts: readonly FeedPost[]): number {
    this.#recent = [...this.#recent, ...posts].slice(-MOST);
    for (const post of posts) {
      if (this.#known.has(post.id) || !passes(post, this.#filter)) continue;
      this.#known.add(post.id);
      this.#queue.push(post);
      this.waits++;
    }
    const dropped = this.#queue.splice(0, this.#queue.length - MOST_QUEUED);
    for (const { id } of dropped) this.#known.delete(id);
    return dropped.length;
  }

  /** Move some of the posts that wait into the list, the oldest first. Returns them. */
  take(most: number): readonly FeedPost[] {
    const taken = this.#queue.splice(0, most);
    if (!this.#queue.length) this.waits = 0;
    if (taken.length) this.#show([...taken].reverse().concat(this.shown));
    return taken;
  }

  /** Add posts of the history to the list. */
  fill(posts: readonly FeedPost[]): void {
    const news = posts.filter((post) => !this.#known.has(post.id) && passes(post, this.#filter));
    for (const post of news) this.#known.add(post.id);
    this.#show([...this.shown, ...news].sort((a, b) => b.createdAt - a.createdAt));
  }

  /** Show other posts: those of the last ones that pass a filter. */
  refilter(filter: Filter): void {
    this.#filter = filter;
    this.#queue = [];
    this.waits = 0;
    const kept = [...this.#recent].reverse().filter((post) => passes(post, filter));
    this.#known = new Set(kept.map(({ id }) => id));
    // The live stream can repeat a post.
    this.shown = kept.filter(({ id }, index) => kept.findIndex((one) => one.id === id) === index);
  }

  #show(posts: FeedPost[]): void {
    for (const { id } of posts.slice(MOST)) this.#known.delete(id);
    this.shown = posts.slice(0, MOST);
  }
}

/**
 * Returns how many posts are drawn at once if so many wait: all of a few, else a part of them.
 *
 * Posts come in batches, every 250 ms at most. Spread over every second frame until then, no frame takes so long that
 * the next one is lost.
 */
export const perFrame = (queued: number): number => Math.max(8, Math.ceil(queued / 6));
