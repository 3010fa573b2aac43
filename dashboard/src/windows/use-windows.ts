import { signal, useComputed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { get, type Window } from "../api/client";
import { useAnswer } from "../api/use-answer";
import { aligned, axisOf, MOST_POINTS, rangeOf, SIZES, type Span } from "../lib/spans";
import { subscribe } from "../live/live";
import { merged } from "./shares";

/** The time now, in steps that move a live span on. */
function useClock(isLive: boolean) {
  const now = useMemo(() => signal(Date.now()), []);
  useEffect(() => {
    if (!isLive) return;
    const timer = setInterval(() => {
      now.value = Date.now();
    }, 5_000);
    return () => clearInterval(timer);
  }, [isLive, now]);
  return now;
}

/**
 * The windows of a keyword and a span on a regular axis of time, kept up to date by the live stream.
 *
 * `until` is the fixed end in ms, or null for a live span. A small chart has room for fewer windows: `most`.
 */
export function useWindows(keyword: string, span: Span, until: number | null, most = MOST_POINTS) {
  const now = useClock(until === null);
  const range = rangeOf(span, until, now.value, SIZES, most);
  const changed = useMemo(() => signal(new Map<string, Window>()), []);

  const answer = useAnswer(
    async (abort) => {
      const { size, since, limit } = rangeOf(span, until, Date.now(), SIZES, most);
      const query = { size, since: new Date(since).toISOString(), limit };
      const { windows } = await get("/v1/windows/{keyword}", { path: { keyword }, query, signal: abort });
      return new Map(windows.map((window) => [window.start, window]));
    },
    [keyword, span, until, most],
  );

  const { reload } = answer;
  useEffect(() => {
    changed.value = new Map();
    const wanted = { keywords: [keyword], kinds: ["window"] } as const;
    return subscribe(wanted, (message) => {
      if (message.type === "gap") reload();
      else
        changed.value = merged(
          changed.peek(),
          message.windows.filter(({ size }) => size === range.size),
        );
    });
  }, [keyword, range.size, changed, reload]);

  const windows = useComputed(() => {
    const read = answer.data.value;
    return read && merged(read, [...changed.value.values()]);
  });
  const axis = useMemo(() => axisOf(range), [range.size, range.since, range.until]);
  const all = windows.value;
  const placed = useMemo(() => all && aligned(all.values(), axis), [all, axis]);
  return {
    windows: placed,
    axis,
    size: range.size,
    problem: answer.problem.value,
    loading: answer.loading.value,
    reload,
  };
}
