import { useEffect } from "preact/hooks";
import { get } from "../../api/client";
import { useAnswer } from "../../api/use-answer";
import { count } from "../../lib/format";
import { oneOf, text, useQueryParams } from "../../lib/params";
import { Incidents } from "./incidents";
import { Mutes } from "./mutes";
import { Rules } from "./rules";
import "../../styles/alerts.css";

/** How often the open incidents are counted again. */
const REFRESH_MS = 10_000;

const TABS = ["incidents", "rules", "mutes"] as const;

const PARAMS = {
  tab: oneOf(TABS, "incidents"),
  state: oneOf(["open", "closed", "all"], "all"),
  severity: oneOf(["any", "info", "warning", "critical"], "any"),
  keyword: text(""),
  incident: text("", 500),
  rule: text("", 63),
};

export type AlertParams = ReturnType<typeof useQueryParams<typeof PARAMS>>;

/** What has happened that somebody wants to know, and the rules that tell it. */
export default function Alerts() {
  const params = useQueryParams(PARAMS);
  const { tab } = params.values.value;
  const open = useAnswer((signal) => get("/v1/alerts/incidents", { query: { state: "open", limit: 200 }, signal }), []);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && open.reload(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [open.reload]);
  const found = open.data.value;
  const number = found?.incidents.length ?? 0;
  const more = found?.next_before ? "More than " : "";
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>Alerts</h1>
        <fieldset class="segments small">
          <legend class="visually-hidden">Part</legend>
          {TABS.map((one) => (
            <label key={one}>
              <input
                type="radio"
                name="tab"
                checked={one === tab}
                onChange={() => params.set({ tab: one, incident: "", rule: "" })}
              />
              <span>{one.charAt(0).toUpperCase() + one.slice(1)}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <p class="headline" role="status">
        {found &&
          (number
            ? `${more}${count(number)} ${number === 1 ? "incident is" : "incidents are"} open.`
            : "Nothing is open.")}
      </p>
      {tab === "incidents" && <Incidents params={params} />}
      {tab === "rules" && <Rules params={params} />}
      {tab === "mutes" && <Mutes />}
    </>
  );
}
