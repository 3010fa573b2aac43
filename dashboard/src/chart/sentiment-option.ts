import type { EChartsCoreOption } from "echarts/core";
import { compact, count, moment, percent, signed } from "../lib/format";
import type { Style } from "../lib/palette";
import { isolated } from "../lib/text";
import type { Colours } from "../lib/theme";
import type { Sentiments } from "../windows/sentiment";
import { decalOf } from "./decal";
import { axisLook } from "./theme";

interface Shown {
  sentiments: Sentiments;
  /** Posts of each window; null for none. */
  counts: readonly (number | null)[];
  /** Starts of the windows, in ms. */
  axis: readonly number[];
  /** Length of a window, in seconds. */
  size: number;
  styles: ReadonlyMap<string, Style>;
  /** Top of the axis of posts, so that several charts can have the same one; null for that of the data. */
  most?: number | null;
  isSmall?: boolean;
}

/** Returns a chart with the share of each sentiment and the mean above, and the number of posts as bars below. */
export function sentimentOption(shown: Shown, current: Colours): EChartsCoreOption {
  const { sentiments, counts, axis, size, styles, most = null, isSmall = false } = shown;
  const look = axisLook(current);
  const seconds = axis.length * size;
  const categories = axis.map(String);
  const labelled = { ...look.axisLabel, formatter: (start: string) => moment(Number(start), seconds) };
  const x = { type: "category", data: categories, ...look, splitLine: { show: false } };
  const y = { type: "value", min: 0, ...look, axisLine: { show: false } };
  const [left, right] = [isSmall ? 40 : 46, isSmall ? 34 : 44].map((room) => room * current.scale);
  // Hatches in bars of a few pixels are noise.
  const isWide = axis.length <= 40 && !isSmall;
  return {
    grid: [
      { left, right, top: 10 * current.scale, height: "58%" },
      { left, right, top: "72%", bottom: 24 * current.scale },
    ],
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: {
      trigger: "axis",
      axisPointer: { type: "shadow", label: { show: false } },
      formatter: (rows: { dataIndex: number }[]) => tooltip(shown, rows[0]?.dataIndex ?? 0, seconds),
    },
    xAxis: [
      { ...x, gridIndex: 0, axisLabel: { show: false } },
      { ...x, gridIndex: 1, axisLabel: labelled },
    ],
    yAxis: [
      { ...y, max: 1, interval: 0.5, axisLabel: { ...look.axisLabel, formatter: (share: number) => percent(share) } },
      {
        type: "value",
        ...look,
        min: -1,
        max: 1,
        interval: 1,
        axisLine: { show: false },
        splitLine: { show: false },
        axisLabel: { ...look.axisLabel, formatter: (mean: number) => (mean > 0 ? "+1" : mean < 0 ? "−1" : "0") },
      },
      {
        ...y,
        gridIndex: 1,
        splitNumber: 1,
        minInterval: 1,
        ...(most !== null && { max: most }),
        axisLabel: { ...look.axisLabel, formatter: compact },
      },
    ],
    series: [
      ...sentiments.series.map(({ label, shares }) => {
        const style = styles.get(label);
        return {
          id: label,
          name: isolated(label),
          type: "bar",
          stack: "sentiment",
          barCategoryGap: axis.length > 120 ? "0%" : "12%",
          data: shares,
          itemStyle: {
            color: style?.colour ?? current.muted,
            ...(style && isWide && { decal: decalOf(style, current.scale) }),
          },
          emphasis: { disabled: true },
        };
      }),
      ...line("halo", sentiments.means, { width: 5 * current.scale, color: current.paper }, current),
      ...line("mean", sentiments.means, { width: 2 * current.scale, color: current.ink }, current),
      {
        id: "posts",
        type: "bar",
        xAxisIndex: 1,
        yAxisIndex: 2,
        barCategoryGap: axis.length > 120 ? "0%" : "12%",
        data: counts,
        itemStyle: { color: current.muted },
        emphasis: { disabled: true },
      },
    ],
  };
}

/** The mean as a line. The one below it has the colour of the paper, so that it is seen on every bar. */
function line(id: string, values: readonly (number | null)[], style: object, { scale }: Colours): object[] {
  return [
    {
      id,
      type: "line",
      yAxisIndex: 1,
      data: values,
      z: 3,
      connectNulls: false,
      symbol: "circle",
      showAllSymbol: true,
      symbolSize: (_: unknown, { dataIndex: at }: { dataIndex: number }) =>
        (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? (id === "halo" ? 9 : 6) * scale : 0,
      lineStyle: { cap: "round", join: "round", ...style },
      itemStyle: { color: (style as { color: string }).color },
      emphasis: { disabled: true },
    },
  ];
}

function tooltip({ sentiments, counts, axis }: Shown, index: number, seconds: number): string {
  const posts = counts[index] ?? null;
  const mean = sentiments.means[index] ?? null;
  const rows = [...sentiments.series].reverse().flatMap(({ label, shares }) => {
    const share = shares[index] ?? null;
    return share === null ? [] : [`${isolated(label)}  ${percent(share)}`];
  });
  const head = `${moment(axis[index] ?? 0, seconds)} · ${posts === null ? "no posts" : `${count(posts)} posts`}`;
  return [head, ...rows, ...(mean === null ? [] : [`mean  ${signed(mean)}`])].join("\n");
}
