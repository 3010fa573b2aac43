import { useEffect, useId, useState } from "preact/hooks";
import { post } from "../../api/client";
import { useAnswer } from "../../api/use-answer";
import { capital, count, percent } from "../../lib/format";
import { oneOf, text, useQueryParams } from "../../lib/params";
import { Notice } from "../../ui/notice";
import { Text } from "../../ui/text";
import { Ring } from "../now/ring";
import { origin, type QueryAnswer, sharesOfAnswer } from "./answer";
import { Follow } from "./follow";
import { Watch } from "./watch";
import "../../styles/ask.css";

const LIMITS = ["100", "250", "500"] as const;
const SINCE_MS = { "24h": 86_400_000, "7d": 7 * 86_400_000, "30d": 30 * 86_400_000 } as const;
const SINCES = ["24h", "7d", "30d"] as const;

const PARAMS = {
  keyword: text(""),
  since: oneOf(SINCES, "24h"),
  limit: oneOf(LIMITS, "250"),
};

type Since = (typeof SINCES)[number];

/** Ask about any keyword, also one that nobody follows yet. */
export default function Ask() {
  const { values, set } = useQueryParams(PARAMS);
  const { keyword, since, limit } = values.value;
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>{keyword ? <Text>{keyword}</Text> : "What do people feel about …?"}</h1>
      </div>
      <Question keyword={keyword} since={since} limit={limit} onAsk={(asked) => set(asked)} />
      {keyword && <Answer key={`${since} ${limit} ${keyword}`} keyword={keyword} since={since} limit={Number(limit)} />}
    </>
  );
}

interface Asked {
  keyword: string;
  since: Since;
  limit: (typeof LIMITS)[number];
}

function Question({ keyword, since, limit, onAsk }: Asked & { onAsk: (asked: Asked) => void }) {
  const id = useId();
  const [given, setGiven] = useState({ keyword, since, limit });
  useEffect(() => setGiven({ keyword, since, limit }), [keyword, since, limit]);
  return (
    <form
      class="question"
      onSubmit={(event) => {
        event.preventDefault();
        const asked = given.keyword.trim();
        if (asked) onAsk({ ...given, keyword: asked });
      }}
    >
      <label class="field" for={`${id}-keyword`}>
        Keyword
        <input
          id={`${id}-keyword`}
          type="search"
          dir="auto"
          required
          maxLength={200}
          placeholder="coffee, a product, a place …"
          value={given.keyword}
          onInput={(event) => setGiven({ ...given, keyword: event.currentTarget.value })}
        />
      </label>
      <label class="field" for={`${id}-since`}>
        Posts of the last
        <select
          id={`${id}-since`}
          value={given.since}
          onChange={(event) => setGiven({ ...given, since: event.currentTarget.value as Since })}
        >
          <option value="24h">24 hours</option>
          <option value="7d">7 days</option>
          <option value="30d">30 days</option>
        </select>
      </label>
      <label class="field" for={`${id}-limit`}>
        Search for more below
        <select
          id={`${id}-limit`}
          value={given.limit}
          onChange={(event) => setGiven({ ...given, limit: event.currentTarget.value as Asked["limit"] })}
        >
          {LIMITS.map((one) => (
            <option key={one} value={one}>
              {one} posts
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="primary">
        Ask
      </button>
    </form>
  );
}

function Answer({ keyword, since, limit }: { keyword: string; since: Since; limit: number }) {
  const { data, problem, loading, reload } = useAnswer(
    (signal) => {
      const begin = since === "24h" ? null : new Date(Date.now() - SINCE_MS[since]).toISOString();
      return post(
        "/v1/query",
        { keyword, limit, since: begin, return_plot: false, plot_kind: "pie", plot_format: "png" },
        { signal },
      );
    },
    [keyword, since, limit],
  );
  const answer = data.value;
  return (
    <>
      {problem.value && <Notice problem={problem.value} retry={reload} />}
      {!answer && !problem.value && <Watch keyword={keyword} />}
      {answer ? (
        <Found answer={answer} isBusy={loading.value} askAgain={reload} />
      ) : (
        problem.value && keyword !== "*" && <Follow keyword={keyword} />
      )}
    </>
  );
}

function Found({ answer, isBusy, askAgain }: { answer: QueryAnswer; isBusy: boolean; askAgain: () => void }) {
  const shares = sharesOfAnswer(answer);
  const [first] = [...shares.labels].sort((a, b) => b.count - a.count);
  return (
    <div class="grid answer" aria-busy={isBusy}>
      {answer.count > 0 && <Ring shares={shares} name={answer.keyword} />}
      <div class="beside">
        <section class="card facts">
          <h2>{answer.count ? `${count(answer.count)} posts` : "No posts"}</h2>
          {answer.count > 0 && first ? (
            <p class="lead-fact">
              <strong>
                <Text>{capital(first.label)}</Text> {percent(first.share)}
              </strong>
            </p>
          ) : (
            <p>No post about this keyword has an emotion in this time.</p>
          )}
          {answer.sentiment && (
            <dl>
              {answer.sentiment.labels.map((one) => (
                <div key={one.label}>
                  <dt>
                    <Text>{capital(one.label)}</Text>
                  </dt>
                  <dd>{percent(one.pct / 100)}</dd>
                </div>
              ))}
              <div>
                <dt>Mean sentiment, −1 to 1</dt>
                <dd>{answer.sentiment.mean.toFixed(2).replace("-", "−")}</dd>
              </div>
            </dl>
          )}
          {answer.unsupported > 0 && (
            <p>{count(answer.unsupported)} more posts are in languages that the model does not read.</p>
          )}
          {!answer.complete && (
            <p class="incomplete">
              <strong>The answer is not complete.</strong>
            </p>
          )}
          {answer.notes.length > 0 && (
            <ul>
              {answer.notes.map((note) => (
                <li key={note}>
                  <Text>{note}</Text>
                </li>
              ))}
            </ul>
          )}
          <p class="muted">{origin(answer, Date.now())}</p>
          <div class="actions">
            <button type="button" disabled={isBusy} onClick={askAgain}>
              Ask again
            </button>
          </div>
        </section>
        {answer.keyword !== "*" && <Follow keyword={answer.keyword} />}
      </div>
    </div>
  );
}
