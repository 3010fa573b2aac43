import { useState } from "preact/hooks";
import { get, send } from "../../api/client";
import { Problem } from "../../api/problem";
import { useAnswer } from "../../api/use-answer";
import { Notice } from "../../ui/notice";
import { Text } from "../../ui/text";
import type { AlertParams } from "./alerts";
import { RuleForm } from "./rule-form";
import { ruleText } from "./rule-text";
import { Severity } from "./severity";
import type { StoredRule } from "./types";

const NEW = "new";

/** The rules: each in a sentence, to switch on and off, to change, and to remove. */
export function Rules({ params }: { params: AlertParams }) {
  const { rule: edited } = params.values.value;
  const { data, problem, reload } = useAnswer((signal) => get("/v1/alerts/rules", { signal }), []);
  const [failed, setFailed] = useState<Problem | null>(null);
  const attempt = async (work: () => Promise<unknown>) => {
    setFailed(null);
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFailed(error);
    }
    reload();
  };
  const put = (stored: StoredRule, enabled: boolean) =>
    attempt(() =>
      send("PUT", `/v1/alerts/rules/${stored.rule.id}?revision=${stored.revision}`, undefined, {
        ...stored.rule,
        enabled,
      }),
    );
  const remove = (stored: StoredRule) => {
    if (!confirm(`Remove the rule "${stored.rule.name}"? Its open incidents end.`)) return;
    void attempt(() => send("DELETE", `/v1/alerts/rules/${stored.rule.id}?revision=${stored.revision}`));
  };
  const done = () => {
    params.set({ rule: "" });
    reload();
  };
  const again = () => {
    setFailed(null);
    reload();
  };
  const shown = failed ?? problem.value;
  const found = data.value;
  const current = found?.rules.find(({ rule }) => rule.id === edited);
  return (
    <>
      {shown && <Notice problem={shown} retry={again} />}
      {edited === NEW && <RuleForm stored={null} onDone={done} />}
      {current && <RuleForm key={current.revision} stored={current} onDone={done} />}
      {!edited && (
        <p>
          <button type="button" class="primary" onClick={() => params.set({ rule: NEW })}>
            New rule
          </button>
        </p>
      )}
      {found?.rules.length === 0 && edited !== NEW && (
        <p class="nothing">There are no rules. Make one here, or store a file with “emostream alerts rules apply”.</p>
      )}
      <ul class="rules">
        {found?.rules.map((stored) => (
          <li key={stored.rule.id} class="card rule" data-enabled={stored.rule.enabled}>
            <div>
              <h2>
                <Text>{stored.rule.name}</Text> <Severity severity={stored.rule.severity} />
              </h2>
              <p>
                <Text>{ruleText(stored.rule)}</Text>
              </p>
            </div>
            <div class="actions">
              <label class="check">
                <input
                  type="checkbox"
                  checked={stored.rule.enabled}
                  onChange={(event) => put(stored, event.currentTarget.checked)}
                />
                On
              </label>
              <button type="button" onClick={() => params.set({ tab: "incidents", rule: stored.rule.id })}>
                Incidents
              </button>
              <button type="button" onClick={() => params.set({ rule: stored.rule.id })}>
                Change
              </button>
              <button type="button" onClick={() => remove(stored)}>
                Remove
              </button>
            </div>
          </li>
        ))}
      </ul>
      {found?.unreadable.map((one) => (
        <p key={one.id} class="notice">
          <Text>{`The rule ${one.id} cannot be read: ${one.error}`}</Text>
        </p>
      ))}
    </>
  );
}
