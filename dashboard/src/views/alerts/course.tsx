import { useCallback } from "preact/hooks";
import { Chart } from "../../chart/chart";
import { axisLook } from "../../chart/theme";
import { compact, moment, percent } from "../../lib/format";
import { keywordName } from "../../lib/text";
import type { Colours } from "../../lib/theme";
import type { WholeIncident } from "./types";

/** The values of an incident over time, with what is usual and what the value had to pass. */
export function Course({ incident }: { incident: WholeIncident }) {
  const { points, measure, limit, size } = incident;
  const isShare = measure !== "volume";
  const figure = useCallback((value: number) => (isShare ? percent(value / 100) : compact(value)), [isShare]);
  const seconds = points.length * size;
  const option = useCallback(
    (colours: Colours) => {
      const look = axisLook(colours);
      const line = (id: string, name: string, values: (number | null)[], color: string, type: "solid" | "dashed") => ({
        id,
        name,
        type: "line",
        symbol: "circle",
        symbolSize: points.length < 40 ? 5 * colours.scale : 0,
        data: values.map((value, index) => [Date.parse(points[index]?.start ?? ""), value]),
        lineStyle: { color, type, width: 2 * colours.scale },
        itemStyle: { color },
      });
      const marks = [
        {
          yAxis: limit,
          label: { formatter: `limit ${figure(limit)}`, color: colours.muted, position: "insideEndTop" },
        },
        { xAxis: Date.parse(incident.began), label: { formatter: "began", color: colours.muted } },
      ];
      return {
        grid: { left: 4, right: 12, top: 26, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
        tooltip: {
          trigger: "axis",
          valueFormatter: (value: number | null) => (value === null ? "no data" : figure(value)),
        },
        xAxis: {
          type: "time",
          ...look,
          splitLine: { show: false },
          axisLabel: { ...look.axisLabel, formatter: (ms: number) => moment(ms, seconds) },
        },
        yAxis: {
          type: "value",
          min: 0,
          splitNumber: 4,
          ...look,
          axisLine: { show: false },
          axisLabel: { ...look.axisLabel, formatter: figure },
        },
        series: [
          {
            ...line(
              "value",
              "value",
              points.map(({ value }) => value ?? null),
              colours.ink,
              "solid",
            ),
            markLine: {
              symbol: "none",
              silent: true,
              lineStyle: { color: colours.muted, type: "dotted" },
              data: marks,
            },
          },
          line(
            "usual",
            "usual",
            points.map(({ usual }) => usual ?? null),
            colours.muted,
            "dashed",
          ),
        ],
      };
    },
    [points, limit, incident.began, figure, seconds],
  );
  return (
    <Chart
      class="course"
      title="Course"
      context={`${incident.rule_name} ${keywordName(incident.keyword)}`}
      summary={`The value over ${points.length} windows; the limit is ${figure(limit)}.`}
      table={{
        columns: ["start", "posts", "value", "usual"],
        rows: points.map(({ start, posts, value, usual }) => [start, posts, value ?? null, usual ?? null]),
      }}
      option={option}
      empty={points.length ? null : incident.explained_at ? "Its windows are no longer kept." : "It is being read."}
    />
  );
}
