import { useMemo } from "preact/hooks";
import { capital, count, percent } from "../../lib/format";
import { moment, oneOf, text, useQueryParams } from "../../lib/params";
import { SPAN_NAMES, SPANS } from "../../lib/spans";
import { keywordName } from "../../lib/text";
import { EmptySystem } from "../../ui/empty";
import { KeywordField } from "../../ui/keyword-field";
import { Notice } from "../../ui/notice";
import { SpanPicker } from "../../ui/span-picker";
import { Text } from "../../ui/text";
import { sentimentsOf } from "../../windows/sentiment";
import { type Shares, sharesOf } from "../../windows/shares";
import { useWindows } from "../../windows/use-windows";
import { Feed } from "./feed";
import { Figures } from "./figures";
import { Ring } from "./ring";
import { Sentiment } from "./sentiment";
import { Trend } from "./trend";

const PARAMS = {
  keyword: text("*"),
  span: oneOf(SPANS, "1h"),
  until: moment,
  measure: oneOf(["share", "posts"], "share"),
  label: text(""),
  filter: text(""),
};

/** What people feel about a keyword now, and how it changes. */
export default function Now() {
  const { values, set } = useQueryParams(PARAMS);
  const { keyword, span, until, measure, label, filter } = values.value;
  const { windows, axis, size, problem, reload } = useWindows(keyword, span, until);
  const shares = useMemo(() => windows && sharesOf(windows), [windows]);
  const sentiments = useMemo(() => windows && sentimentsOf(windows), [windows]);
  const labels = useLabels(shares);
  const name = `${keywordName(keyword)} ${span}`;
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>
          <Text>{keywordName(keyword)}</Text>
        </h1>
        <div class="controls">
          <KeywordField keyword={keyword} onChange={(one) => set({ keyword: one })} />
          <SpanPicker span={span} until={until} onChange={(changes) => set(changes)} />
        </div>
      </div>
      {problem && <Notice problem={problem} retry={reload} />}
      {shares && <Headline shares={shares} span={SPAN_NAMES[span]} isLive={until === null} />}
      {shares?.total === 0 && <EmptySystem />}
      {shares ? (
        <div class="grid now">
          <Ring shares={shares} name={name} />
          <Trend
            shares={shares}
            axis={axis}
            size={size}
            name={name}
            measure={measure}
            onMeasure={(one) => set({ measure: one }, { replace: true })}
          />
        </div>
      ) : (
        !problem && <div class="grid now waiting" aria-busy="true" />
      )}
      <Figures isLive={until === null} />
      <div class="grid posts-and-sentiment">
        {shares && sentiments ? (
          <Sentiment sentiments={sentiments} counts={shares.counts} axis={axis} size={size} name={name} />
        ) : (
          <div class="waiting" />
        )}
        <Feed
          keyword={keyword}
          until={until}
          labels={labels}
          label={label}
          filter={filter}
          onFilter={(changes) => set(changes, { replace: true })}
        />
      </div>
    </>
  );
}

/** The labels of the charts. They stay the same array as long as they are the same. */
function useLabels(shares: Shares | null): readonly string[] {
  const names = shares?.labels.map(({ label }) => label).join("\n") ?? "";
  return useMemo(() => names.split("\n").filter(Boolean), [names]);
}

function Headline({ shares, span, isLive }: { shares: Shares; span: string; isLive: boolean }) {
  const [first] = [...shares.labels].sort((a, b) => b.count - a.count);
  const when = isLive ? `the last ${span}` : `${span === "hour" ? "an hour" : span}`;
  if (!first || !shares.total) return <p class="headline">No posts in {when}.</p>;
  return (
    <p class="headline">
      <strong>
        <Text>{capital(first.label)}</Text> leads with {percent(first.share)}
      </strong>{" "}
      of {count(shares.total)} posts in {when}.
    </p>
  );
}
