import { useEffect, useState } from "preact/hooks";
import { get, post, urlOf } from "../../api/client";
import { Problem } from "../../api/problem";
import { useAnswer } from "../../api/use-answer";
import { capital, count, percent } from "../../lib/format";
import { keywordName } from "../../lib/text";
import { Notice } from "../../ui/notice";
import { Text } from "../../ui/text";
import { Course } from "./course";
import { Severity } from "./severity";
import { ended, when } from "./times";
import type { Delivery, WholeIncident } from "./types";

/** How often an incident is read again while its words and deliveries are on their way. */
const REFRESH_MS = 3_000;

/** One incident: why it is one, the words and posts that moved the value, and whom it was told. */
export function IncidentDetail({ incident, onClose }: { incident: string; onClose: () => void }) {
  const { data, problem, reload } = useAnswer(
    (signal) => get("/v1/alerts/incidents/{incident}", { path: { incident }, signal }),
    [incident],
  );
  const found = data.value;
  const isWaiting = found !== null && (!found.explained_at || found.deliveries.some((one) => one.state === "waiting"));
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setInterval(reload, REFRESH_MS);
    return () => clearInterval(timer);
  }, [isWaiting, reload]);
  return (
    <section class="incident-detail" aria-label="Incident">
      {problem.value && <Notice problem={problem.value} retry={reload} />}
      {found && (
        <>
          <div class="card facts">
            <div class="row">
              <Severity severity={found.severity} />
              <span class="state">{found.state === "open" ? "open" : ended(found)}</span>
              <button type="button" class="quiet close" onClick={onClose}>
                Close
              </button>
            </div>
            <h2>
              <Text>{keywordName(found.keyword)}</Text>: <Text>{found.rule_name}</Text>
            </h2>
            <p class="lead-summary">
              <Text>{capital(found.summary)}</Text>
            </p>
            <Figures found={found} />
            <div class="actions">
              <Mute found={found} onMuted={reload} />
              <a class="button" href={sight(found)}>
                See the posts then
              </a>
            </div>
          </div>
          <Course incident={found} />
          <Words found={found} />
          <Posts found={found} />
          <Deliveries deliveries={found.deliveries} />
        </>
      )}
    </section>
  );
}

function sight({ keyword, decided }: WholeIncident): string {
  return urlOf("/", { query: { keyword: keyword === "*" ? null : keyword, until: decided, span: "6h" } });
}

function Figures({ found }: { found: WholeIncident }) {
  const isShare = found.measure !== "volume";
  const figure = (value: number) => (isShare ? percent(value / 100) : count(Math.round(value)));
  const rows: [string, string][] = [
    ["Value", `${figure(found.value)} of ${count(found.posts)} posts`],
    ["Certain within (95 %)", `${figure(found.low)} to ${figure(found.high)}`],
    [
      "Usual at this hour",
      found.usual === null ? "not used by this rule" : `${figure(found.usual)} (${found.hours} hours)`,
    ],
    ["Began", when(found.began)],
    ["Certain at", when(found.decided)],
    ...(found.ended ? ([["Ended", `${when(found.ended)}, ${found.ended_because ?? ""}`]] as [string, string][]) : []),
  ];
  if (!isShare) rows[0] = ["Value", `${count(found.value)} posts`];
  return (
    <dl>
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <Text>{value}</Text>
          </dd>
        </div>
      ))}
    </dl>
  );
}

const HOURS = [1, 8, 24, 168];

function Mute({ found, onMuted }: { found: WholeIncident; onMuted: () => void }) {
  const [state, setState] = useState<"idle" | "busy" | "done">("idle");
  const [problem, setProblem] = useState<Problem | null>(null);
  const mute = async (hours: number) => {
    setState("busy");
    setProblem(null);
    try {
      const { rule, keyword } = found;
      await post("/v1/alerts/mutes", { rule, keyword, duration_s: 3600 * hours, reason: "muted on the page" });
      setState("done");
      onMuted();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
      setState("idle");
    }
  };
  return (
    <>
      <label class="field inline">
        Mute the rule for this keyword
        <select
          value=""
          disabled={state === "busy"}
          onChange={(event) => event.currentTarget.value && mute(Number(event.currentTarget.value))}
        >
          <option value="">{state === "done" ? "muted" : "for …"}</option>
          {HOURS.map((hours) => (
            <option key={hours} value={hours}>
              {hours < 48 ? `${hours} h` : `${hours / 24} days`}
            </option>
          ))}
        </select>
      </label>
      {problem && <Notice problem={problem} retry={() => setProblem(null)} />}
    </>
  );
}

function Words({ found }: { found: WholeIncident }) {
  return (
    <section class="card">
      <h2>Words that are more frequent than before</h2>
      {found.words.length ? (
        <table class="words">
          <thead>
            <tr>
              <th scope="col">word</th>
              <th scope="col">posts now</th>
              <th scope="col">posts before</th>
              <th scope="col">z-score of the log-odds</th>
            </tr>
          </thead>
          <tbody>
            {found.words.map((one) => (
              <tr key={one.word}>
                <th scope="row">
                  <Text>{one.word}</Text>
                </th>
                <td>{count(one.now)}</td>
                <td>{count(one.before)}</td>
                <td>{one.score.toFixed(1)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p class="muted">{found.explained_at ? "No word stands out." : "They are being looked for."}</p>
      )}
      {found.note && (
        <p class="muted">
          <Text>{capital(found.note)}</Text>
        </p>
      )}
    </section>
  );
}

function Posts({ found }: { found: WholeIncident }) {
  if (!found.examples.length) return null;
  return (
    <section class="card">
      <h2>Posts that moved the value</h2>
      <ul class="entries">
        {found.examples.map((one) => (
          <li key={`${one.source} ${one.id}`}>
            <p>{one.text ? <Text>{one.text}</Text> : <span class="muted">The text is not kept.</span>}</p>
            <p class="muted">
              {one.label && <Text>{capital(one.label)}</Text>}
              {one.confidence != null && ` ${percent(one.confidence)}`} · <Text>{one.source}</Text> ·{" "}
              {when(one.created_at)}
              {one.url && /^https?:\/\//i.test(one.url) && (
                <>
                  {" · "}
                  <a href={one.url} target="_blank" rel="noopener noreferrer nofollow">
                    open
                  </a>
                </>
              )}
            </p>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Deliveries({ deliveries }: { deliveries: Delivery[] }) {
  return (
    <section class="card">
      <h2>Whom it was told</h2>
      <ul class="entries">
        {deliveries.map((one) => (
          <li key={`${one.event} ${one.channel}`}>
            <strong>{one.channel || "topic alerts"}</strong>, {one.event}: {one.state}
            {one.delivered_at && ` ${when(one.delivered_at)}`}
            {one.attempts > 1 && `, ${one.attempts} tries`}
            {one.state === "waiting" && one.attempts > 0 && `, next try ${when(one.due)}`}
            {one.last_error && (
              <p class="muted">
                <Text>{one.last_error}</Text>
              </p>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
