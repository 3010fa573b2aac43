import { count } from "../../lib/format";
import { keywordName } from "../../lib/text";
import { when } from "./times";
import type { Rule } from "./types";

const UNITS: readonly [number, string][] = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** Returns a number of seconds in words, in the largest unit that has no remainder: "5 minutes". */
export function inWords(seconds: number): string {
  const [size, unit] = UNITS.find(([one]) => seconds % one === 0 && seconds >= one) ?? [1, "second"];
  const number = seconds / size;
  return `${count(number)} ${unit}${number === 1 ? "" : "s"}`;
}

/** Returns what a rule measures: "the share of anger", "the number of posts". */
export function measureText(measure: Rule["measure"]): string {
  return measure.of === "volume" ? "the number of posts" : `the share of ${measure.label}`;
}

/** Returns which posts a rule watches. Each keyword is watched on its own, so they are joined by "or". */
function postsText(keywords: Rule["keywords"]): string {
  if (keywords === "each") return "posts about each keyword";
  const named = keywords.filter((one) => one !== "*");
  const about = named.length ? [`posts about ${named.map(keywordName).join(" or ")}`] : [];
  return [...about, ...(keywords.includes("*") ? ["all posts"] : [])].join(" or ") || "posts about …";
}

/** Returns a rule in one sentence. */
export function ruleText(rule: Rule): string {
  const { condition, measure } = rule;
  const unit = measure.of === "volume" ? "" : " %";
  const isBelow = condition.direction === "below";
  const posts = postsText(rule.keywords);
  const what = measure.of === "volume" ? `the number of ${posts}` : `${measureText(measure)} in ${posts}`;
  const windows = rule.for_windows === 1 ? "" : ` for ${rule.for_windows} windows in a row`;
  const span = `in ${inWords(rule.window_s)}`;
  let when: string;
  if (condition.type === "threshold") when = `is ${condition.direction} ${count(condition.limit)}${unit} ${span}`;
  else if (condition.type === "change") {
    const by = `${count(condition.by)} ${measure.of === "volume" ? "%" : "percentage points"}`;
    when = `is ${by} ${isBelow ? "less" : "more"} than usual at this hour, ${span}`;
  } else {
    when = `is ${count(condition.z)} robust standard deviations ${condition.direction} the usual of this hour, ${span}`;
  }
  return `When ${what} ${when}${windows}.`;
}

/** What `trialText` needs of the answer of a trial. */
export interface Trial {
  since: string;
  until: string;
  windows: number;
  windows_too_small: number;
  windows_without_baseline: number;
  found: number;
}

/** Returns what a rule would have found in the history. */
export function trialText(trial: Trial): string {
  const { found, windows, windows_too_small: small, windows_without_baseline: unknown } = trial;
  const of = (number: number, noun: string) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
  const parts = [
    `From ${when(trial.since)} to ${when(trial.until)} it would have found ${of(found, "incident")} in ${of(windows, "window")}.`,
  ];
  if (small) parts.push(`${of(small, "window")} had too few posts.`);
  if (unknown) parts.push(`For ${of(unknown, "window")} too few hours tell what is usual.`);
  return parts.join(" ");
}

/** Returns an id that the service takes for a rule, made of its name; of a name without Latin letters, a number. */
export function idOf(name: string): string {
  const plain = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  if (plain) return plain.slice(0, 63).replace(/-+$/, "");
  let hash = 0;
  for (const character of name) hash = (31 * hash + (character.codePointAt(0) ?? 0)) >>> 0;
  return `rule-${hash.toString(36)}`;
}

/** Returns keywords from a text with one a line; a line `*` stands for all posts. */
export function keywordsOf(text: string): string[] {
  return [
    ...new Set(
      text
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean),
    ),
  ];
}
