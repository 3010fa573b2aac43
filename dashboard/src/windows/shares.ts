import type { Window } from "../api/client";
import { labelOrder } from "../lib/palette";

/** The posts of a span: by label, and by label and window. Null is a window without posts, which is no zero. */
export interface Shares {
  total: number;
  unsupported: number;
  labels: { label: string; count: number; share: number }[];
  series: { label: string; counts: (number | null)[]; shares: (number | null)[] }[];
  counts: (number | null)[];
}

/** Returns the posts of these windows, one for each place on the axis of time. */
export function sharesOf(windows: readonly (Window | null)[]): Shares {
  const counts = windows.map((window) => window?.count ?? null);
  const names = labelOrder(windows.flatMap((window) => Object.keys(window?.labels ?? {})));
  const total = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  const series = names.map((label) => {
    const own = windows.map((window) => (window ? (window.labels[label]?.count ?? 0) : null));
    const shares = own.map((count, index) => (count === null || !counts[index] ? null : count / counts[index]));
    return { label, counts: own, shares };
  });
  const labels = series.map(({ label, counts: own }) => {
    const count = own.reduce<number>((sum, one) => sum + (one ?? 0), 0);
    return { label, count, share: total ? count / total : 0 };
  });
  const unsupported = windows.reduce((sum, window) => sum + (window?.unsupported ?? 0), 0);
  return { total, unsupported, labels, series, counts };
}

/** Returns the windows with changed ones in the place of older states, by their start. */
export function merged(windows: ReadonlyMap<string, Window>, changed: readonly Window[]): Map<string, Window> {
  const all = new Map(windows);
  for (const window of changed) {
    const known = all.get(window.start);
    if (!known || window.revision >= known.revision) all.set(window.start, window);
  }
  return all;
}
