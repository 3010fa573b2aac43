import { useCallback, useMemo } from "preact/hooks";
import { Chart } from "../../chart/chart";
import { decalOf } from "../../chart/decal";
import { FONT } from "../../chart/theme";
import { capital, compact, count, percent } from "../../lib/format";
import { pageStyles } from "../../lib/label-styles";
import { isolated } from "../../lib/text";
import { type Colours, colours } from "../../lib/theme";
import { Swatch } from "../../ui/swatch";
import { Text } from "../../ui/text";
import type { Shares } from "../../windows/shares";

/** The distribution of emotions as a ring, with a list that has the figures. */
export function Ring({ shares, name }: { shares: Shares; name: string }) {
  const look = colours.value;
  const styles = useMemo(
    () =>
      pageStyles(
        shares.labels.map(({ label }) => label),
        look,
      ),
    [shares, look],
  );
  const option = useCallback(
    ({ ink, muted, scale }: Colours) => ({
      tooltip: { trigger: "item" },
      series: [
        {
          id: "ring",
          type: "pie",
          radius: ["62%", "94%"],
          startAngle: 90,
          padAngle: shares.labels.filter(({ count: posts }) => posts).length > 1 ? 1.2 : 0,
          label: { show: false },
          emphasis: { scaleSize: 4 },
          itemStyle: { borderRadius: 4 },
          tooltip: { valueFormatter: (value: number) => `${count(value)} posts · ${percent(value / shares.total)}` },
          data: shares.labels.map(({ label, count: posts }) => {
            const style = styles.get(label);
            if (!style) return { name: isolated(label), value: posts };
            return {
              name: isolated(capital(label)),
              value: posts,
              itemStyle: { color: style.colour, decal: decalOf(style, scale) },
            };
          }),
        },
        {
          id: "total",
          type: "pie",
          radius: [0, 1],
          silent: true,
          tooltip: { show: false },
          label: {
            position: "center",
            formatter: `{figure|${compact(shares.total)}}\n{unit|${shares.total === 1 ? "post" : "posts"}}`,
            rich: {
              figure: { fontSize: 34 * scale, fontWeight: 600, fontFamily: FONT, color: ink, lineHeight: 40 * scale },
              unit: { fontSize: 13 * scale, fontFamily: FONT, color: muted, lineHeight: 18 * scale },
            },
          },
          itemStyle: { color: "transparent" },
          data: [1],
        },
      ],
    }),
    [shares, styles],
  );
  const ranked = [...shares.labels].sort((a, b) => b.count - a.count);
  const first = ranked.slice(0, 3).map(({ label, share }) => `${label} ${percent(share)}`);
  return (
    <Chart
      class="ring"
      title="Emotions"
      context={name}
      legend={ranked.flatMap(({ label, share }) => {
        const style = styles.get(label);
        return style ? [{ name: `${capital(label)} ${percent(share)}`, style }] : [];
      })}
      summary={`Ring of the emotions in ${count(shares.total)} posts. The most frequent: ${first.join(", ")}.`}
      table={{
        columns: ["emotion", "posts", "share in %"],
        rows: ranked.map(({ label, count: posts, share }) => [label, posts, Math.round(1000 * share) / 10]),
      }}
      option={option}
      empty={shares.total ? null : "No post of this span has an emotion."}
    >
      <ol class="legend">
        {ranked.map(({ label, count: posts, share }) => {
          const style = styles.get(label);
          return (
            <li key={label}>
              {style && <Swatch style={style} />}
              <span class="name">
                <Text>{capital(label)}</Text>
              </span>
              <span class="figure">{percent(share)}</span>
              <span class="muted">{count(posts)}</span>
            </li>
          );
        })}
      </ol>
    </Chart>
  );
}
