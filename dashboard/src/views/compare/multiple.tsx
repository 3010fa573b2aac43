import type { EChartsCoreOption } from "echarts/core";
import { useCallback, useMemo } from "preact/hooks";
import { Chart } from "../../chart/chart";
import { dashOf } from "../../chart/decal";
import { sentimentOption } from "../../chart/sentiment-option";
import { axisLook } from "../../chart/theme";
import type { Table } from "../../lib/csv";
import { capital, compact, count, moment, percent, signed } from "../../lib/format";
import type { Style } from "../../lib/palette";
import { isolated, keywordName } from "../../lib/text";
import type { Colours } from "../../lib/theme";
import { type Compared, comparedTable, type Tops } from "../../windows/compared";

export const MEASURES = ["emotions", "posts", "sentiment"] as const;
export type Measure = (typeof MEASURES)[number];

interface Props {
  one: Compared;
  measure: Measure;
  tops: Tops;
  span: string;
  styles: ReadonlyMap<string, Style>;
  feelings: ReadonlyMap<string, Style>;
}

/** One keyword of the comparison as a small chart. All of them have the same axes. */
export function Multiple({ one, measure, tops, span, styles, feelings }: Props) {
  const { share, posts } = tops;
  const option = useCallback(
    (current: Colours) => optionOf(one, measure, { share, posts }, { styles, feelings }, current),
    [one, measure, share, posts, styles, feelings],
  );
  const table = useMemo((): Table => {
    const { columns, rows } = comparedTable([one]);
    return { columns: columns.slice(1), rows: rows.map((row) => row.slice(1)) };
  }, [one]);
  const { total, labels } = one.shares;
  const { mean } = one.sentiments;
  const [first] = [...labels].sort((a, b) => b.count - a.count);
  const facts = [
    `${count(total)} posts`,
    first && total ? `${first.label} leads with ${percent(first.share)}` : "",
    mean === null ? "" : `mean sentiment ${signed(mean)}`,
  ];
  const look = measure === "sentiment" ? feelings : styles;
  return (
    <Chart
      class="multiple"
      title={keywordName(one.keyword)}
      context={`${measure} ${span}`}
      legend={measure === "posts" ? [] : [...look].map(([label, style]) => ({ name: capital(label), style }))}
      summary={`${capital(measure)} over ${one.axis.length} windows: ${facts.filter(Boolean).join(", ")}.`}
      table={table}
      option={option}
      empty={total ? null : "There are no posts in this span."}
    />
  );
}

interface Looks {
  styles: ReadonlyMap<string, Style>;
  feelings: ReadonlyMap<string, Style>;
}

function optionOf(one: Compared, measure: Measure, tops: Tops, looks: Looks, current: Colours): EChartsCoreOption {
  const { axis, size, shares, sentiments } = one;
  if (measure === "sentiment") {
    return sentimentOption(
      { sentiments, counts: shares.counts, axis, size, styles: looks.feelings, most: tops.posts, isSmall: true },
      current,
    );
  }
  const look = axisLook(current);
  const seconds = axis.length * size;
  const isShare = measure === "emotions";
  return {
    // The same room on the left in all charts, so that their axes are the same.
    grid: { left: 44 * current.scale, right: 10 * current.scale, top: 10, bottom: 24 * current.scale },
    tooltip: {
      trigger: "axis",
      order: "valueDesc",
      axisPointer: { type: isShare ? "line" : "shadow", label: { show: false } },
      valueFormatter: (value: number | null) => (value === null ? "–" : isShare ? percent(value) : count(value)),
    },
    xAxis: {
      type: "category",
      data: axis.map((start) => moment(start, seconds)),
      boundaryGap: !isShare,
      ...look,
      splitLine: { show: false },
    },
    yAxis: {
      type: "value",
      min: 0,
      max: isShare ? tops.share : tops.posts,
      splitNumber: isShare ? 5 : 4,
      minInterval: isShare ? 0 : 1,
      ...look,
      axisLine: { show: false },
      axisLabel: { ...look.axisLabel, formatter: isShare ? (share: number) => percent(share) : compact },
    },
    series: isShare ? lines(one, looks.styles, current) : [bars(one, current)],
  };
}

function lines({ shares }: Compared, styles: ReadonlyMap<string, Style>, current: Colours): object[] {
  return shares.series.map(({ label, shares: values }) => {
    const style = styles.get(label);
    const color = style?.colour ?? current.muted;
    const isKnown = (at: number) => (values[at] ?? null) !== null;
    return {
      id: label,
      name: isolated(capital(label)),
      type: "line",
      data: values,
      connectNulls: false,
      symbol: "circle",
      showAllSymbol: true,
      // A window between two gaps is no line, so it is a point.
      symbolSize: (_: unknown, { dataIndex: at }: { dataIndex: number }) =>
        isKnown(at - 1) || isKnown(at + 1) ? 0 : 5 * current.scale,
      lineStyle: {
        width: 1.75 * current.scale,
        color,
        type: style ? dashOf(style, current.scale) : "solid",
        join: "round",
      },
      itemStyle: { color },
      emphasis: { disabled: true },
    };
  });
}

function bars({ shares }: Compared, current: Colours): object {
  return {
    id: "posts",
    name: "Posts",
    type: "bar",
    barCategoryGap: "12%",
    data: shares.counts,
    itemStyle: { color: current.muted },
    emphasis: { disabled: true },
  };
}
