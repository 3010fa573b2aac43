import { useState } from "preact/hooks";
import { get, send } from "../../api/client";
import { Problem } from "../../api/problem";
import { useAnswer } from "../../api/use-answer";
import { keywordName } from "../../lib/text";
import { Notice } from "../../ui/notice";
import { Text } from "../../ui/text";
import { when } from "./times";
import type { Mute } from "./types";

/** The mutes that hold now. Incidents that begin meanwhile are recorded, and told to no channel. */
export function Mutes() {
  const { data, problem, reload } = useAnswer((signal) => get("/v1/alerts/mutes", { signal }), []);
  const [failed, setFailed] = useState<Problem | null>(null);
  const end = async (mute: Mute) => {
    setFailed(null);
    try {
      await send<void>("DELETE", `/v1/alerts/mutes/${mute.id}`);
      reload();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFailed(error);
    }
  };
  const again = () => {
    setFailed(null);
    reload();
  };
  const shown = failed ?? problem.value;
  return (
    <>
      {shown && <Notice problem={shown} retry={again} />}
      {data.value?.mutes.length === 0 && (
        <p class="nothing">Nothing is muted. An incident can be muted where it is shown.</p>
      )}
      <ul class="rules">
        {data.value?.mutes.map((mute) => (
          <li key={mute.id} class="card rule">
            <div>
              <h2>
                {mute.rule ? <Text>{mute.rule}</Text> : "Every rule"}
                {mute.keyword && (
                  <>
                    {" · "}
                    <Text>{keywordName(mute.keyword)}</Text>
                  </>
                )}
              </h2>
              <p>
                Until {when(mute.until)}. {mute.reason && <Text>{mute.reason}</Text>}
              </p>
            </div>
            <button type="button" onClick={() => end(mute)}>
              End
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}
