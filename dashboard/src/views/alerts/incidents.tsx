import { useEffect } from "preact/hooks";
import { get, urlOf } from "../../api/client";
import { useAnswer } from "../../api/use-answer";
import { capital } from "../../lib/format";
import { keywordName } from "../../lib/text";
import { KeywordField } from "../../ui/keyword-field";
import { Notice } from "../../ui/notice";
import { Text } from "../../ui/text";
import type { AlertParams } from "./alerts";
import { IncidentDetail } from "./incident-detail";
import { Severity } from "./severity";
import { ended, when } from "./times";
import type { Incident } from "./types";

const REFRESH_MS = 10_000;

/** The incidents, the newest first, and one of them in full. */
export function Incidents({ params }: { params: AlertParams }) {
  const { state, severity, keyword, incident, rule } = params.values.value;
  const { data, problem, reload } = useAnswer(
    (signal) =>
      get("/v1/alerts/incidents", {
        query: {
          state,
          limit: 50,
          severity: severity === "any" ? null : severity,
          keyword: keyword || null,
          rule: rule || null,
        },
        signal,
      }),
    [state, severity, keyword, rule],
  );
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && reload(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [reload]);
  const found = data.value;
  return (
    <>
      <div class="filters">
        <KeywordField
          keyword={keyword || "*"}
          none="Any keyword"
          onChange={(one) => params.set({ keyword: one === "*" ? "" : one })}
        />
        <label class="field inline">
          State
          <select value={state} onChange={(event) => params.set({ state: event.currentTarget.value as typeof state })}>
            <option value="all">all</option>
            <option value="open">open</option>
            <option value="closed">closed</option>
          </select>
        </label>
        <label class="field inline">
          Severity
          <select
            value={severity}
            onChange={(event) => params.set({ severity: event.currentTarget.value as typeof severity })}
          >
            <option value="any">any</option>
            <option value="critical">critical</option>
            <option value="warning">warning</option>
            <option value="info">info</option>
          </select>
        </label>
        {rule && (
          <button type="button" onClick={() => params.set({ rule: "" })}>
            Rule {rule} ✕
          </button>
        )}
      </div>
      {problem.value && <Notice problem={problem.value} retry={reload} />}
      {found?.incidents.length === 0 && (
        <None isFiltered={state !== "all" || severity !== "any" || !!keyword || !!rule} />
      )}
      <div class="grid alerts" data-detail={incident !== ""}>
        {found && found.incidents.length > 0 && (
          <ol class="incidents" aria-label="Incidents">
            {found.incidents.map((one) => (
              <li key={one.incident}>
                <Entry
                  one={one}
                  isShown={one.incident === incident}
                  onShow={() => params.set({ incident: one.incident === incident ? "" : one.incident })}
                />
              </li>
            ))}
          </ol>
        )}
        {incident && <IncidentDetail key={incident} incident={incident} onClose={() => params.set({ incident: "" })} />}
      </div>
      {found?.next_before && <p class="muted">Older incidents are left out. Narrow the filters, or use the API.</p>}
    </>
  );
}

function Entry({ one, isShown, onShow }: { one: Incident; isShown: boolean; onShow: () => void }) {
  return (
    <button type="button" class="card incident" aria-expanded={isShown} data-state={one.state} onClick={onShow}>
      <span class="row">
        <Severity severity={one.severity} />
        <span class="state">{one.state === "open" ? "open" : ended(one)}</span>
        {one.muted && <span class="state">muted</span>}
        <time class="muted" dateTime={one.began}>
          {when(one.began)}
        </time>
      </span>
      <strong>
        <Text>{keywordName(one.keyword)}</Text>: <Text>{one.rule_name}</Text>
      </strong>
      <span class="summary">
        <Text>{capital(one.summary)}</Text>
      </span>
    </button>
  );
}

function None({ isFiltered }: { isFiltered: boolean }) {
  if (isFiltered) return <p class="nothing">No incident fits these filters.</p>;
  return (
    <section class="card empty">
      <h2>No incidents yet</h2>
      <p>
        An incident begins when a rule is fulfilled.{" "}
        <a href={urlOf("/alerts", { query: { tab: "rules" } })}>Make a rule</a>, and keep{" "}
        <code>emostream alerts run</code> running: it evaluates the rules.
      </p>
    </section>
  );
}
