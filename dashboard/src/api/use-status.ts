import { useEffect } from "preact/hooks";
import { get } from "./client";
import { useAnswer } from "./use-answer";

/** How long to wait after an answer before the next request. The service keeps its figures for a second. */
const PAUSE_MS = 2_000;

/** The state of the application, read again and again while the page is visible. */
export function useStatus() {
  const answer = useAnswer((signal) => get("/v1/status", { signal }), []);
  const { reload } = answer;
  const data = answer.data.value;
  useEffect(() => {
    if (!data) return;
    const again = () => {
      if (!document.hidden) reload();
    };
    const timer = setTimeout(again, PAUSE_MS);
    document.addEventListener("visibilitychange", again);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", again);
    };
  }, [data, reload]);
  return { data, problem: answer.problem.value, reload };
}
