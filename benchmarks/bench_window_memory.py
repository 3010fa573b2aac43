"""Measures the memory of a window in Redis, for windows with few and with many posts.

    python benchmarks/bench_window_memory.py

It fills the window tables of its own Valkey with the application's Lua script, and reads the memory of Valkey's data
before and after. The result does not depend on other load on the machine.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from connectors.local import LocalStack
from models.training.labels import EMOTIONS, SENTIMENTS
from streams.cli.common import console
from streams.records import Origin
from streams.settings import load_settings
from streams.window_sizes import WindowSize
from streams.windows.connect import open_store
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.post import PostForCounting
from streams.windows.store import WindowStore
from streams.windows.update import shard_updates

SOURCES = ("mastodon", "bluesky", "reddit", "rss")
MINUTE = WindowSize(60, 172_800)
BATCH = 5_000


@dataclass(frozen=True)
class Memory:
    """The memory of windows with equally many posts.

    Attributes:
        posts: Posts in each window.
        windows: Windows that were made.
        bytes_per_window: Memory of a window in bytes.
    """

    posts: int
    windows: int
    bytes_per_window: float


def posts_of(window: int, count: int, rng: random.Random) -> Iterator[PostForCounting]:
    """Yield the posts of a window. Window `n` has keyword `n % 500` in minute `n // 500`."""
    for number in range(count):
        yield PostForCounting(
            id="",
            source=rng.choice(SOURCES),
            keywords=(f"keyword-{window % 500}",),
            event_ms=window // 500 * 60_000 + number,
            label=rng.choice(EMOTIONS),
            confidence=rng.randrange(1_000_000),
            sentiment=rng.choice(SENTIMENTS),
            score=rng.randrange(-1_000_000, 1_000_000),
            version="2.0.0",
            origin=Origin("posts.raw", 0, window * count + number),
        )


async def fill(store: WindowStore, windows: int, posts: int) -> Memory:
    """Make `windows` windows with `posts` posts each, and measure their memory."""
    rng = random.Random(17)
    for shard in range(store.shards):
        await store.initialise(shard, 0)
    before = (await store._redis.info("memory"))["used_memory"]
    positions = [Position()] * store.shards
    for start in range(0, windows, BATCH):
        batch = [post for window in range(start, start + BATCH) for post in posts_of(window, posts, rng)]
        entries = [Entry(post.origin.offset, post) for post in batch]
        reductions = reduce_entries(entries, positions=positions, end=batch[-1].origin.offset + 1, sizes=[MINUTE])
        for shard, update in shard_updates({0: positions}, {0: reductions}).items():
            if await store.apply(shard, update) is not None:
                raise click.ClickException("another process writes to the window tables of this benchmark")
        positions = [reduction.position for reduction in reductions]
        for shard in range(store.shards):
            await store.clear_dirty(shard, await store.dirty(shard, 2 * BATCH))
    after = (await store._redis.info("memory"))["used_memory"]
    made = len(await store.read(size=MINUTE.seconds))
    return Memory(posts, made, (after - before) / made)


async def run(windows: int, folder: Path) -> list[Memory]:
    """Measure windows of 1, 10 and 100 posts, each in their own window tables."""
    stack = LocalStack(folder)
    try:
        url = stack.up().redis_url
        found = []
        for posts in (1, 10, 100):
            settings = load_settings(
                env_file=None, environ={}, redis_url=url, redis_prefix=f"bench-{posts}", window_sizes=str(MINUTE)
            )
            async with open_store(settings) as store:
                found.append(await fill(store, windows, posts))
        return found
    finally:
        stack.down()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--windows", type=click.IntRange(min=BATCH), default=20_000, show_default=True, help="Windows of each kind."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, windows: int, json_file: Path | None) -> None:
    """Measure the memory that windows take in Redis."""
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        found = asyncio.run(run(windows, Path(folder)))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n", encoding="utf-8")
    for each in found:
        per_million = each.bytes_per_window * 1e6 / 2**30
        console().print(
            f"windows of {each.posts} posts: {each.bytes_per_window:.0f} bytes each, {per_million:.2f} GiB a million"
        )


if __name__ == "__main__":
    main()
