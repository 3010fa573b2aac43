import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../../api/client";
import type { Problem } from "../../api/problem";
import { useAnswer } from "../../api/use-answer";
import { fileName, save } from "../../chart/export";
import { toCsv } from "../../lib/csv";
import { capital } from "../../lib/format";
import { pageStyles } from "../../lib/label-styles";
import { moment, oneOf, texts, useQueryParams } from "../../lib/params";
import { SPANS, type Span } from "../../lib/spans";
import { keywordName } from "../../lib/text";
import { colours } from "../../lib/theme";
import { EmptySystem } from "../../ui/empty";
import { KeywordField } from "../../ui/keyword-field";
import { Notice } from "../../ui/notice";
import { SpanPicker } from "../../ui/span-picker";
import { Swatch } from "../../ui/swatch";
import { Text } from "../../ui/text";
import { type Compared, comparedOf, comparedTable, labelsOf, topsOf } from "../../windows/compared";
import { useWindows } from "../../windows/use-windows";
import { MEASURES, Multiple } from "./multiple";
import { Summary } from "./summary";

const MOST = 6;
/** The most windows that a small chart has room for. */
const MOST_WINDOWS = 200;

const PARAMS = { keyword: texts(MOST), span: oneOf(SPANS, "24h"), until: moment, measure: oneOf(MEASURES, "emotions") };

/** Up to six keywords side by side, in charts that have the same axes. */
export default function Compare() {
  const { values, set } = useQueryParams(PARAMS);
  const { keyword: keywords, span, until, measure } = values.value;
  const [read, setRead] = useState<ReadonlyMap<string, Compared>>(new Map());
  const report = useCallback((one: Compared) => setRead((all) => new Map(all).set(one.keyword, one)), []);
  const [failed, setFailed] = useState<ReadonlyMap<string, Failure>>(new Map());
  const fail = useCallback((keyword: string, failure: Failure | null) => {
    setFailed((before) => {
      const after = new Map(before);
      if (failure) after.set(keyword, failure);
      else after.delete(keyword);
      return after;
    });
  }, []);
  const failures = keywords.flatMap((keyword) => failed.get(keyword) ?? []);
  const all = keywords.flatMap((keyword) => read.get(keyword) ?? []);
  const labels = labelsOf(all).join("\n");
  const look = colours.value;
  const styles = useMemo(() => pageStyles(labels.split("\n").filter(Boolean), look), [labels, look]);
  const feelings = useMemo(() => pageStyles(["negative", "neutral", "positive"], look), [look]);
  const tops = topsOf(all);
  const add = (keyword: string) => set({ keyword: [...keywords, keyword] });
  const saveAll = () =>
    save(
      new Blob(["\ufeff", toCsv(comparedTable(all))], { type: "text/csv" }),
      fileName(`compare ${keywords.map(keywordName).join(" ")} ${span}`, "csv"),
    );
  const shown = measure === "sentiment" ? feelings : measure === "emotions" ? styles : new Map();
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Compare</h1>
        <div class="controls">
          {keywords.length < MOST && <KeywordField keyword="" onChange={add} isAdding />}
          <SpanPicker span={span} until={until} onChange={(changes) => set(changes)} />
        </div>
      </div>
      <div class="compared">
        <ul class="chips" aria-label="Keywords">
          {keywords.map((keyword) => (
            <li key={keyword} class="chip">
              <Text>{keywordName(keyword)}</Text>
              <button
                type="button"
                aria-label={`Remove ${keywordName(keyword)}`}
                onClick={() => set({ keyword: keywords.filter((one) => one !== keyword) })}
              >
                ×
              </button>
            </li>
          ))}
        </ul>
        {keywords.length > 0 && (
          <div class="compare-tools">
            <fieldset class="segments small">
              <legend class="visually-hidden">Measure</legend>
              {MEASURES.map((one) => (
                <label key={one}>
                  <input
                    type="radio"
                    name="measure"
                    checked={one === measure}
                    onChange={() => set({ measure: one }, { replace: true })}
                  />
                  <span>{capital(one)}</span>
                </label>
              ))}
            </fieldset>
            <button type="button" disabled={!all.length} onClick={saveAll}>
              CSV of all
            </button>
          </div>
        )}
      </div>
      {keywords.map((keyword) => (
        <Reader key={keyword} keyword={keyword} span={span} until={until} onRead={report} onFailure={fail} />
      ))}
      {failures[0] && (
        <Notice
          problem={failures[0].problem}
          retry={() => {
            for (const { reload } of failures) reload();
          }}
        />
      )}
      {keywords.length < MOST && <Proposals keywords={keywords} onAdd={add} />}
      {shown.size > 0 && all.length > 0 && (
        <ul class="key compare-key">
          {[...shown].map(([label, style]) => (
            <li key={label}>
              <Swatch style={style} />
              <Text>{capital(label)}</Text>
            </li>
          ))}
          {measure === "sentiment" && (
            <li>
              <span class="mean-line" aria-hidden="true" />
              Mean, −1 to +1
            </li>
          )}
        </ul>
      )}
      <div class="grid multiples">
        {keywords.map((keyword) => {
          const one = read.get(keyword);
          return one ? (
            <Multiple
              key={keyword}
              one={one}
              measure={measure}
              tops={tops}
              span={span}
              styles={styles}
              feelings={feelings}
            />
          ) : (
            <div key={keyword} class="waiting" aria-busy="true" />
          );
        })}
      </div>
      {all.length > 0 && <Summary all={all} styles={styles} />}
    </>
  );
}

/** Why a keyword could not be read. One notice stands for all of them, because they have the same reason. */
interface Failure {
  problem: Problem;
  reload: () => void;
}

interface ReaderProps {
  keyword: string;
  span: Span;
  until: number | null;
  onRead: (one: Compared) => void;
  onFailure: (keyword: string, failure: Failure | null) => void;
}

/** Reads the windows of one keyword, and shows nothing. */
function Reader({ keyword, span, until, onRead, onFailure }: ReaderProps) {
  const { windows, axis, size, problem, reload } = useWindows(keyword, span, until, MOST_WINDOWS);
  useEffect(() => {
    if (windows) onRead(comparedOf(keyword, windows, axis, size));
  }, [keyword, windows, axis, size, onRead]);
  useEffect(() => onFailure(keyword, problem && { problem, reload }), [keyword, problem, reload, onFailure]);
  useEffect(() => () => onFailure(keyword, null), [keyword, onFailure]);
  return null;
}

/** Frequent keywords to begin with. */
function Proposals({ keywords, onAdd }: { keywords: readonly string[]; onAdd: (keyword: string) => void }) {
  const { data } = useAnswer((signal) => get("/v1/keywords", { query: { limit: 13 }, signal }), []);
  const names = data.value?.keywords.map(({ keyword }) => keyword).filter((one) => !keywords.includes(one)) ?? [];
  return (
    <>
      {keywords.length < 2 && (
        <p class="headline">
          {keywords.length
            ? "Add another keyword to compare it with."
            : "Choose up to six keywords to put side by side."}
        </p>
      )}
      <EmptySystem />
      <p class="chips proposals">
        {names.slice(0, 12).map((keyword) => (
          <button key={keyword} type="button" onClick={() => onAdd(keyword)}>
            + <Text>{keywordName(keyword)}</Text>
          </button>
        ))}
      </p>
    </>
  );
}
