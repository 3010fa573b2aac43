"""Fetches with real servers and a worker: a post counts once, however often and by whomever it is brought."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from redis import Redis

from connectors.deadline import Deadline
from streams.ingest.keywords.store import add_keywords
from streams.ops.demo.processes import Role
from streams.query.fetch import NetworkFetch
from streams.query.fetch_metrics import FetchMetrics
from streams.records import Post
from streams.settings import Settings, load_settings
from streams.windows.store import WindowStore
from tests.fetch_support import metric, opened, question, table
from tests.integration.support import TIMEOUT_S, post, produce, records
from tests.source_servers.bluesky import BlueskySearchServer
from tests.waiting import until

START = datetime.now(UTC) - timedelta(minutes=30)


@pytest.fixture
async def bluesky() -> AsyncIterator[BlueskySearchServer]:
    async with BlueskySearchServer(start=START) as server:
        yield server


@pytest.fixture
def fetching(env: dict[str, str], settings: Settings, bluesky: BlueskySearchServer, tmp_path: Path) -> Settings:
    """The settings with the server of the search. Topics and schema are in place."""
    sources = tmp_path / "sources.toml"
    sources.write_text(table("bluesky", bluesky.url))
    return load_settings(env_file=None, environ={**env, "EMOSTREAM_QUERY_SOURCES": str(sources)})


async def fetch_coffee(fetch: NetworkFetch) -> int:
    fetched = await fetch(question(), Deadline(TIMEOUT_S))
    assert fetched is not None
    assert fetched.complete, fetched.notes
    return fetched.posts


def raw_ids(settings: Settings) -> list[str]:
    return sorted((key or b"").decode() for _, key, _ in records(settings, settings.topic_raw))


def handled(fetch: NetworkFetch) -> int:
    """How many posts were sent, or dropped because they had been sent before."""
    outbox = fetch.report().outbox
    return outbox.sent + outbox.known


async def counted_posts(store: WindowStore) -> int:
    return sum(window.count + window.unsupported for window in await store.read(keyword="coffee", size=86_400))


async def test_a_post_counts_once_however_often_it_comes(
    fetching: Settings, store: WindowStore, start: Callable[..., Role], bluesky: BlueskySearchServer
) -> None:
    worker, sink = start("worker"), start("sink")
    streamed = bluesky.add("coffee that emostream ingest has brought")
    ids = [streamed, *(bluesky.add(f"coffee {number}") for number in range(20))]
    for number in range(5):
        bluesky.add(f"coffeehouse and coffees {number}")
    produce(fetching, [post("coffee", id=streamed, created_at=START.isoformat())], keys=[streamed.encode()])

    def in_postgres() -> int:
        worker.check()
        sink.check()
        with psycopg.connect(fetching.postgres_dsn.get_secret_value()) as connection:
            (row,) = connection.execute("SELECT count(*) FROM posts").fetchall()
            return int(row[0])

    async def is_in_postgres(posts: int) -> None:
        await until(lambda: in_postgres() == posts, what="the sink has not written the posts")

    await is_in_postgres(1)
    metrics = FetchMetrics(CollectorRegistry())
    async with opened(fetching, metrics) as fetch:
        # Postgres knows the post that came by the stream.
        assert await fetch_coffee(fetch) == 21
        await until(lambda: handled(fetch) == 21, what="the posts are not sent")
        assert metric(metrics, "_posts_known_total", by="postgres") == 1
        assert raw_ids(fetching) == sorted(ids)
        # Redis knows those of the first fetch.
        ids.append(bluesky.add("one more coffee"))
        assert await fetch_coffee(fetch) == 22
        await until(lambda: handled(fetch) == 43, what="the posts are not sent")
        assert metric(metrics, "_posts_known_total", by="redis") == 20
        assert raw_ids(fetching) == sorted(ids)
    await is_in_postgres(22)
    # Redis was emptied. Another process finds the posts in Postgres.
    redis = Redis.from_url(fetching.redis_url.get_secret_value())
    keys = list(redis.scan_iter(f"{fetching.redis_prefix}:fetched:*"))
    assert len(keys) == 21
    # They are kept as long as the raw topic keeps posts: then the sink has written them, or never will.
    assert all(6.9 * 86_400_000 < int(redis.pttl(key)) <= 7 * 86_400_000 for key in keys)
    redis.delete(*keys)
    async with opened(fetching, metrics) as fetch:
        assert await fetch_coffee(fetch) == 22
        await until(lambda: handled(fetch) == 22, what="the posts are not looked up")
    assert raw_ids(fetching) == sorted(ids)
    assert await counted_posts(store) == 22


async def test_a_post_is_counted_under_the_live_keywords_that_it_has(
    fetching: Settings, bluesky: BlueskySearchServer
) -> None:
    add_keywords(fetching, ["Coffee", "rain"])
    bluesky.add("coffee and rain")
    async with opened(fetching) as fetch:
        assert await fetch_coffee(fetch) == 1
        await until(lambda: handled(fetch) == 1, what="the post is not sent")
    (value,) = [value for _, _, value in records(fetching, fetching.topic_raw)]
    assert tuple(Post.from_json(value).keywords) == ("Coffee", "rain")
