"""Measures what counting costs: the aggregate agent of a worker alone, on a backlog of classified posts in Kafka.

    python benchmarks/bench_aggregate.py
    python benchmarks/bench_aggregate.py --posts 500000 --keywords 2000 --json aggregate.json

It starts its own Kafka and Valkey, writes the posts, runs `emostream worker` on them, and reads the number of counted
posts from Redis. The classify agent of the worker has nothing to do. On a busy machine, the rate is unreliable; the
processor time is not.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, timedelta
from pathlib import Path

import click
import psutil
from confluent_kafka import Producer

from connectors.local import LocalStack
from models.package.folder import bundled_package_path
from models.training.labels import EMOTIONS
from streams.cli.common import console, progress_console
from streams.ops.bench.pipeline import applied
from streams.ops.bench.posts import keyword_weights
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_topics
from streams.records import ClassifiedPost, ModelRef, Origin, Sentiment, Timestamp
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store
from streams.windows.store import WindowStore

SOURCES = ("mastodon", "bluesky", "reddit", "rss")
WARM_SHARE = 0.1
"""Share of the posts that are counted before the measurement begins, while imports and connections slow them down."""


@dataclass(frozen=True)
class Cost:
    """The measurements.

    Attributes:
        posts: Posts that were counted during the measurement.
        seconds: Length of the measurement.
        posts_per_second: Posts a second by wall time.
        worker_us: Processor time of the worker for a post, in microseconds.
        redis_us: Processor time of Redis for a post, in microseconds.
        redis_share: Share of one core that Redis used.
        possible_per_second: Posts a second that a worker could count with one full core.
        redis_bytes: Memory of Redis's data afterwards, in bytes.
        windows: Windows in the window tables afterwards.
    """

    posts: int
    seconds: float
    posts_per_second: float
    worker_us: float
    redis_us: float
    redis_share: float
    possible_per_second: float
    redis_bytes: int
    windows: int


def make_posts(
    count: int, keywords: int, span_s: float, partitions: int, raw_topic: str = "posts.raw"
) -> Iterator[tuple[int, str, bytes]]:
    """Yield the partition, id and JSON of classified posts. A few keywords are in most posts, as words are in texts."""
    rng = random.Random(17)
    names = [f"keyword-{number}" for number in range(keywords)]
    weights = keyword_weights(keywords)
    begin = Timestamp.now(UTC) - timedelta(seconds=span_s)
    drawn_keywords = iter(rng.choices(names, weights, k=count * 2))
    text = "i did not expect that this morning would turn out so well after all the rain of last night " * 2
    for number in range(count):
        label = rng.choice(EMOTIONS)
        confidence = rng.uniform(0.3, 1)
        post = ClassifiedPost(
            id=f"post-{number}",
            source=rng.choice(SOURCES),
            keywords=tuple(dict.fromkeys(next(drawn_keywords) for _ in range(rng.randrange(3)))),
            created_at=begin + timedelta(seconds=span_s * number / count),
            text=text[: rng.randrange(40, len(text))],
            label=label,
            confidence=confidence,
            scores={each: confidence if each == label else (1 - confidence) / 7 for each in EMOTIONS},
            sentiment=Sentiment(label="neutral", score=rng.uniform(-1, 1)),
            model=ModelRef(name="emotion", version="2.0.0", tier="convolution"),
            origin=Origin(topic=raw_topic, partition=number % partitions, offset=number // partitions),
            classified_at=begin,
        )
        yield number % partitions, post.id, post.to_json()


def preload(settings: Settings, posts: Iterator[tuple[int, str, bytes]]) -> None:
    """Write the posts and, at the origin of each, an empty raw record. The classify agent finds its output complete."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 50, "compression.type": "lz4"})
    for partition, key, value in posts:
        for topic, content in ((settings.topic_raw, b""), (settings.topic_classified, value)):
            while True:
                try:
                    producer.produce(topic, content, key.encode(), partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
    if producer.flush(60):
        raise click.ClickException("Kafka did not confirm the posts in 60 s")


async def measure(store: WindowStore, role: Role, redis: psutil.Process, posts: int) -> Cost:
    """Wait until the worker has counted all posts, and return what that cost."""
    worker = psutil.Process(role.pid)

    def times() -> tuple[float, float, float]:
        """Returns the wall time, and the processor times of the worker and of Redis."""
        worker_s, redis_s = (sum(process.cpu_times()[:2]) for process in (worker, redis))
        return time.monotonic(), worker_s, redis_s

    while (first := await applied(store)) < posts * WARM_SHARE:
        role.check()
        await asyncio.sleep(0.02)
    begin = times()
    while await applied(store) < posts:
        role.check()
        await asyncio.sleep(0.05)
    seconds, of_worker, of_redis = (after - before for after, before in zip(times(), begin, strict=True))
    counted = posts - first
    memory = await store._redis.info("memory")
    return Cost(
        posts=counted,
        seconds=seconds,
        posts_per_second=counted / seconds,
        worker_us=1e6 * of_worker / counted,
        redis_us=1e6 * of_redis / counted,
        redis_share=of_redis / seconds,
        possible_per_second=counted / of_worker,
        redis_bytes=memory["used_memory"],
        windows=len(await store.read()),
    )


async def run(posts: int, keywords: int, span_s: float, partitions: int, folder: Path) -> Cost:
    """Run the benchmark with servers in `folder`."""
    notes = progress_console()
    stack = LocalStack(folder)
    try:
        endpoints = stack.up()
        environment = {
            **endpoints.as_env(),
            "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
            "EMOSTREAM_PARTITIONS": str(partitions),
            "EMOSTREAM_WEB_PORT": "0",
            "EMOSTREAM_WORKER_PROCESSES": "1",
        }
        settings = load_settings(env_file=None, environ=environment)
        init_topics(settings, lambda line: None)
        notes.print(f"writing {posts:,} posts with {keywords:,} keywords to {partitions} partitions")
        preload(settings, make_posts(posts, keywords, span_s, partitions))
        redis = next(psutil.Process(status.pid) for status in stack.status() if status.name == "redis")
        log = folder / "worker.log"
        notes.print("counting")
        async with open_store(settings) as store:
            with Role("worker", ["worker"], env=clean_environment(environment), log=log) as role:
                return await measure(store, role, redis, posts)
    finally:
        stack.down()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--posts", type=click.IntRange(min=1_000), default=200_000, show_default=True, help="Posts to count.")
@click.option(
    "--keywords", type=click.IntRange(min=1), default=500, show_default=True, help="Number of different keywords."
)
@click.option(
    "--span", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Event time of the posts in seconds."
)
@click.option(
    "--partitions", type=click.IntRange(min=1), default=4, show_default=True, help="Partitions of each topic."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, posts: int, keywords: int, span: float, partitions: int, json_file: Path | None) -> None:
    """Measure what counting posts in windows costs a worker and Redis."""
    load = os.getloadavg()[0]
    if load > 0.5:
        progress_console().print(
            f"the machine is busy (load {load:.1f}): the rate is unreliable, processor times are not"
        )
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        cost = asyncio.run(run(posts, keywords, span, partitions, Path(folder)))
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(cost), indent=2) + "\n", encoding="utf-8")
    console().print(
        f"{cost.posts:,} posts in {cost.seconds:.1f} s: {cost.posts_per_second:,.0f} posts/s\n"
        f"worker {cost.worker_us:.1f} µs a post, which is {cost.possible_per_second:,.0f} posts/s on one core\n"
        f"Redis {cost.redis_us:.1f} µs a post, {100 * cost.redis_share:.0f} % of a core; "
        f"{cost.redis_bytes / 1e6:.0f} MB for {cost.windows:,} windows"
    )


if __name__ == "__main__":
    main()
