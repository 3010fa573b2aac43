import { keyWanted } from "../api/key";
import type { Problem } from "../api/problem";
import { duration } from "../lib/format";

/** Says what went wrong, and what happens next. Data that are already shown stay. */
export function Notice({ problem, retry }: { problem: Problem; retry: () => void }) {
  const again = problem.retryAfterMs === null ? "" : ` in ${duration(Math.max(1000, problem.retryAfterMs))}`;
  return (
    <div class="notice" role="alert">
      <p>
        <strong>{problem.title}.</strong> {problem.detail}
        {problem.isPassing && ` The page tries again${again}.`}
      </p>
      {problem.status === 401 ? (
        <button
          type="button"
          onClick={() => {
            keyWanted.value = problem.detail;
          }}
        >
          Enter a key
        </button>
      ) : (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}
