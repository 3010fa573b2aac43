import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { get, post, send } from "../../api/client";
import { Problem } from "../../api/problem";
import { useAnswer } from "../../api/use-answer";
import { Text } from "../../ui/text";
import { idOf, inWords, keywordsOf, ruleText, trialText } from "./rule-text";
import type { Rule, StoredRule } from "./types";

const BLANK: Rule = {
  id: "",
  name: "",
  keywords: ["*"],
  window_s: 3600,
  measure: { of: "emotion", label: "anger" },
  condition: { type: "zscore", direction: "above", z: 4, clear: null },
  min_posts: 20,
  for_windows: 1,
  cooldown_s: 3600,
  severity: "warning",
  channels: [],
  enabled: true,
};

const TRIAL_HOURS = 168;

const TAKEN = "There is a rule of this name. Change that one, or choose another name.";

const CONDITIONS: Record<Rule["condition"]["type"], (direction: "above" | "below") => Rule["condition"]> = {
  threshold: (direction) => ({ type: "threshold", direction, limit: 40, clear: null }),
  change: (direction) => ({ type: "change", direction, by: 20, clear: null }),
  zscore: (direction) => ({ type: "zscore", direction, z: 4, clear: null }),
};

/** Makes or changes a rule. The sentence below the form says what it means. */
export function RuleForm({ stored, onDone }: { stored: StoredRule | null; onDone: () => void }) {
  const [rule, setRule] = useState<Rule>(stored?.rule ?? BLANK);
  const [keywords, setKeywords] = useState(Array.isArray(rule.keywords) ? rule.keywords.join("\n") : "");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [trial, setTrial] = useState<string | null>(null);
  const status = useAnswer((signal) => get("/v1/status", { signal }), []);
  const channels = useAnswer((signal) => get("/v1/alerts/channels", { signal }), []);
  const sizes = status.data.value?.windows.map(({ size }) => size) ?? [rule.window_s];
  const heads = status.data.value?.models[0]?.heads ?? [];
  const change = (changes: Partial<Rule>) => {
    setRule({ ...rule, ...changes });
    setTrial(null);
  };
  const isEach = rule.keywords === "each";
  const wanted: Rule = {
    ...rule,
    id: stored?.rule.id ?? idOf(rule.name),
    keywords: isEach ? "each" : keywordsOf(keywords),
  };
  const labels = rule.measure.of === "volume" ? [] : (heads[rule.measure.of === "emotion" ? 0 : 1]?.labels ?? []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      // 0 is for a rule that is not there yet, so a new rule never replaces another of the same name.
      const revision = stored?.revision ?? 0;
      await send("PUT", `/v1/alerts/rules/${wanted.id}?revision=${revision}`, undefined, wanted);
      onDone();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const isTaken = !stored && error.status === 409;
      setProblem(isTaken ? new Problem(409, "The name is taken", TAKEN) : error);
      setBusy(false);
    }
  };
  const tryIt = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const named = { ...wanted, name: wanted.name || "trial" };
      setTrial(trialText(await post("/v1/alerts/rules/preview", { rule: named, hours: TRIAL_HOURS, keywords: [] })));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
    }
    setBusy(false);
  };
  return (
    <form class="card rule-form" onSubmit={submit} aria-label={stored ? "Change the rule" : "New rule"}>
      <Field name="Name" wide>
        <input
          type="text"
          required
          maxLength={200}
          value={rule.name}
          onInput={(event) => change({ name: event.currentTarget.value })}
        />
      </Field>
      <Field name="Keywords, one a line; * is all posts" wide>
        <textarea
          rows={3}
          dir="auto"
          required={!isEach}
          disabled={isEach}
          value={keywords}
          onInput={(event) => {
            setKeywords(event.currentTarget.value);
            setTrial(null);
          }}
        />
      </Field>
      <label class="check wide">
        <input
          type="checkbox"
          checked={isEach}
          onChange={(event) => change({ keywords: event.currentTarget.checked ? "each" : keywordsOf(keywords) })}
        />
        Every keyword
      </label>
      <Field name="Measure">
        <select
          value={rule.measure.of}
          onChange={(event) => {
            const of = event.currentTarget.value as Rule["measure"]["of"];
            const label = heads[of === "sentiment" ? 1 : 0]?.labels[0] ?? "";
            change({ measure: of === "volume" ? { of } : { of, label } });
          }}
        >
          <option value="emotion">share of an emotion</option>
          <option value="sentiment">share of a sentiment</option>
          <option value="volume">number of posts</option>
        </select>
      </Field>
      {rule.measure.of !== "volume" && (
        <Field name="Label">
          <select
            value={rule.measure.label}
            onChange={(event) =>
              change({ measure: { ...rule.measure, label: event.currentTarget.value } as Rule["measure"] })
            }
          >
            {[...new Set([rule.measure.label, ...labels])].map((label) => (
              <option key={label}>{label}</option>
            ))}
          </select>
        </Field>
      )}
      <Field name="Condition">
        <select
          value={rule.condition.type}
          onChange={(event) => {
            const type = event.currentTarget.value as Rule["condition"]["type"];
            change({ condition: CONDITIONS[type](rule.condition.direction ?? "above") });
          }}
        >
          <option value="zscore">unusual for this hour</option>
          <option value="change">a change against this hour</option>
          <option value="threshold">a fixed limit</option>
        </select>
      </Field>
      <Field name="Direction">
        <select
          value={rule.condition.direction}
          onChange={(event) =>
            change({ condition: { ...rule.condition, direction: event.currentTarget.value as "above" | "below" } })
          }
        >
          <option value="above">above</option>
          <option value="below">below</option>
        </select>
      </Field>
      <Limit rule={rule} onChange={(condition) => change({ condition })} />
      <Field name="Window">
        <select value={rule.window_s} onChange={(event) => change({ window_s: Number(event.currentTarget.value) })}>
          {[...new Set([...sizes, rule.window_s])].map((size) => (
            <option key={size} value={size}>
              {inWords(size)}
            </option>
          ))}
        </select>
      </Field>
      <NumberField
        name="Windows in a row"
        value={rule.for_windows ?? 1}
        min={1}
        max={1000}
        onChange={(for_windows) => change({ for_windows })}
      />
      <NumberField
        name="At least so many posts"
        value={rule.min_posts ?? 20}
        min={0}
        max={1e9}
        onChange={(min_posts) => change({ min_posts })}
      />
      <NumberField
        name="Minutes of rest after an incident"
        value={(rule.cooldown_s ?? 3600) / 60}
        min={0}
        max={44_640}
        onChange={(minutes) => change({ cooldown_s: 60 * minutes })}
      />
      <Field name="Severity">
        <select
          value={rule.severity}
          onChange={(event) => change({ severity: event.currentTarget.value as Rule["severity"] })}
        >
          <option>info</option>
          <option>warning</option>
          <option>critical</option>
        </select>
      </Field>
      {channels.data.value && channels.data.value.channels.length > 0 && (
        <fieldset class="wide channels">
          <legend>Channels that are told; none chosen stands for all</legend>
          {channels.data.value.channels.map(({ name, type }) => (
            <label key={name} class="check">
              <input
                type="checkbox"
                checked={rule.channels?.includes(name) ?? false}
                onChange={(event) => {
                  const others = (rule.channels ?? []).filter((one) => one !== name);
                  change({ channels: event.currentTarget.checked ? [...others, name] : others });
                }}
              />
              {name} ({type})
            </label>
          ))}
        </fieldset>
      )}
      <output class="wide">
        <Text>{ruleText(wanted)}</Text>
        {wanted.condition.type !== "threshold" && " It finds nothing until some hours of history are known."}
      </output>
      {trial && (
        <p class="wide" role="status">
          {trial}
        </p>
      )}
      {problem && (
        <div class="notice wide" role="alert">
          <p>
            <strong>{problem.title}.</strong> <Text>{problem.detail}</Text>
          </p>
        </div>
      )}
      <div class="actions wide">
        <button type="button" onClick={onDone}>
          Cancel
        </button>
        <button type="button" onClick={tryIt} disabled={isBusy}>
          Try it on the last week
        </button>
        <button type="submit" class="primary" disabled={isBusy}>
          Store
        </button>
      </div>
    </form>
  );
}

function Limit({ rule, onChange }: { rule: Rule; onChange: (condition: Rule["condition"]) => void }) {
  const { condition } = rule;
  const isVolume = rule.measure.of === "volume";
  if (condition.type === "threshold") {
    const name = isVolume ? "Limit, in posts" : "Limit, in percent";
    return (
      <NumberField name={name} value={condition.limit} onChange={(limit) => onChange({ ...condition, limit })} any />
    );
  }
  if (condition.type === "change") {
    const name = isVolume ? "By percent of the usual" : "By percentage points";
    return <NumberField name={name} value={condition.by} onChange={(by) => onChange({ ...condition, by })} any />;
  }
  return (
    <NumberField
      name="Standard deviations"
      value={condition.z}
      min={1}
      onChange={(z) => onChange({ ...condition, z })}
      any
    />
  );
}

function Field({ name, wide, children }: { name: string; wide?: boolean; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is the child
    <label class={`field ${wide ? "wide" : ""}`}>
      {name}
      {children}
    </label>
  );
}

interface NumberProps {
  name: string;
  value: number;
  min?: number;
  max?: number;
  /** Whether fractions are allowed. */
  any?: boolean;
  onChange: (value: number) => void;
}

function NumberField({ name, value, min = 0, max, any, onChange }: NumberProps) {
  return (
    <Field name={name}>
      <input
        type="number"
        required
        min={min}
        max={max}
        step={any ? "any" : 1}
        value={value}
        onInput={(event) => event.currentTarget.value !== "" && onChange(event.currentTarget.valueAsNumber)}
      />
    </Field>
  );
}
