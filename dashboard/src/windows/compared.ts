import type { Window } from "../api/client";
import type { Cell, Table } from "../lib/csv";
import { labelOrder } from "../lib/palette";
import { type Sentiments, sentimentOrder, sentimentsOf } from "./sentiment";
import { type Shares, sharesOf } from "./shares";

/** One keyword of a comparison: its windows in figures. */
export interface Compared {
  keyword: string;
  axis: readonly number[];
  size: number;
  shares: Shares;
  sentiments: Sentiments;
}

/** Returns the figures of a keyword's windows. */
export function comparedOf(
  keyword: string,
  windows: readonly (Window | null)[],
  axis: readonly number[],
  size: number,
): Compared {
  return { keyword, axis, size, shares: sharesOf(windows), sentiments: sentimentsOf(windows) };
}

/** The tops of the axes that all keywords share. */
export interface Tops {
  /** Largest share of a label in a window, as a step of 20 %, from 0.2 to 1. */
  share: number;
  /** Largest number of posts in a window; 1 if there is none. */
  posts: number;
}

/** Returns the tops of the axes, so that all charts have the same scale. */
export function topsOf(all: readonly Compared[]): Tops {
  const shares = all.flatMap(({ shares: { series } }) =>
    series.flatMap((one) => one.shares.map((share) => share ?? 0)),
  );
  const posts = all.flatMap(({ shares: { counts } }) => counts.map((one) => one ?? 0));
  const largest = shares.reduce((most, one) => Math.max(most, one), 0);
  return {
    share: Math.min(1, Math.max(0.2, Math.ceil(largest * 5 - 1e-9) / 5)),
    posts: rounded(posts.reduce((most, one) => Math.max(most, one), 1)),
  };
}

/** Returns the least of 1, 2, 5, 10, 20, 50 and so on that is not below a value. */
export function rounded(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((step) => step * power).find((one) => one >= value) ?? value;
}

/** Returns the labels of all keywords. */
export const labelsOf = (all: readonly Compared[]): string[] =>
  labelOrder(all.flatMap(({ shares }) => shares.labels.map(({ label }) => label)));

/** Returns the data of all keywords as one table: a row for each keyword and window. */
export function comparedTable(all: readonly Compared[]): Table {
  const labels = labelsOf(all);
  const feelings = sentimentOrder(all.flatMap(({ sentiments }) => sentiments.labels.map(({ label }) => label)));
  const rows = all.flatMap(({ keyword, axis, shares, sentiments }) =>
    axis.map((start, index): Cell[] => [
      keyword,
      new Date(start).toISOString().replace(".000Z", "Z"),
      shares.counts[index] ?? null,
      ...labels.map((label) => at(shares.series, label, index, shares.counts[index] ?? null)),
      ...feelings.map((label) => at(sentiments.series, label, index, sentiments.means[index] ?? null)),
      sentiments.means[index] ?? null,
    ]),
  );
  const columns = [
    "keyword",
    "start",
    "posts",
    ...labels,
    ...feelings.map((label) => `sentiment ${label}`),
    "mean sentiment",
  ];
  return { columns, rows };
}

/** The number of a label's posts in a window: zero if the window has others only, null if there is no window. */
function at(
  series: readonly { label: string; counts: (number | null)[] }[],
  label: string,
  index: number,
  known: number | null,
): number | null {
  const found = series.find((one) => one.label === label)?.counts[index];
  return found ?? (known === null ? null : 0);
}
