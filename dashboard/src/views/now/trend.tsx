import { useCallback, useMemo } from "preact/hooks";
import { Chart } from "../../chart/chart";
import { dashOf } from "../../chart/decal";
import { axisLook } from "../../chart/theme";
import { capital, compact, count, moment, percent } from "../../lib/format";
import { pageStyles } from "../../lib/label-styles";
import { isolated } from "../../lib/text";
import { type Colours, colours } from "../../lib/theme";
import { Swatch } from "../../ui/swatch";
import { Text } from "../../ui/text";
import type { Shares } from "../../windows/shares";

interface Props {
  shares: Shares;
  axis: readonly number[];
  size: number;
  name: string;
  measure: "share" | "posts";
  onMeasure: (measure: "share" | "posts") => void;
}

/** One line per emotion over time: its share of the posts, or its number. */
export function Trend({ shares, axis, size, name, measure, onMeasure }: Props) {
  const page = colours.value;
  const styles = useMemo(
    () =>
      pageStyles(
        shares.labels.map(({ label }) => label),
        page,
      ),
    [shares, page],
  );
  const seconds = axis.length * size;
  const isShare = measure === "share";
  const isHigh = isShare && shares.series.some((one) => one.shares.some((share) => (share ?? 0) > 0.8));
  const option = useCallback(
    (current: Colours) => {
      const look = axisLook(current);
      return {
        grid: { left: 4, right: 12, top: 14, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
        tooltip: {
          trigger: "axis",
          order: "valueDesc",
          valueFormatter: (value: number | null) => (value === null ? "–" : isShare ? percent(value) : count(value)),
          axisPointer: {
            label: { show: false, formatter: ({ value }: { value: number }) => heading(value, axis, shares, seconds) },
          },
        },
        xAxis: {
          type: "time",
          min: axis[0],
          max: (axis.at(-1) ?? 0) + 1,
          ...look,
          splitLine: { show: false },
          axisLabel: { ...look.axisLabel, formatter: (ms: number) => moment(ms, seconds) },
        },
        yAxis: {
          type: "value",
          min: 0,
          // A share has no more than 100 %, where the axis would go on for the sake of its steps.
          ...(isHigh && { max: 1, interval: 0.25 }),
          minInterval: isShare ? 0 : 1,
          splitNumber: 4,
          ...look,
          axisLine: { show: false },
          axisLabel: { ...look.axisLabel, formatter: isShare ? (share: number) => percent(share) : compact },
        },
        series: shares.series.map((one) => {
          const style = styles.get(one.label);
          const values = isShare ? one.shares : one.counts;
          const color = style?.colour ?? current.muted;
          return {
            id: one.label,
            name: isolated(capital(one.label)),
            type: "line",
            data: values.map((value, index) => [axis[index], value]),
            connectNulls: false,
            // A window between two gaps is no line, so it is a point.
            symbol: "circle",
            showAllSymbol: true,
            symbolSize: (_: unknown, { dataIndex }: { dataIndex: number }) =>
              isAlone(values, dataIndex) ? 6 * current.scale : 0,
            lineStyle: {
              width: 2 * current.scale,
              color,
              type: style ? dashOf(style, current.scale) : "solid",
              cap: "round",
              join: "round",
            },
            itemStyle: { color },
            // The axis' tooltip emphasises all lines at once, which says nothing.
            emphasis: { disabled: true },
          };
        }),
      };
    },
    [shares, styles, axis, seconds, isShare, isHigh],
  );
  const known = shares.counts.filter((one) => one !== null).length;
  return (
    <Chart
      class="trend"
      title={isShare ? "Share over time" : "Posts over time"}
      context={name}
      legend={shares.labels.flatMap(({ label }) => {
        const style = styles.get(label);
        return style ? [{ name: capital(label), style }] : [];
      })}
      aside={
        <fieldset class="segments small">
          <legend class="visually-hidden">Measure</legend>
          {(["share", "posts"] as const).map((one) => (
            <label key={one}>
              <input type="radio" name="measure" checked={one === measure} onChange={() => onMeasure(one)} />
              <span>{one === "share" ? "Share" : "Posts"}</span>
            </label>
          ))}
        </fieldset>
      }
      summary={`Lines of ${shares.labels.length} emotions over ${axis.length} windows, ${known} of them with posts.`}
      table={{
        columns: ["start", "posts", ...shares.series.map(({ label }) => label)],
        rows: axis.map((start, index) => [
          new Date(start).toISOString().replace(".000Z", "Z"),
          shares.counts[index] ?? null,
          ...shares.series.map((one) => one.counts[index] ?? null),
        ]),
      }}
      option={option}
      empty={known ? null : "There are no posts in this span."}
    >
      <ul class="key">
        {shares.labels.map(({ label }) => {
          const style = styles.get(label);
          return (
            <li key={label}>
              {style && <Swatch style={style} />}
              <Text>{capital(label)}</Text>
            </li>
          );
        })}
      </ul>
    </Chart>
  );
}

function isAlone(values: readonly (number | null)[], index: number): boolean {
  const isKnown = (at: number) => (values[at] ?? null) !== null;
  return isKnown(index) && !isKnown(index - 1) && !isKnown(index + 1);
}

function heading(start: number, axis: readonly number[], shares: Shares, seconds: number): string {
  const posts = shares.counts[axis.indexOf(start)] ?? null;
  return `${moment(start, seconds)} · ${posts === null ? "no posts" : `${count(posts)} posts`}`;
}
