import type { Window } from "../api/client";
import { labelOrder } from "../lib/palette";

/** The sentiments of a span. Null is a window in which no post has a sentiment, which is no zero. */
export interface Sentiments {
  /** Posts that have a sentiment. */
  total: number;
  /** Mean sentiment of these posts, from -1 to 1; null without posts. */
  mean: number | null;
  labels: { label: string; count: number; share: number }[];
  series: { label: string; counts: (number | null)[]; shares: (number | null)[] }[];
  /** Mean sentiment by window. */
  means: (number | null)[];
}

const ORDER = ["negative", "neutral", "positive"];

/** Returns the labels from negative to positive, and then those of other models. */
export function sentimentOrder(labels: Iterable<string>): string[] {
  const names = labelOrder(labels);
  return [...ORDER.filter((label) => names.includes(label)), ...names.filter((label) => !ORDER.includes(label))];
}

/** Returns the sentiments of these windows, one for each place on the axis of time. */
export function sentimentsOf(windows: readonly (Window | null)[]): Sentiments {
  const found = windows.map((window) => window?.sentiment ?? null);
  const totals = found.map((one) => (one ? sum(Object.values(one.labels)) : 0));
  const names = sentimentOrder(found.flatMap((one) => Object.keys(one?.labels ?? {})));
  const total = sum(totals);
  const series = names.map((label) => {
    const counts = found.map((one, index) => (one && totals[index] ? (one.labels[label] ?? 0) : null));
    return {
      label,
      counts,
      shares: counts.map((count, index) => (count === null ? null : count / (totals[index] ?? 1))),
    };
  });
  const labels = series.map(({ label, counts }) => {
    const count = sum(counts.map((one) => one ?? 0));
    return { label, count, share: total ? count / total : 0 };
  });
  const means = found.map((one, index) => (one && totals[index] ? one.mean_sentiment : null));
  const weighted = sum(means.map((mean, index) => (mean ?? 0) * (totals[index] ?? 0)));
  return { total, mean: total ? weighted / total : null, labels, series, means };
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0);
}
