import { Component } from "preact";
import type { FeedPost } from "../../feed/post";
import { capital, percent, signed } from "../../lib/format";
import type { Style } from "../../lib/palette";
import { keywordUrl } from "../../lib/urls";
import { Patch } from "../../ui/swatch";
import { Text } from "../../ui/text";

interface Props {
  post: FeedPost;
  styles: ReadonlyMap<string, Style>;
  sentiments: ReadonlyMap<string, Style>;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const DAY_MS = 86_400_000;

/** One post of the feed. It never changes, so it is drawn once. */
export class PostRow extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    return next.post !== this.props.post || next.styles !== this.props.styles;
  }

  override render({ post, styles, sentiments }: Props) {
    const style = post.label === null ? null : styles.get(post.label);
    const feeling = post.sentiment === null ? null : sentiments.get(post.sentiment);
    return (
      <li class="post" data-post-id={post.id}>
        <p class="verdict">
          {post.label === null ? (
            <span class="muted">No model reads this language</span>
          ) : (
            <span class="label">
              {style && <Patch style={style} />}
              <Text>{capital(post.label)}</Text>
              {post.confidence !== null && (
                <span class="muted" title="Confidence of the model">
                  {percent(post.confidence)}
                </span>
              )}
            </span>
          )}
          {post.sentiment !== null && (
            <span class="label sentiment" title="Sentiment, from −1 to +1">
              {feeling && <Patch style={feeling} />}
              <Text>{post.sentiment}</Text>
              {post.score !== null && <span class="muted">{signed(post.score)}</span>}
            </span>
          )}
        </p>
        <p class="text">
          {post.text === null ? <span class="muted">The text is not kept.</span> : <Text>{post.text}</Text>}
        </p>
        <p class="origin">
          {post.keywords.map((keyword) => (
            <a key={keyword} class="chip" href={keywordUrl(keyword)}>
              <Text>{keyword}</Text>
            </a>
          ))}
          <span class="muted">
            <Text>{post.source}</Text>
          </span>
          {post.tier !== null && (
            <span class="muted" title="The part of the model that answered">
              <Text>{post.tier}</Text>
            </span>
          )}
          <When at={post.createdAt} url={post.url} />
        </p>
      </li>
    );
  }
}

function When({ at, url }: { at: number; url: string | null }) {
  const text = Date.now() - at < DAY_MS ? clock.format(at) : full.format(at);
  const time = (
    <time dateTime={new Date(at).toISOString()} title={full.format(at)}>
      {text}
    </time>
  );
  if (url === null) return <span class="muted">{time}</span>;
  return (
    <a class="muted" href={url} target="_blank" rel="noopener noreferrer nofollow">
      {time}
      <span aria-hidden="true"> ↗</span>
      <span class="visually-hidden"> (opens the post)</span>
    </a>
  );
}
