import type { Schema } from "../../api/client";
import { duration } from "../../lib/format";
import type { Shares } from "../../windows/shares";

export type QueryAnswer = Schema["QueryAnswer"];

/** Returns the posts of an answer by label, for the ring; an answer has no windows. */
export function sharesOfAnswer(answer: QueryAnswer): Shares {
  return {
    total: answer.count,
    unsupported: answer.unsupported,
    labels: answer.agg.map(({ label, count, pct }) => ({ label, count, share: pct / 100 })),
    series: [],
    counts: [],
  };
}

const ORIGINS: Record<QueryAnswer["source"], string> = {
  cache: "The service had this answer in its cache.",
  windows: "The live windows have these posts.",
  history: "The history has these posts.",
  inference: "Posts were searched for, and classified at once. From now on they count like every other post.",
};

/** Returns sentences that say where an answer comes from. */
export function origin(answer: QueryAnswer, now: number): string {
  const took = answer.time < 1 ? `${Math.max(1, Math.round(1_000 * answer.time))} ms` : `${answer.time.toFixed(1)} s`;
  const age = answer.as_of ? ` The answer counts posts up to ${ago(now - Date.parse(answer.as_of))}.` : "";
  const whence =
    answer.count === 0 && answer.source === "windows" ? "The live windows have none." : ORIGINS[answer.source];
  return `${whence}${age} The service took ${took}.`;
}

/** Returns how long ago something was. */
export function ago(ms: number): string {
  return ms < 5_000 ? "this moment" : `${duration(ms)} ago`;
}

/** Whether two keywords are counted as one: case and width make no difference. The service decides in the end. */
export function isSame(one: string, other: string): boolean {
  const folded = (keyword: string) => keyword.normalize("NFKC").toLowerCase().split(/\s+/).join(" ").trim();
  return folded(one) === folded(other);
}
