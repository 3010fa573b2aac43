"""Helpers for tests of answers: an engine on real servers, posts in the window tables, and windows in the history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
from pydantic_core import to_json

from connectors.deadline import Deadline
from connectors.postgres_pool import PostgresPool
from connectors.redis import connect
from streams.query.answer import Answer
from streams.query.engine import Engine
from streams.query.fetch_protocol import Fetch
from streams.query.history import HistoryReader
from streams.query.question import Question
from streams.query.windows import KeywordWindows
from streams.records import EmotionWindow, Origin, Timestamp, from_ms
from streams.settings import Settings
from streams.sink.targets import WINDOWS
from streams.windows.deltas import Entry, reduce_entries
from streams.windows.post import MICRO, PostForCounting
from streams.windows.store import WindowStore
from streams.windows.update import ShardUpdate

START = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1_000)
HOUR = 3_600_000
NOW = START + 10 * HOUR + 1_800_000
LABELS = ("joy", "anger", "fear")


def post(
    number: int,
    moment_ms: int,
    *keywords: str,
    label: str | None = "joy",
    confidence: float = 0.75,
    sentiment: tuple[str, float] | None = None,
) -> Entry:
    """Returns a classified post, the record `number` of partition 0 of both topics."""
    kind, score = sentiment or (None, 0.0)
    counted = PostForCounting(
        id=str(number),
        source="test",
        keywords=keywords,
        event_ms=moment_ms,
        label=label,
        confidence=0 if label is None else int(confidence * MICRO),
        sentiment=kind,
        score=int(score * MICRO),
        version="1.0.0",
        origin=Origin(topic="raw", partition=0, offset=number),
        lang="en",
    )
    return Entry(number, counted)


async def count(store: WindowStore, settings: Settings, posts: Sequence[Entry], *, complete_from_ms: int = 0) -> None:
    """Count the next posts of partition 0 in the window tables."""
    for shard in range(store.shards):
        await store.initialise(shard, complete_from_ms)
        at = (await store.positions(shard, [0]))[0]
        sizes = settings.window_sizes
        deltas = reduce_entries(posts, positions=[at] * store.shards, end=posts[-1].offset + 1, sizes=sizes)
        assert await store.apply(shard, ShardUpdate.of({0: (at, deltas[shard])})) is None
        await store.note_watermark(shard, posts[-1].post.event_ms)


async def sink(store: WindowStore, settings: Settings) -> list[EmotionWindow]:
    """Write all windows of the tables to the history, as emitter and sink do; returns them."""
    windows = await store.read()
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        psycopg.types.json.set_json_dumps(to_json, connection)
        WINDOWS.copy_to_staging(connection, windows)
        WINDOWS.merge(connection, windows)
    for shard in range(store.shards):
        while changed := await store.dirty(shard, 1_000):
            await store.clear_dirty(shard, changed)
    return windows


async def expire(store: WindowStore, before_ms: int) -> None:
    """Remove the windows that end at or before a time."""
    for shard in range(store.shards):
        for size in store.sizes:
            while await store.expire(shard, size, before_ms):
                pass


@asynccontextmanager
async def engine_of(settings: Settings, *, now_ms: int = NOW, fetch: Fetch | None = None) -> AsyncIterator[Engine]:
    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
    windows = KeywordWindows(
        client,
        prefix=settings.redis_prefix,
        shards=settings.shards,
        sizes=[size.seconds for size in settings.window_sizes],
    )
    dsn = settings.postgres_dsn.get_secret_value()
    try:
        async with PostgresPool(dsn, application_name="test", wait_s=1.0, pause_s=0, read_only=True) as pool:
            yield Engine(
                windows=windows,
                history=HistoryReader(pool),
                sizes=settings.window_sizes,
                labels=lambda: LABELS,
                fetch=fetch,
                now_ms=lambda: now_ms,
            )
    finally:
        await windows.close()


async def ask(
    engine: Engine, keyword: str, *, since_ms: int | None = None, limit: int = 1, seconds: float = 30
) -> Answer:
    since: Timestamp | None = None if since_ms is None else from_ms(since_ms)
    return await engine.answer(Question.of(keyword, since=since, limit=limit), Deadline(seconds))


def counts(answer: Answer) -> dict[str, int]:
    """Returns the number of posts of each label that has posts."""
    return {row.label: row.count for row in answer.agg if row.count}
