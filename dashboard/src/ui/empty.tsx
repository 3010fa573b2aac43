import { get } from "../api/client";
import { useAnswer } from "../api/use-answer";

/** What to do if the system has no posts of any keyword; nothing if it has. Show it where there are no posts. */
export function EmptySystem() {
  const { data } = useAnswer((signal) => get("/v1/keywords", { query: { limit: 1 }, signal }), []);
  return data.value?.keywords.length === 0 ? <Empty /> : null;
}

/** What to do when the system has no posts at all. */
export function Empty() {
  return (
    <section class="card empty" aria-labelledby="empty-title">
      <h2 id="empty-title">No posts yet</h2>
      <p>This page fills by itself as soon as posts are classified. There are two ways to bring some.</p>
      <ol>
        <li>
          <h3>Feed a file</h3>
          <p>CSV, JSON lines or text, one post a line.</p>
          <pre>
            <code>emostream produce posts.csv</code>
          </pre>
        </li>
        <li>
          <h3>Read a live source</h3>
          <p>Bluesky needs no account; other sources need a key.</p>
          <pre>
            <code>emostream ingest bluesky --keywords coffee,rain</code>
          </pre>
        </li>
      </ol>
      <p>
        A worker must run, too: <code>emostream worker</code>. The <a href="/docs">documentation of the service</a>{" "}
        shows how programs send posts.
      </p>
    </section>
  );
}
