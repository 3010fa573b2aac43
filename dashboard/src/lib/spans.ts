/** Spans and windows: which windows to read for a span, and how they lie on a regular axis of time. Pure. */

export const SPANS = ["15m", "1h", "6h", "24h", "7d", "30d", "90d"] as const;
export type Span = (typeof SPANS)[number];

export const SPAN_SECONDS: Record<Span, number> = {
  "15m": 900,
  "1h": 3_600,
  "6h": 21_600,
  "24h": 86_400,
  "7d": 604_800,
  "30d": 2_592_000,
  "90d": 7_776_000,
};

export const SPAN_NAMES: Record<Span, string> = {
  "15m": "15 minutes",
  "1h": "hour",
  "6h": "6 hours",
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days",
  "90d": "90 days",
};

/** A window size in seconds, and how long its windows are kept, in seconds. */
export interface WindowSize {
  size: number;
  kept: number;
}

/** The sizes that the service has by default. */
export const SIZES: readonly WindowSize[] = [
  { size: 60, kept: 2 * 86_400 },
  { size: 300, kept: 7 * 86_400 },
  { size: 3_600, kept: 30 * 86_400 },
  { size: 86_400, kept: 400 * 86_400 },
];

/** The most windows in one answer of the service. */
export const MOST_WINDOWS = 1_000;

/** The most windows of a chart. More of them have few posts each, and lines that only jump. */
export const MOST_POINTS = 300;

/** What to read for a span: the window size in seconds, and the span's ends in ms, aligned to it. */
export interface Range {
  size: number;
  /** Start of the first window. */
  since: number;
  /** End of the last window. In a live span this lies ahead: the last window is still open. */
  until: number;
  /** How many windows to ask for. The service has no upper end, so it answers those after `until`, too. */
  limit: number;
}

/**
 * Returns what to read for a span that ends at `until` (ms; null for a live one, which ends now).
 *
 * The size is the smallest whose windows are still kept at the span's start, fit into one answer, and are not more
 * than a chart can show (`most`). If there is none, it is the largest.
 */
export function rangeOf(
  span: Span,
  until: number | null,
  now: number,
  sizes: readonly WindowSize[] = SIZES,
  most = MOST_POINTS,
): Range {
  const end = until ?? now;
  const begin = end - SPAN_SECONDS[span] * 1_000;
  const age = (Math.max(now, end) - begin) / 1_000;
  const sorted = [...sizes].sort((a, b) => a.size - b.size);
  // Two more, because the span's ends can lie within windows.
  const fits = sorted.find(
    ({ size, kept }) => age <= kept && age / size + 2 <= MOST_WINDOWS && SPAN_SECONDS[span] / size <= most,
  );
  const size = (fits ?? sorted.at(-1) ?? { size: 60 }).size;
  const step = size * 1_000;
  const last = Math.ceil(end / step) * step;
  const first = Math.min(Math.floor(begin / step) * step, last - step);
  // A live span drops the window at its start as soon as a new one begins at its end.
  const since = until === null ? Math.max(first, last - Math.max(1, Math.round((end - begin) / step)) * step) : first;
  return { size, since, until: last, limit: Math.min(MOST_WINDOWS, Math.ceil(age / size) + 2) };
}

/** Returns the starts of the windows of a range, in ms. */
export function axisOf({ size, since, until }: Pick<Range, "size" | "since" | "until">): number[] {
  const step = size * 1_000;
  return Array.from({ length: Math.max(0, Math.round((until - since) / step)) }, (_, index) => since + index * step);
}

/** Returns one place for each start on the axis: the window that begins there, or null. A missing window is no zero. */
export function aligned<T extends { start: string }>(windows: Iterable<T>, axis: readonly number[]): (T | null)[] {
  const byStart = new Map<number, T>();
  for (const window of windows) byStart.set(Date.parse(window.start), window);
  return axis.map((start) => byStart.get(start) ?? null);
}
