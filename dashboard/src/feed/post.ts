/** Posts as the feed shows them, whether they come from the live stream or from the history. Pure. */
import type { Schema } from "../api/client";
import type { LivePost } from "../live/messages";

export interface FeedPost {
  id: string;
  source: string;
  keywords: readonly string[];
  /** Null if the service does not keep texts, or if the text was erased. */
  text: string | null;
  /** Null if no model reads the post's language. */
  label: string | null;
  /** From 0 to 1. */
  confidence: number | null;
  sentiment: string | null;
  /** From -1 to 1. */
  score: number | null;
  /** The part of the model that answered; null if it is not known, as in the history. */
  tier: string | null;
  /** An address that a browser may open; null for none. */
  url: string | null;
  /** When it was created, in ms. */
  createdAt: number;
  /** When it was classified, in ms; null if it is not known. */
  classifiedAt: number | null;
}

/** Returns a post of the live stream; null if it is none. */
export function fromLive(post: LivePost): FeedPost | null {
  const { sentiment, model } = post as { sentiment?: unknown; model?: unknown };
  const createdAt = time(post.created_at);
  if (createdAt === null) return null;
  return {
    id: post.id,
    source: post.source,
    keywords: post.keywords,
    text: post.text ?? null,
    label: post.label,
    confidence: post.confidence,
    sentiment: member(sentiment, "label", "string"),
    score: member(sentiment, "score", "number"),
    tier: member(model, "tier", "string"),
    url: safeUrl(post.url),
    createdAt,
    classifiedAt: time(post.classified_at),
  };
}

/** Returns a post of the history. */
export function fromStored(post: Schema["ClassifiedPost"]): FeedPost {
  return {
    id: post.id,
    source: post.source,
    keywords: post.keywords,
    text: post.text,
    label: post.label,
    confidence: post.confidence,
    sentiment: post.sentiment,
    score: post.sentiment_score,
    tier: null,
    url: safeUrl(post.url),
    createdAt: Date.parse(post.created_at),
    classifiedAt: null,
  };
}

/** Returns an address of the web that a link may have; null for anything else, such as a script. */
export function safeUrl(value: unknown): string | null {
  if (typeof value !== "string" || !URL.canParse(value)) return null;
  const url = new URL(value);
  return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
}

/** What the feed leaves out: posts with another label, or without a keyword that has this text in it. */
export interface Filter {
  label: string;
  keyword: string;
}

/** Whether a post passes a filter. Empty texts let all posts pass. */
export function passes(post: FeedPost, { label, keyword }: Filter): boolean {
  if (label && post.label !== label) return false;
  const wanted = keyword.toLocaleLowerCase();
  return !wanted || post.keywords.some((one) => one.toLocaleLowerCase().includes(wanted));
}

/** Returns the value of `before` of `GET /v1/posts` that reads posts from before a moment in ms. */
export const placeAt = (ms: number): string => `${Math.round(ms) * 1_000}-0-0`;

function time(value: unknown): number | null {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

function member<T extends "string" | "number">(value: unknown, name: string, type: T) {
  const found = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : null;
  return (typeof found === type ? found : null) as (T extends "string" ? string : number) | null;
}
