import { useEffect, useMemo, useRef } from "preact/hooks";
import { get, type Schema } from "../../api/client";
import { useAnswer } from "../../api/use-answer";
import { capital, count } from "../../lib/format";
import { pageStyles } from "../../lib/label-styles";
import { navigate } from "../../lib/location";
import { labelOrder } from "../../lib/palette";
import { oneOf, text, texts, useQueryParams } from "../../lib/params";
import { matching } from "../../lib/table-sort";
import { colours } from "../../lib/theme";
import { keywordUrl } from "../../lib/urls";
import { subscribe } from "../../live/live";
import { EmptySystem } from "../../ui/empty";
import { Notice } from "../../ui/notice";
import { SearchInput } from "../../ui/search-input";
import { Swatch } from "../../ui/swatch";
import { Text } from "../../ui/text";
import { CompareBar } from "./compare-bar";
import { COLUMNS, KeywordTable } from "./keyword-table";

type KeywordCount = Schema["KeywordCount"];

/** The most keywords that the page compares. */
const MOST = 6;
/** Rows of a table before all of them are asked for. */
const FEW = 20;
/** How long to wait at least until the tables are read again. */
const AGAIN_MS = 5_000;

const PARAMS = {
  q: text(""),
  keyword: texts(MOST),
  sort: oneOf(COLUMNS, "posts"),
  way: oneOf(["down", "up"], "down"),
  rows: oneOf(["few", "all"], "few"),
};

const clock = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  timeZoneName: "short",
});

/** Search keywords, and see which are frequent and which rise. */
export default function Keywords() {
  const { values, set } = useQueryParams(PARAMS);
  const { q, keyword: picked, sort, way, rows } = values.value;
  const frequent = useKeywords("frequent", 500);
  const rising = useKeywords("rising", 100);
  const look = colours.value;
  const all = frequent.data?.keywords.filter(({ keyword }) => keyword !== "*") ?? null;
  const total = frequent.data?.keywords.find(({ keyword }) => keyword === "*")?.count ?? null;
  const names = labelOrder((frequent.data?.keywords ?? []).flatMap(({ labels }) => Object.keys(labels))).join("\n");
  const styles = useMemo(() => pageStyles(names.split("\n").filter(Boolean), look), [names, look]);
  const problem = frequent.problem ?? rising.problem;
  const retry = () => {
    frequent.reload();
    rising.reload();
  };
  useNews(retry);
  const found = all && matching(all, byName, q);
  const typed = q.trim();
  const isKnown = !typed || all?.some(({ keyword }) => keyword === typed);
  const pick = (name: string, isPicked: boolean) =>
    set({ keyword: isPicked ? [...picked, name] : picked.filter((one) => one !== name) }, { replace: true });
  const table = { styles, picked, most: MOST, onPick: pick };
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Keywords</h1>
        <form
          class="controls keyword-search"
          onSubmit={(event) => {
            event.preventDefault();
            if (typed) navigate(keywordUrl(typed));
          }}
        >
          <SearchInput
            label="Search keywords"
            placeholder="Search, or open any keyword"
            value={q}
            onChange={(text) => set({ q: text }, { replace: true })}
          />
          <button type="submit" disabled={!typed}>
            Open
          </button>
        </form>
      </div>
      <p class="headline">
        {frequent.data?.start && all?.length
          ? `${count(all.length)}${all.length === 499 ? " or more" : ""} keywords have posts since ${clock.format(Date.parse(frequent.data.start))}.`
          : "Search keywords, and see which are frequent and which rise."}
      </p>
      {problem && <Notice problem={problem} retry={retry} />}
      {all?.length === 0 && <EmptySystem />}
      {found && all?.length !== 0 && (
        <>
          {names && (
            <ul class="key keywords-key" aria-label="Emotions">
              {[...styles].map(([label, style]) => (
                <li key={label}>
                  <Swatch style={style} />
                  <Text>{capital(label)}</Text>
                </li>
              ))}
            </ul>
          )}
          <div class="grid keywords">
            <section class="card" aria-labelledby="frequent-title">
              <header class="card-head">
                <h2 id="frequent-title">Most frequent</h2>
              </header>
              {!found.length && (
                <p class="nothing few">None of the {count(all?.length ?? 0)} most frequent keywords contains this.</p>
              )}
              {!isKnown && (
                <p class="open-any">
                  <a href={keywordUrl(typed)}>
                    Open <Text>{typed}</Text>
                  </a>
                </p>
              )}
              {found.length > 0 && (
                <KeywordTable
                  {...table}
                  caption="Most frequent keywords"
                  rows={found}
                  total={total}
                  sort={{ column: sort, isDescending: way === "down" }}
                  onSort={(next) =>
                    set({ sort: next.column, way: next.isDescending ? "down" : "up" }, { replace: true })
                  }
                  limit={rows === "all" ? Number.POSITIVE_INFINITY : FEW}
                />
              )}
              {found.length > FEW && (
                <button
                  type="button"
                  class="more"
                  onClick={() => set({ rows: rows === "all" ? "few" : "all" }, { replace: true })}
                >
                  {rows === "all" ? `Show ${FEW} only` : `Show all ${count(found.length)}`}
                </button>
              )}
            </section>
            <section class="card" aria-labelledby="rising-title">
              <header class="card-head">
                <h2 id="rising-title">Rising</h2>
              </header>
              <Rising rows={rising.data?.keywords ?? null} q={q} table={table} />
            </section>
          </div>
        </>
      )}
      {!frequent.data && !problem && <div class="waiting" aria-busy="true" />}
      <CompareBar picked={picked} most={MOST} onClear={() => set({ keyword: [] }, { replace: true })} />
    </>
  );
}

type TableProps = Parameters<typeof KeywordTable>[0];

function Rising({
  rows,
  q,
  table,
}: {
  rows: KeywordCount[] | null;
  q: string;
  table: Pick<TableProps, "styles" | "picked" | "most" | "onPick">;
}) {
  const found = rows && matching(rows, byName, q);
  if (!found) return <div class="waiting" aria-busy="true" />;
  if (!found.length) {
    return (
      <p class="nothing few">
        {rows?.length ? "No keyword that rises contains this." : "No keyword has more posts than in the hour before."}
      </p>
    );
  }
  return <KeywordTable {...table} caption="Keywords that rise" rows={found} limit={FEW} isRising />;
}

const byName = ({ keyword }: KeywordCount) => keyword;

function useKeywords(order: "frequent" | "rising", limit: number) {
  const answer = useAnswer((signal) => get("/v1/keywords", { query: { order, limit }, signal }), [order, limit]);
  return { data: answer.data.value, problem: answer.problem.value, reload: answer.reload };
}

/** Calls `reload` now and then while posts come and the page is visible. */
function useNews(reload: () => void) {
  const reloadNow = useRef(reload);
  reloadNow.current = reload;
  useEffect(() => {
    let readAt = Date.now();
    return subscribe({ keywords: ["*"], kinds: ["window"] }, (message) => {
      if (message.type === "update" && (document.hidden || Date.now() - readAt < AGAIN_MS)) return;
      readAt = Date.now();
      reloadNow.current();
    });
  }, []);
}
