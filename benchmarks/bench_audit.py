"""Measures the parts of `emostream audit`, for windows of few posts.

    python benchmarks/bench_audit.py
    python benchmarks/bench_audit.py --windows 1000000 --json audit.json

It starts its own servers, counts posts with many rare keywords into Valkey as a worker does, and writes the windows to
Postgres. Then it counts the posts again, reads the fingerprints of the windows in both stores, and compares them. It
fails if they differ. Kafka is left out: the records are in memory.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psycopg
from psycopg.types.json import Jsonb

from benchmarks.bench_frontier import describe_machine
from benchmarks.bench_wide_posts import count
from connectors import postgres
from connectors.local import LocalStack
from models.training.labels import EMOTIONS, SENTIMENTS
from streams.cli.common import console
from streams.ops.audit.counted import ClassifiedRecord, CountedWindows
from streams.ops.audit.differences import Store, Windows
from streams.ops.audit.fingerprints import Layout
from streams.ops.audit.postgres_windows import read_postgres
from streams.ops.audit.redis_windows import read_redis
from streams.records import Origin
from streams.settings import Settings, load_settings
from streams.sink.history import History
from streams.sink.migrations import migrations_folder
from streams.sink.rows import (
    LABEL_COLUMNS,
    SENTIMENT_COLUMNS,
    WINDOW_COLUMNS,
    Row,
    label_rows,
    sentiment_rows,
    window_row,
)
from streams.windows.connect import open_store
from streams.windows.post import PostForCounting
from streams.windows.store import WindowStore

KEYWORDS = 64


@dataclass
class Part:
    """What a part of the audit takes, in seconds for a million windows.

    Attributes:
        what: the part.
        seconds: how long it takes.
        cpu: how much processor time this process uses. That of the servers is not in it.
    """

    what: str
    seconds: float
    cpu: float


def make_posts(windows: int) -> list[PostForCounting]:
    """Returns posts of an hour, each with 64 keywords that no other post has."""
    rng, count_ = random.Random(17), max(1, windows // (4 * KEYWORDS))
    begin = time.time_ns() // 1_000_000 // 86_400_000 * 86_400_000
    return [
        PostForCounting(
            id=f"{number}",
            source=rng.choice(("mastodon", "bluesky", "reddit", "rss")),
            keywords=tuple(f"keyword-{number}-{word}" for word in range(KEYWORDS)),
            event_ms=begin + number * 3_600_000 // count_,
            label=rng.choice(EMOTIONS),
            confidence=rng.randrange(1_000_000),
            sentiment=rng.choice(SENTIMENTS),
            score=rng.randrange(-1_000_000, 1_000_000),
            version="1.0.0",
            origin=Origin("posts.raw", 0, number),
            lang=rng.choice(("en", "de", "fr")),
        )
        for number in range(count_)
    ]


async def copy_windows(store: WindowStore, dsn: str) -> int:
    """Write all windows to Postgres, as the sink would. Returns how many there are."""
    windows = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        postgres.migrate(connection, postgres.find_migrations(migrations_folder()))
        for size in store.sizes:
            async for page in store.scan(size):
                windows += len(page)
                for table, columns, rows in (
                    ("emotion_windows", WINDOW_COLUMNS, [window_row(window) for window in page]),
                    ("emotion_window_labels", LABEL_COLUMNS, [row for one in page for row in label_rows(one)]),
                    (
                        "emotion_window_sentiments",
                        SENTIMENT_COLUMNS,
                        [row for one in page for row in sentiment_rows(one)],
                    ),
                ):
                    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN BINARY"
                    with connection.cursor().copy(statement) as copy:
                        copy.set_types(list(columns.values()))
                        for row in rows:
                            copy.write_row(_with_json(row))
        connection.execute("VACUUM ANALYZE")
    return windows


def _with_json(row: Row) -> Row:
    return tuple(Jsonb(value) if isinstance(value, dict) else value for value in row)


async def measure(settings: Settings, posts: list[PostForCounting]) -> list[Part]:
    """Fill the stores, and measure each part of the audit."""
    parts: list[Part] = []
    async with open_store(settings) as store:
        await count(store, posts, settings)
        windows = await copy_windows(store, settings.postgres_dsn.get_secret_value())
        layout = Layout.of(tuple(settings.window_sizes), {})

        @contextmanager
        def part(what: str) -> Iterator[None]:
            begin, cpu = time.perf_counter(), time.process_time()
            yield
            scale = 1e6 / windows
            seconds = scale * (time.perf_counter() - begin)
            parts.append(Part(what, seconds, scale * (time.process_time() - cpu)))

        with part("count the posts again"):
            counted = CountedWindows(settings, layout, 0)
            for number, post in enumerate(posts):
                counted.add(0, ClassifiedRecord(number, post.id.encode(), 0, post))
            counted.flush()
        with part("read Redis"):
            redis, bounds = await read_redis(store, layout)
        with closing(History(settings.postgres_dsn.get_secret_value(), application_name="bench")) as history:
            with part("read Postgres"):
                stored = read_postgres(history, layout)
            with part("read both at the same time"):
                reading = asyncio.create_task(asyncio.to_thread(read_postgres, history, layout))
                await read_redis(store, layout)
                await reading
    found = Windows(layout, 0, bounds.complete_from, bounds.expired_to, counted.groups, redis.groups, stored.groups)
    if any(found.differing(one) for one in Store) or sum(one.windows for one in redis.groups.values()) != windows:
        raise click.ClickException("the stores differ, or lack windows")
    return parts


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--windows", type=click.IntRange(min=1_000), default=100_000, show_default=True, help="Windows to read.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, windows: int, json_file: Path | None) -> None:
    """Measure the parts of the audit, in seconds for a million windows."""
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        stack = LocalStack(Path(folder))
        try:
            settings = load_settings(env_file=None, environ=stack.up().as_env())
            parts = asyncio.run(measure(settings, make_posts(windows)))
        finally:
            stack.down()
    if json_file is not None:
        content = {"machine": describe_machine(), "windows": windows, "parts": [asdict(part) for part in parts]}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for part in parts:
        console().print(f"{part.what}: {part.seconds:.1f} s a million windows, {part.cpu:.1f} s of CPU of this process")


if __name__ == "__main__":
    main()
