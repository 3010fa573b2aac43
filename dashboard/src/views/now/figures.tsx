import type { ComponentChildren } from "preact";
import type { Schema } from "../../api/client";
import { useStatus } from "../../api/use-status";
import { delays, isImpossible } from "../../feed/delay";
import { capital, count } from "../../lib/format";
import { Explain } from "../../ui/explain";
import { Text } from "../../ui/text";

type Status = Schema["StatusAnswer"];

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** The state of the system in figures. What is not known says so, with its reason, and is never zero. */
export function Figures({ isLive }: { isLive: boolean }) {
  const { data, problem } = useStatus();
  const away = problem ? `${problem.title}. ${problem.detail}` : "it is being read";
  return (
    <section class="card figures" aria-labelledby="figures-title">
      <h2 id="figures-title" class="visually-hidden">
        Figures of the system
      </h2>
      <dl>
        <Rate status={data} away={away} />
        <PixelDelay isLive={isLive} />
        <Lag status={data} away={away} />
        <Gate status={data} away={away} />
        <Model status={data} away={away} />
        <Dead status={data} away={away} />
      </dl>
      {data && problem && (
        <p class="as-of" role="status">
          Figures of {clock.format(Date.parse(data.at))}. {away}
        </p>
      )}
    </section>
  );
}

interface Part {
  status: Status | null;
  away: string;
}

function Rate({ status, away }: Part) {
  const { per_second, received_per_second, over_s, problem } = status?.posts ?? {};
  return (
    <Figure
      name="Posts a second"
      explanation={`How many posts the workers have classified a second, over the last ${over_s ?? 10} seconds. Under it: how many came in.`}
      value={rate(per_second)}
      unit="posts/s"
      reason={problem ?? (status ? "no rate yet" : away)}
      detail={typeof received_per_second === "number" ? `${rate(received_per_second)} posts/s came in` : null}
    />
  );
}

function PixelDelay({ isLive }: { isLive: boolean }) {
  const found = delays.value;
  const isWrong = found !== null && isImpossible(found);
  return (
    <Figure
      name="Post to pixel"
      explanation="Median time from the creation of a post to the frame of this page that shows it, over the last 100 posts that the feed drew as they came. The page measures it with this device's clock. Posts that waited because the feed stood still do not count. A source may bring posts late: under it is the time from the classification on."
      value={found && !isWrong ? seconds(found.created) : null}
      unit="s"
      reason={
        isWrong
          ? "this device's clock is behind the service's"
          : isLive
            ? "no new post was drawn yet"
            : "the view stands at a fixed time"
      }
      detail={
        found && !isWrong && found.classified !== null ? `${seconds(found.classified)} s from its classification` : null
      }
    />
  );
}

function Lag({ status, away }: Part) {
  const { classify, aggregate, problem } = status?.lag ?? {};
  return (
    <Figure
      name="Consumer lag"
      explanation="How many posts wait in Kafka to be classified. Under it: how many classified posts no window counts yet. Both are near zero while the workers keep up."
      value={typeof classify === "number" ? count(classify) : null}
      unit={classify === 1 ? "post" : "posts"}
      reason={problem ?? (status ? "no worker has told its position" : away)}
      detail={typeof aggregate === "number" ? `${count(aggregate)} more to count` : null}
    />
  );
}

function Gate({ status, away }: Part) {
  const { is_open, reason, why, problem } = status?.gate ?? {};
  const waits = status?.sink.posts;
  const details = [
    reason,
    typeof waits === "number" ? `${count(waits)} ${waits === 1 ? "post waits" : "posts wait"}` : null,
  ].filter(Boolean);
  return (
    <Figure
      name="Gate to Postgres"
      explanation={`The sink copies posts to Postgres only while the machine is idle enough: then its gate is open. ${why ? `${capital(why)}.` : ""} Nothing is lost while it is shut: posts wait in Kafka.`}
      value={typeof is_open === "boolean" ? (is_open ? "Open" : "Shut") : null}
      reason={problem ?? (status ? "the sink does not tell" : away)}
      detail={details.length ? details.join(" · ") : null}
    />
  );
}

function Model({ status, away }: Part) {
  const [first, ...others] = status?.models ?? [];
  const tiers = first && first.tiers.length > 1 ? `${first.tiers.length} tiers` : null;
  const more = others.length ? `and ${others.map(({ name }) => name).join(", ")}` : null;
  return (
    <Figure
      name="Model"
      explanation={`The model that classifies posts, and its version. ${first ? `It reads: ${first.languages.join(", ")}. ` : ""}A model of several tiers answers easy texts with a small part of it, and the others with all of it.`}
      value={first ? <Text>{first.name}</Text> : null}
      reason={status ? "no model serves" : away}
      detail={first ? ["version", first.version, tiers && `· ${tiers}`, more].filter(Boolean).join(" ") : null}
      isText
    />
  );
}

function Dead({ status, away }: Part) {
  const { total, last_hour, problem } = status?.dead ?? {};
  return (
    <Figure
      name="Dead letters"
      explanation="Records of the last hour that could not be classified, each with its reason, on the topic of dead letters. Under it: all that Kafka holds."
      value={typeof last_hour === "number" ? count(last_hour) : null}
      unit="in an hour"
      reason={problem ?? (status ? "they cannot be counted" : away)}
      detail={typeof total === "number" ? `${count(total)} in all` : null}
    />
  );
}

interface FigureProps {
  name: string;
  explanation: string;
  /** Null if it is not known; `reason` says why. */
  value: ComponentChildren;
  unit?: string;
  reason: string;
  detail?: string | null;
  isText?: boolean;
}

function Figure({ name, explanation, value, unit, reason, detail, isText = false }: FigureProps) {
  return (
    <div>
      <dt>
        {name} <Explain name={name}>{explanation}</Explain>
      </dt>
      {value === null ? (
        <dd class="unknown">
          unknown: <Text>{reason}</Text>
        </dd>
      ) : (
        <dd>
          <span class={isText ? "value text" : "value"}>{value}</span>
          {unit && <span class="unit"> {unit}</span>}
        </dd>
      )}
      {detail && (
        <dd class="detail">
          <Text>{detail}</Text>
        </dd>
      )}
    </div>
  );
}

const rate = (value: number | null | undefined): string | null =>
  typeof value === "number" ? (value < 100 ? value.toFixed(1) : count(Math.round(value))) : null;

const seconds = (ms: number): string => (Math.max(0, ms) / 1_000).toFixed(ms < 9_950 ? 2 : 0);
