import type { Window } from "../api/client";

/** A post that was just classified; it has more members, as on the topic `posts.classified`. */
export interface LivePost {
  id: string;
  source: string;
  keywords: string[];
  text?: string | null;
  label: string | null;
  confidence: number | null;
  [member: string]: unknown;
}

export type Kind = "window" | "post";

/**
 * What a subscriber gets: changed windows and new posts, or word that something may be missing.
 *
 * `skipped` counts posts that the service has left out, because too many came. They can have other keywords.
 */
export type Message = { type: "update"; windows: Window[]; posts: LivePost[]; skipped: number } | { type: "gap" };

export interface Wanted {
  keywords: readonly string[];
  kinds: readonly Kind[];
}

/** The most keywords that the service takes for one stream. */
export const MOST_KEYWORDS = 50;

/** Returns one set of keywords and kinds that has all that is wanted; null if nothing is. */
export function union(all: Iterable<Wanted>): { keywords: string[]; kinds: Kind[] } | null {
  const keywords = new Set<string>();
  const kinds = new Set<Kind>();
  for (const wanted of all) {
    for (const keyword of wanted.keywords) keywords.add(keyword);
    for (const kind of wanted.kinds) kinds.add(kind);
  }
  if (!keywords.size || !kinds.size) return null;
  return { keywords: [...keywords].sort().slice(0, MOST_KEYWORDS), kinds: [...kinds].sort() };
}

/** Returns the part of an update that a subscriber wants; null if that is nothing. `*` stands for posts of any keyword. */
export function partFor(
  wanted: Wanted,
  windows: readonly Window[],
  posts: readonly LivePost[],
  skipped = 0,
): Message | null {
  const names = new Set(wanted.keywords);
  const some = wanted.kinds.includes("window") ? windows.filter(({ keyword }) => names.has(keyword)) : [];
  const hasPost = ({ keywords }: LivePost) => names.has("*") || keywords.some((keyword) => names.has(keyword));
  const others = wanted.kinds.includes("post") ? posts.filter(hasPost) : [];
  const isEmpty = !some.length && !others.length && !(skipped && wanted.kinds.includes("post"));
  return isEmpty ? null : { type: "update", windows: some, posts: others, skipped };
}
