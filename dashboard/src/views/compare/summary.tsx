import { capital, count, percent, signed } from "../../lib/format";
import type { Style } from "../../lib/palette";
import { keywordName } from "../../lib/text";
import { keywordUrl } from "../../lib/urls";
import { MiniBar } from "../../ui/mini-bar";
import { Text } from "../../ui/text";
import type { Compared } from "../../windows/compared";

/** The keywords of the comparison in figures of the whole span. */
export function Summary({ all, styles }: { all: readonly Compared[]; styles: ReadonlyMap<string, Style> }) {
  return (
    <div class="card summary">
      <header class="card-head">
        <h2 id="summary-title">In all of the span</h2>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section class="table-scroll" tabIndex={0} aria-labelledby="summary-title">
        <table>
          <thead>
            <tr>
              <th scope="col">Keyword</th>
              <th scope="col">Posts</th>
              <th scope="col" class="emotions">
                Emotions
              </th>
              <th scope="col">Leads</th>
              <th scope="col">Negative</th>
              <th scope="col">Positive</th>
              <th scope="col">Sentiment</th>
            </tr>
          </thead>
          <tbody>
            {all.map((one) => (
              <Row key={one.keyword} one={one} styles={styles} />
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

function Row({ one, styles }: { one: Compared; styles: ReadonlyMap<string, Style> }) {
  const { total, labels } = one.shares;
  const [first] = [...labels].sort((a, b) => b.count - a.count);
  const { mean } = one.sentiments;
  const shareOf = (name: string) => one.sentiments.labels.find(({ label }) => label === name)?.share ?? null;
  const [negative, positive] = [shareOf("negative"), shareOf("positive")];
  return (
    <tr>
      <th scope="row">
        <a href={keywordUrl(one.keyword)}>
          <Text>{keywordName(one.keyword)}</Text>
        </a>
      </th>
      <td>{count(total)}</td>
      <td class="emotions">
        <MiniBar counts={Object.fromEntries(labels.map(({ label, count: posts }) => [label, posts]))} styles={styles} />
      </td>
      <td>
        {first && total ? (
          <>
            <Text>{capital(first.label)}</Text> {percent(first.share)}
          </>
        ) : (
          "–"
        )}
      </td>
      <td>{negative === null ? "–" : percent(negative)}</td>
      <td>{positive === null ? "–" : percent(positive)}</td>
      <td>{mean === null ? "–" : signed(mean)}</td>
    </tr>
  );
}
