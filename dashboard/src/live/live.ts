import { effect, signal } from "@preact/signals";
import { createParser } from "eventsource-parser";
import { request, urlOf, type Window } from "../api/client";
import { key } from "../api/key";
import { Problem } from "../api/problem";
import { type LivePost, type Message, partFor, union, type Wanted } from "./messages";
import { HIDDEN_MS, IDLE, type Input, next } from "./state";

/** The state of the page's live stream. */
export const live = signal(IDLE);

interface Subscriber {
  wanted: Wanted;
  listen: (message: Message) => void;
}

const subscribers = new Set<Subscriber>();
let connected: { set: string; abort: AbortController } | null = null;
let isPlanned = false;
let hiddenAt: number | null = null;

/**
 * Follow keywords. Returns a function that ends it.
 *
 * All subscribers share one stream. A change of what they want connects again, and resumes after the last message, so
 * nobody misses one. After a `gap`, read again what you show.
 */
export function subscribe(wanted: Wanted, listen: (message: Message) => void): () => void {
  const subscriber = { wanted, listen };
  subscribers.add(subscriber);
  plan();
  return () => {
    subscribers.delete(subscriber);
    plan();
  };
}

/** Start the clock of the stream, and follow the page's visibility and its key. Call it once. */
export function startLive(): void {
  setInterval(() => {
    const now = Date.now();
    step({ type: "tick", now });
    if (hiddenAt !== null && now - hiddenAt >= HIDDEN_MS && live.peek().status !== "paused") {
      disconnect();
      step({ type: "pause" });
    }
    const { retryAt } = live.peek();
    if (retryAt !== null && now >= retryAt) reconnect();
  }, 1_000);
  document.addEventListener("visibilitychange", () => {
    hiddenAt = document.hidden ? Date.now() : null;
    if (!document.hidden && live.peek().status !== "live") reconnect();
  });
  addEventListener("online", () => live.peek().status !== "live" && reconnect());
  let used = key.peek();
  effect(() => {
    if (key.value === used) return;
    used = key.value;
    reconnect();
  });
}

function step(input: Input): void {
  live.value = next(live.peek(), input);
}

/** Look once at what is wanted, after all views of this turn have said it. */
function plan(): void {
  if (isPlanned) return;
  isPlanned = true;
  queueMicrotask(() => {
    isPlanned = false;
    const wanted = union([...subscribers].map((one) => one.wanted));
    if (!wanted) {
      disconnect();
      step({ type: "stop" });
    } else if (connected?.set !== JSON.stringify(wanted) && live.peek().status !== "paused") reconnect();
  });
}

function disconnect(): void {
  connected?.abort.abort();
  connected = null;
}

function reconnect(): void {
  disconnect();
  const wanted = union([...subscribers].map((one) => one.wanted));
  if (!wanted) return;
  const abort = new AbortController();
  connected = { set: JSON.stringify(wanted), abort };
  step({ type: "start", now: Date.now() });
  void follow(urlOf("/v1/stream", { query: { keyword: wanted.keywords, kind: wanted.kinds } }), abort);
}

async function follow(url: string, abort: AbortController): Promise<void> {
  try {
    const { lastId } = live.peek();
    const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
    const answer = await request(url, { headers, signal: abort.signal, cache: "no-store" });
    const parser = createParser({
      // A sign of life is a comment.
      onComment: () => step({ type: "heard", now: Date.now() }),
      onEvent: ({ id, event, data }) => {
        step({ type: "heard", now: Date.now(), ...(id && { id }) });
        dispatch(event, data);
      },
    });
    const reader = (answer.body as ReadableStream<Uint8Array>)
      .pipeThrough(new TextDecoderStream() as never)
      .getReader();
    for (;;) {
      const { done, value } = (await reader.read()) as ReadableStreamReadResult<string>;
      if (done || abort.signal.aborted) break;
      parser.feed(value);
    }
    if (!abort.signal.aborted) step({ type: "failed", now: Date.now(), chance: Math.random() });
  } catch (error) {
    if (abort.signal.aborted) return;
    const problem = error instanceof Problem ? error : null;
    if (problem && !problem.isPassing && problem.status < 500) step({ type: "refused", now: Date.now() });
    else {
      const retryAfterMs = problem?.retryAfterMs ?? null;
      step({ type: "failed", now: Date.now(), chance: Math.random(), retryAfterMs });
    }
  }
}

function dispatch(event: string | undefined, data: string): void {
  if (event === "gap") for (const { listen } of subscribers) listen({ type: "gap" });
  if (event !== "update") return; // After an `end` the service closes the stream, and the page connects again.
  const {
    windows = [],
    posts = [],
    skipped_posts: skipped = 0,
  } = JSON.parse(data) as { windows?: Window[]; posts?: LivePost[]; skipped_posts?: number };
  for (const { wanted, listen } of subscribers) {
    const part = partFor(wanted, windows, posts, skipped);
    if (part) listen(part);
  }
}
