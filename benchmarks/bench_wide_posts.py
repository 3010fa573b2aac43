"""Measures what cardinality costs: posts with many keywords that no other post has, so that each makes windows.

    python benchmarks/bench_wide_posts.py
    python benchmarks/bench_wide_posts.py --posts 20000 --worker --json wide.json

It starts its own Kafka and Valkey.

1. *Bare Redis*: one client writes the fields and the indexes of the windows with plain commands, in pipelines. There is
   no compare-and-set and no revision. This is what Redis could do.
2. *Counting*: batches are divided, reduced and applied, as a worker does.
3. With `--worker`: a worker reads the posts from Kafka, classifies and counts them.

For each, it prints the windows a second, and the longest time for which Redis did not answer another client. For the
worker, it also prints the largest memory. Rates are compared within one run only.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path

import click
import redis
from confluent_kafka import KafkaException, Producer

from benchmarks.bench_frontier import describe_machine
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.pauses import Pauses
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.waiting import Stall
from connectors.errors import ConnectorError
from models.package.folder import bundled_package_path
from streams.cli.common import console
from streams.errors import EmostreamError
from streams.ops.bench.meter import Meter
from streams.ops.bench.pipeline import applied
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_topics
from streams.process.signals import exit_on_signals
from streams.records import Keywords, Origin, Post, Timestamp
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.parts import divide
from streams.windows.post import PostForCounting
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, window_start
from streams.windows.update import shard_updates

BATCH = 2_000
"""Posts in a batch of the second measurement."""

PIPELINE = 100
"""Windows in a pipeline of bare Redis."""

PAUSE_S = 0.1
"""Pauses of Redis that are longer than this are counted."""

STALL_S = 120.0
"""Seconds without a new result after which the measurement of the worker fails."""


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Attributes:
        what: `bare Redis`, `counting` or `worker`.
        windows: Windows that were made.
        seconds: How long it took.
        longest_pause_ms: The longest time for which Redis did not answer.
        pauses: How often it did not answer for more than `PAUSE_S`.
        memory_mb: The largest memory of the worker and its children in 10^6 bytes; None for the other measurements.
    """

    what: str
    windows: int
    seconds: float
    longest_pause_ms: float
    pauses: int
    memory_mb: float | None = None

    @property
    def per_second(self) -> float:
        """Windows a second."""
        return self.windows / self.seconds


def keywords_of(post: int, keywords: int) -> list[str]:
    """Returns keywords that no other post has."""
    return [f"keyword-{post}-{number}" for number in range(keywords)]


def posts_for_counting(count: int, keywords: int) -> list[PostForCounting]:
    """Returns posts of this minute."""
    now = time.time_ns() // 1_000_000
    return [
        PostForCounting(
            str(number),
            "bench",
            tuple(keywords_of(number, keywords)),
            now,
            "joy",
            500_000,
            "positive",
            500_000,
            "1.0.0",
            Origin("posts.raw", 0, number),
        )
        for number in range(count)
    ]


def bare(url: str, posts: Sequence[PostForCounting], settings: Settings) -> int:
    """Write the windows of these posts with plain commands. Returns how many windows were written."""
    client = redis.Redis.from_url(url)
    windows = 0
    with client.pipeline(transaction=False) as pipe:
        for post in posts:
            for keyword in ("*", *post.keywords):
                for size in settings.window_sizes:
                    key = WindowKey(keyword, size.seconds, window_start(post.event_ms, size.seconds))
                    member = key.member()
                    name = f"bare:w:{member}"
                    for field in ("n", "l:joy", "m:1.0.0", "s:bench", "t:positive"):
                        pipe.hincrby(name, field, 1)
                    for field in ("c:joy", "ts"):
                        pipe.hincrby(name, field, 500_000)
                    pipe.hset(name, mapping={"first": post.event_ms, "last": post.event_ms, "rev": post.event_ms})
                    pipe.zadd("bare:open", {member: key.end})
                    pipe.zadd(f"bare:index:{key.size}", {member: key.end})
                    pipe.sadd("bare:dirty", member)
                    windows += 1
                    if windows % PIPELINE == 0:
                        pipe.execute()
        pipe.execute()
    client.close()
    return windows


async def count(store: WindowStore, posts: Sequence[PostForCounting], settings: Settings) -> int:
    """Count these posts as a worker does. Returns how many windows were made."""
    for shard in range(store.shards):
        await store.initialise(shard, 0)
    positions = {0: [Position()] * store.shards}
    sizes = settings.window_sizes
    windows = 0
    for first in range(0, len(posts), BATCH):
        entries = [Entry(post.origin.offset, post) for post in posts[first : first + BATCH]]
        for part in divide({0: entries}, {0: entries[-1].offset + 1}, sizes=sizes, shards=store.shards):
            reduced = reduce_entries(part[0].entries, positions=positions[0], end=part[0].end, sizes=sizes)
            updates = shard_updates(positions, {0: reduced})
            if await store.apply_all(updates):
                raise BenchmarkError("another process writes to the window tables of this benchmark")
            windows += sum(len(update.windows) for update in updates.values())
            positions[0] = [one.position for one in reduced]
    return windows


def measured(what: str, url: str, work: Callable[[], int]) -> Cost:
    """Do some work, and measure it."""
    with Pauses(url, PAUSE_S) as pauses:
        began = time.monotonic()
        windows = work()
        seconds = time.monotonic() - began
    return Cost(what, windows, seconds, 1_000 * pauses.longest_s, pauses.over)


def run_counting(settings: Settings, posts: Sequence[PostForCounting]) -> int:
    """Count posts into empty window tables. Returns how many windows were made."""

    async def run() -> int:
        async with open_store(settings) as store:
            return await count(store, posts, settings)

    return asyncio.run(run())


def run_worker(servers: Servers, folder: Path, posts: int, keywords: int) -> Cost:
    """Send posts to a worker, and measure until the windows hold all of them."""
    environment = {
        **servers.endpoints.as_env(),
        "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
        "EMOSTREAM_WORKER_PROCESSES": "1",
        "EMOSTREAM_WEB_PORT": "0",
    }
    settings = load_settings(env_file=None, environ=environment)
    init_topics(settings, lambda line: None)
    send(settings, posts, keywords)
    role = Role("worker", ["worker"], env=clean_environment(environment), log=folder / "worker.log")
    with role, Meter({"worker": role.pid}) as meter, Pauses(servers.endpoints.redis_url, PAUSE_S) as pauses:
        began = time.monotonic()
        asyncio.run(await_windows(settings, role, posts))
        seconds = time.monotonic() - began
        memory = meter.peak_bytes("worker") / 1e6
    windows = len(settings.window_sizes) * (posts * keywords + 1)
    return Cost("worker", windows, seconds, 1_000 * pauses.longest_s, pauses.over, memory)


def send(settings: Settings, posts: int, keywords: int) -> None:
    """Write raw posts."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 20})
    now = Timestamp.now(UTC)
    for number in range(posts):
        words = Keywords.of(keywords_of(number, keywords))
        post = Post(id=str(number), text="what a lovely day", created_at=now, source="bench", keywords=words)
        producer.produce(settings.topic_raw, post.to_json(), post.id)
        if number % 100 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise BenchmarkError("Kafka did not confirm the posts in 60 s")


async def await_windows(settings: Settings, role: Role, posts: int) -> None:
    """Wait until the windows hold all posts."""
    stall = Stall(STALL_S)
    async with open_store(settings) as store:
        while (found := await applied(store)) < posts:
            role.check()
            if stall.reached(found):
                raise BenchmarkError(f"{found:,} of {posts:,} posts were counted, then no more for {STALL_S:.0f} s")
            await asyncio.sleep(0.5)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--posts", type=click.IntRange(min=100), default=2_000, show_default=True, help="Posts to measure.")
@click.option("--keywords", type=click.IntRange(1, 64), default=64, show_default=True, help="Keywords of a post.")
@click.option("--worker", is_flag=True, help="Measure a worker too. With 20,000 posts it takes some minutes.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, posts: int, keywords: int, worker: bool, json_file: Path | None) -> None:
    """Measure what keywords cost that no other post has."""
    try:
        with (
            exit_on_signals(),
            tempfile.TemporaryDirectory(prefix="emostream-bench-") as name,
            Servers(Path(name), Cores()) as servers,
        ):
            url = servers.endpoints.redis_url
            settings = load_settings(env_file=None, environ=servers.endpoints.as_env())
            to_count = posts_for_counting(posts, keywords)
            costs = [measured("bare Redis", url, lambda: bare(url, to_count, settings))]
            servers.empty_redis()
            costs.append(measured("counting", url, lambda: run_counting(settings, to_count)))
            servers.empty_redis()
            if worker:
                costs.append(run_worker(servers, Path(name), posts, keywords))
    except (EmostreamError, ConnectorError, BenchmarkError, KafkaException, redis.RedisError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if json_file is not None:
        content = {"machine": describe_machine(), "posts": posts, "costs": [asdict(cost) for cost in costs]}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for cost in costs:
        memory = "" if cost.memory_mb is None else f"; at most {cost.memory_mb:.0f} MB"
        console().print(
            f"{cost.what}: {cost.windows:,} windows in {cost.seconds:.1f} s, {cost.per_second:,.0f} a second "
            f"({cost.per_second / costs[0].per_second:.2f} of bare Redis); Redis did not answer for up to "
            f"{cost.longest_pause_ms:.0f} ms, {cost.pauses} times for more than {1_000 * PAUSE_S:.0f} ms{memory}",
            soft_wrap=True,
        )


if __name__ == "__main__":
    main()
