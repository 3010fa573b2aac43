import { useEffect, useState } from "preact/hooks";
import { capital, count } from "../../lib/format";
import { subscribe } from "../../live/live";
import type { LivePost } from "../../live/messages";
import { Text } from "../../ui/text";

const SHOWN = 5;

interface Seen {
  posts: number;
  latest: LivePost[];
}

/** What happens while a question waits: the time, and the posts of the keyword that arrive meanwhile. */
export function Watch({ keyword }: { keyword: string }) {
  const [begin] = useState(() => performance.now());
  const [seconds, setSeconds] = useState(0);
  const [seen, setSeen] = useState<Seen>({ posts: 0, latest: [] });
  useEffect(() => {
    const timer = setInterval(() => setSeconds(Math.floor((performance.now() - begin) / 1_000)), 200);
    const end = subscribe({ keywords: [keyword], kinds: ["post"] }, (message) => {
      if (message.type === "gap") return;
      setSeen((before) => ({
        posts: before.posts + message.posts.length,
        latest: [...message.posts.slice(-SHOWN).reverse(), ...before.latest].slice(0, SHOWN),
      }));
    });
    return () => {
      clearInterval(timer);
      end();
    };
  }, [keyword, begin]);
  return (
    <section class="card watch" aria-busy="true">
      <div class="bar" />
      <p role="status">
        Windows and history are read; if they have too few posts, sources are searched.
        {seen.posts > 0 && ` ${count(seen.posts)} new ${seen.posts === 1 ? "post has" : "posts have"} arrived.`}
      </p>
      <p class="muted">{seconds} s</p>
      <ul>
        {seen.latest.map((one) => (
          <li key={one.id}>
            <strong>{one.label ? <Text>{capital(one.label)}</Text> : "unsupported"}</strong>{" "}
            {one.text && <Text>{one.text}</Text>}
          </li>
        ))}
      </ul>
    </section>
  );
}
