import { useState } from "preact/hooks";
import { get, post, urlOf } from "../../api/client";
import { Problem } from "../../api/problem";
import { useAnswer } from "../../api/use-answer";
import { Notice } from "../../ui/notice";
import { Text } from "../../ui/text";
import { isSame } from "./answer";

/** Says whether sources search posts for a keyword, and follows it with one click. */
export function Follow({ keyword }: { keyword: string }) {
  const followed = useAnswer((signal) => get("/v1/followed", { signal }), []);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const known = followed.data.value?.keywords.find((one) => isSame(one.keyword, keyword));
  const follow = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await post("/v1/followed", { keyword });
      followed.reload();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error);
    } finally {
      setBusy(false);
    }
  };
  if (followed.problem.value) return <Notice problem={followed.problem.value} retry={followed.reload} />;
  if (!followed.data.value) return null;
  return (
    <section class="card follow" aria-live="polite">
      {known ? (
        <p>
          <strong>
            <Text>{known.keyword}</Text> is followed.
          </strong>{" "}
          Sources search posts for it since {new Date(known.added_at).toLocaleString("en-GB")}.
        </p>
      ) : (
        <p>
          <strong>
            Nobody follows <Text>{keyword}</Text> yet.
          </strong>{" "}
          Follow it, and running sources search posts for it within seconds.
        </p>
      )}
      <div class="actions">
        {!known && (
          <button type="button" class="primary" disabled={isBusy} onClick={follow}>
            Follow
          </button>
        )}
        <a class="button" href={urlOf("/", { query: { keyword } })}>
          See it live
        </a>
      </div>
      {problem && <Notice problem={problem} retry={follow} />}
    </section>
  );
}
