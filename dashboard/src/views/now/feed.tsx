import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { FeedPost } from "../../feed/post";
import { useFeed } from "../../feed/use-feed";
import { capital, count } from "../../lib/format";
import { pageStyles } from "../../lib/label-styles";
import { labelOrder } from "../../lib/palette";
import { colours } from "../../lib/theme";
import { Notice } from "../../ui/notice";
import { SearchInput } from "../../ui/search-input";
import { PostRow } from "./post-row";

interface Props {
  keyword: string;
  until: number | null;
  /** Labels that the charts show. */
  labels: readonly string[];
  label: string;
  filter: string;
  onFilter: (changes: { label?: string; filter?: string }) => void;
}

const when = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** The classified posts as they come, or the last ones before a fixed time. */
export function Feed({ keyword, until, labels, label, filter, onFilter }: Props) {
  const wanted = useMemo(() => ({ label, keyword: filter }), [label, filter]);
  const { feed, problem, loading, reload } = useFeed(keyword, until, wanted);
  const list = useRef<HTMLOListElement>(null);
  const holds = feed.holds.value;
  const isPaused = holds.has("button");
  useEffect(() => {
    if (list.current) list.current.scrollTop = 0;
  }, [feed]);
  const showAll = () => {
    for (const hold of holds) feed.hold(hold, false);
    if (list.current) list.current.scrollTop = 0;
  };
  return (
    <section class="card feed" aria-labelledby="feed-title">
      <header class="card-head">
        <h2 id="feed-title">{until === null ? "Live posts" : `Posts until ${when.format(until)}`}</h2>
        {until === null && (
          <button type="button" class="pause" aria-pressed={isPaused} onClick={() => feed.hold("button", !isPaused)}>
            {isPaused ? "Resume" : "Pause"}
          </button>
        )}
        <div class="feed-controls">
          <select
            aria-label="Emotion"
            value={label}
            onChange={(event) => onFilter({ label: event.currentTarget.value })}
          >
            <option value="">All emotions</option>
            {labelOrder(label ? [...labels, label] : labels).map((one) => (
              <option key={one} value={one}>
                {capital(one)}
              </option>
            ))}
          </select>
          <SearchInput
            label="Only posts with a keyword that contains"
            placeholder="Keyword contains…"
            value={filter}
            onChange={(text) => onFilter({ filter: text })}
          />
        </div>
      </header>
      {problem && <Notice problem={problem} retry={reload} />}
      <Waiting feed={feed} onShow={showAll} />
      <List
        feed={feed}
        labels={labels}
        list={list}
        isLive={until === null}
        isLoading={loading}
        isFiltered={Boolean(label || filter)}
      />
      {until === null && <LeftOut feed={feed} />}
      {until === null && <Announcement feed={feed} />}
    </section>
  );
}

type LiveFeed = ReturnType<typeof useFeed>["feed"];

/** How many posts wait, and why. It lies over the list, so that nothing moves when it comes and goes. */
function Waiting({ feed, onShow }: { feed: LiveFeed; onShow: () => void }) {
  const waits = feed.waits.value;
  const holds = feed.holds.value;
  if (!holds.size) return null;
  const reason = holds.has("button") ? "Paused" : holds.has("scroll") ? "You read further down" : "You are at a link";
  return (
    <p class="waiting-posts" data-waits={waits}>
      <span>
        {reason} · {count(waits)} {waits === 1 ? "post waits" : "posts wait"}
      </span>
      <button type="button" class="primary" onClick={onShow}>
        Show
      </button>
    </p>
  );
}

/** Says that the feed does not have every post. */
function LeftOut({ feed }: { feed: LiveFeed }) {
  const posts = feed.skipped.value;
  if (!posts) return null;
  return (
    <p class="left-out">
      {count(posts)} {posts === 1 ? "post was" : "posts were"} left out here, because more come than can be shown.
      Figures and charts count all.
    </p>
  );
}

interface ListProps {
  feed: LiveFeed;
  labels: readonly string[];
  list: { current: HTMLOListElement | null };
  isLive: boolean;
  isLoading: boolean;
  isFiltered: boolean;
}

function List({ feed, labels, list, isLive, isLoading, isFiltered }: ListProps) {
  const look = colours.value;
  const posts = feed.posts.value;
  // A label that no window has yet can come with a post.
  const names = labelOrder([...labels, ...posts.flatMap(({ label }) => label ?? [])]).join("\n");
  const styles = useMemo(() => pageStyles(names.split("\n").filter(Boolean), look), [names, look]);
  const sentiments = useMemo(() => pageStyles(["negative", "neutral", "positive"], look), [look]);
  const onFocus = (event: FocusEvent) => {
    const target = event.target;
    const isRead = target instanceof Element && target !== list.current && target.matches(":focus-visible");
    if (isLive && isRead) feed.hold("focus", true);
  };
  return (
    <ol
      ref={list}
      class="posts"
      aria-label="Posts, the newest first"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
      tabIndex={0}
      aria-live="off"
      onScroll={(event) => isLive && feed.hold("scroll", event.currentTarget.scrollTop > 4)}
      onFocusIn={onFocus}
      onFocusOut={() => feed.hold("focus", false)}
    >
      {posts.map((post) => (
        <PostRow key={post.id} post={post} styles={styles} sentiments={sentiments} />
      ))}
      {!posts.length && !isLoading && <li class="no-posts">{emptyText(isLive, isFiltered)}</li>}
    </ol>
  );
}

function emptyText(isLive: boolean, isFiltered: boolean): string {
  if (!isLive) return isFiltered ? "No stored post passes the filter." : "There are no stored posts.";
  return `${isFiltered ? "No post passes the filter yet." : "No post yet."} New ones appear here as soon as they are classified.`;
}

/** How often a screen reader hears of new posts, in ms. */
const TELL_MS = 30_000;

/** Tells a screen reader about new posts now and then, because a list that reads out each of them cannot be borne. */
function Announcement({ feed }: { feed: LiveFeed }) {
  const [text, setText] = useState("");
  useEffect(() => {
    let news: FeedPost[] = [];
    let total = 0;
    feed.onDrawn = (posts) => {
      total += posts.length;
      news = [...news, ...posts].slice(-500);
    };
    const timer = setInterval(() => {
      if (!total) return;
      setText(`${count(total)} new ${total === 1 ? "post" : "posts"}. ${mostOf(news)}`);
      [news, total] = [[], 0];
    }, TELL_MS);
    return () => {
      clearInterval(timer);
      feed.onDrawn = () => undefined;
    };
  }, [feed]);
  return (
    <p class="visually-hidden" role="status" aria-live="polite">
      {text}
    </p>
  );
}

function mostOf(posts: readonly FeedPost[]): string {
  const counts = new Map<string, number>();
  for (const { label } of posts) if (label) counts.set(label, (counts.get(label) ?? 0) + 1);
  const [first] = [...counts].sort((a, b) => b[1] - a[1]);
  return first ? `Most of them: ${first[0]}.` : "";
}
