import type { Schema } from "../../api/client";
import { count, percent, signed } from "../../lib/format";
import type { Style } from "../../lib/palette";
import { clicked, type Sort, sorted } from "../../lib/table-sort";
import { keywordUrl } from "../../lib/urls";
import { MiniBar } from "../../ui/mini-bar";
import { Text } from "../../ui/text";

type Row = Schema["KeywordCount"];

export const COLUMNS = ["keyword", "posts", "sentiment"] as const;
export type Column = (typeof COLUMNS)[number];

const VALUES: Record<Column, (row: Row) => number | string | null> = {
  keyword: (row) => row.keyword,
  posts: (row) => row.count,
  sentiment: (row) => row.mean_sentiment,
};
const NAMES: Record<Column, string> = { keyword: "Keyword", posts: "Posts", sentiment: "Sentiment" };

interface Props {
  caption: string;
  rows: readonly Row[];
  styles: ReadonlyMap<string, Style>;
  picked: readonly string[];
  /** The most keywords that can be picked. */
  most: number;
  onPick: (keyword: string, isPicked: boolean) => void;
  /** The most rows to show. */
  limit: number;
  /** Posts of all keywords, for the shares; null if it is not known. */
  total?: number | null;
  /** The order of the rows; without it they keep theirs. */
  sort?: Sort<Column>;
  onSort?: (sort: Sort<Column>) => void;
  isRising?: boolean;
}

/** Keywords with their posts, emotions and mean sentiment. A click opens one, a tick picks it for the comparison. */
export function KeywordTable(props: Props) {
  const { caption, rows, styles, picked, most, onPick, limit, total = null, sort, onSort, isRising = false } = props;
  const ordered = sort ? sorted(rows, VALUES[sort.column], sort.isDescending) : rows;
  const isFull = picked.length >= most;
  const head = (column: Column) => (
    <Head key={column} column={column} {...(sort && { sort })} {...(onSort && { onSort })} />
  );
  return (
    <table class={isRising ? "keyword-table rising" : "keyword-table"}>
      <caption class="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">
            <span class="visually-hidden">Compare</span>
          </th>
          {head("keyword")}
          {head("posts")}
          {isRising && <th scope="col">Rise</th>}
          <th scope="col" class="emotions">
            Emotions
          </th>
          {head("sentiment")}
        </tr>
      </thead>
      <tbody>
        {ordered.slice(0, limit).map((row) => {
          const isPicked = picked.includes(row.keyword);
          return (
            <tr key={row.keyword}>
              <td>
                <input
                  type="checkbox"
                  aria-label={`Compare ${row.keyword}`}
                  checked={isPicked}
                  disabled={isFull && !isPicked}
                  title={isFull && !isPicked ? `At most ${most} keywords can be compared` : "Compare"}
                  onChange={(event) => onPick(row.keyword, event.currentTarget.checked)}
                />
              </td>
              <th scope="row">
                <a href={keywordUrl(row.keyword)}>
                  <Text>{row.keyword}</Text>
                </a>
              </th>
              <td>
                {count(row.count)}
                {total !== null && total > 0 && <span class="muted share"> {percent(row.count / total)}</span>}
              </td>
              {isRising && <td class="figure">{typeof row.rise === "number" ? `× ${row.rise.toFixed(1)}` : "–"}</td>}
              <td class="emotions">
                <MiniBar counts={row.labels} styles={styles} />
              </td>
              <td>{row.mean_sentiment === null ? "–" : signed(row.mean_sentiment)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

interface HeadProps {
  column: Column;
  sort?: Sort<Column>;
  onSort?: (sort: Sort<Column>) => void;
}

function Head({ column, sort, onSort }: HeadProps) {
  if (!sort || !onSort) return <th scope="col">{NAMES[column]}</th>;
  const isSorted = sort.column === column;
  const direction = sort.isDescending ? "descending" : "ascending";
  return (
    <th scope="col" aria-sort={isSorted ? direction : "none"}>
      <button type="button" class="sort" onClick={() => onSort(clicked(sort, column, column === "keyword"))}>
        {NAMES[column]}
        <span aria-hidden="true">{isSorted ? (sort.isDescending ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}
