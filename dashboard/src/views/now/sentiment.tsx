import { useCallback, useMemo } from "preact/hooks";
import { Chart } from "../../chart/chart";
import { sentimentOption } from "../../chart/sentiment-option";
import { capital, count, percent, signed } from "../../lib/format";
import { pageStyles } from "../../lib/label-styles";
import { type Colours, colours } from "../../lib/theme";
import { Swatch } from "../../ui/swatch";
import { Text } from "../../ui/text";
import type { Sentiments } from "../../windows/sentiment";

interface Props {
  sentiments: Sentiments;
  counts: readonly (number | null)[];
  axis: readonly number[];
  size: number;
  name: string;
}

/** The sentiment over time: the share of each label, the mean, and the number of posts. */
export function Sentiment({ sentiments, counts, axis, size, name }: Props) {
  const look = colours.value;
  const names = sentiments.labels.map(({ label }) => label).join("\n");
  const styles = useMemo(() => pageStyles(names.split("\n").filter(Boolean), look), [names, look]);
  const option = useCallback(
    (current: Colours) => sentimentOption({ sentiments, counts, axis, size, styles }, current),
    [sentiments, counts, axis, size, styles],
  );
  const { mean, total, labels } = sentiments;
  const shares = labels.map(({ label, share }) => `${label} ${percent(share)}`).join(", ");
  return (
    <Chart
      class="sentiment-chart"
      title="Sentiment over time"
      context={name}
      legend={labels.flatMap(({ label, share }) => {
        const style = styles.get(label);
        return style ? [{ name: `${capital(label)} ${percent(share)}`, style }] : [];
      })}
      summary={`Bars of the sentiment in ${axis.length} windows, with a line of the mean, over bars of the number of posts. In all: ${shares}${mean === null ? "" : `, mean ${signed(mean)}`}.`}
      table={sentimentTable(sentiments, counts, axis)}
      option={option}
      empty={total ? null : "No post of this span has a sentiment."}
    >
      <ul class="key">
        {labels.map(({ label, share }) => {
          const style = styles.get(label);
          return (
            <li key={label}>
              {style && <Swatch style={style} />}
              <Text>{capital(label)}</Text>
              <span class="figure">{percent(share)}</span>
            </li>
          );
        })}
        {mean !== null && (
          <li>
            <span class="mean-line" aria-hidden="true" />
            Mean <span class="figure">{signed(mean)}</span> of −1 to +1
          </li>
        )}
        <li>
          <span class="posts-bar" aria-hidden="true" />
          {count(total)} posts
        </li>
      </ul>
    </Chart>
  );
}

/** Returns the data of a chart of sentiments: one row for each window. */
export function sentimentTable(sentiments: Sentiments, counts: readonly (number | null)[], axis: readonly number[]) {
  return {
    columns: ["start", "posts", ...sentiments.series.map(({ label }) => label), "mean sentiment"],
    rows: axis.map((start, index) => [
      new Date(start).toISOString().replace(".000Z", "Z"),
      counts[index] ?? null,
      ...sentiments.series.map((one) => one.counts[index] ?? null),
      sentiments.means[index] ?? null,
    ]),
  };
}
