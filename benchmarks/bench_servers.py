"""Measures what a post costs the servers and the worker: bytes and processor time of Kafka, and the cost of counting.

    python benchmarks/bench_servers.py --data DATA
    python benchmarks/bench_servers.py --data DATA --json servers.json

It starts its own Kafka and Valkey.

1. Kafka: raw posts are written as producers write them, and classified posts as a worker does, in confirmed batches.
   Then both topics are read once: the raw topic by a worker, the classified topic by a sink. A worker that keeps up
   does not fetch the classified posts that it has written itself.
2. Counting: batches of several sizes are reduced to deltas and applied to several numbers of shards, as a worker does.

Only processor time and bytes are measured, so other load on the machine changes little. docs/scaling.md uses the
figures: the file of --json has them in the form of benchmarks/scaling_costs.json.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path

import click
import psutil
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from msgspec.structs import replace

from benchmarks.bench_frontier import DEFAULT_DATA, describe_machine
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.options import data_option
from benchmarks.harness.posts import KEYWORDS, RawPost, make_posts, read_texts
from benchmarks.harness.servers import Cores, Servers
from benchmarks.scaling_fit import KafkaCost, WindowsCost, costs_of, describe
from connectors.errors import ConnectorError
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from models.errors import ModelError
from models.training.labels import EMOTIONS
from streams.cli.common import console
from streams.connections import kafka_config
from streams.ops.init import init_topics
from streams.process.signals import exit_on_signals
from streams.records import ClassifiedPost, ModelRef, Origin, Post, Sentiment, Timestamp
from streams.settings import Settings, load_settings
from streams.window_sizes import WindowSize
from streams.windows.connect import open_store
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.parts import divide
from streams.windows.post import PostForCounting
from streams.windows.store import WindowStore
from streams.windows.update import shard_updates

BATCHES = (16, 64, 256, 1_024, 4_096, 16_384)
SHARDS = (4, 16, 64)
CLASSIFY_BATCH = 512
"""Posts in a batch of classified posts, as a worker writes them."""

READ_S = 60.0
"""Seconds in which Kafka must confirm or return records."""

_SEED = 7


def classify(posts: Sequence[RawPost], partitions: int) -> list[ClassifiedPost]:
    """Returns classified posts as a worker writes them, with random answers."""
    rng = random.Random(_SEED)
    classified = []
    for number, raw in enumerate(posts):
        post = Post.from_json(raw.value)
        scores = rng.choices(range(1, 1_000), k=len(EMOTIONS))
        label = rng.choice(EMOTIONS)
        classified.append(
            ClassifiedPost(
                id=post.id,
                source=post.source,
                keywords=post.keywords,
                created_at=post.created_at,
                text=post.text,
                label=label,
                confidence=rng.uniform(0.3, 1),
                scores={name: score / sum(scores) for name, score in zip(EMOTIONS, scores, strict=True)},
                sentiment=Sentiment(label="neutral", score=rng.uniform(-1, 1)),
                model=ModelRef(name="emotion", version="2.0.0"),
                origin=Origin(topic="posts.raw", partition=number % partitions, offset=number // partitions),
                classified_at=post.created_at,
            )
        )
    return classified


def measure_kafka(settings: Settings, broker: psutil.Process, folder: Path, posts: Sequence[RawPost]) -> KafkaCost:
    """Write and read all posts twice, and measure the second time. The first time warms up the broker's JVM.

    Raises:
        ConnectorError, BenchmarkError: Kafka does not answer.
    """
    results = [
        Outgoing(settings.topic_classified, post.to_json(), post.id.encode(), post.origin.partition)
        for post in classify(posts, settings.partitions)
    ]
    spent = 0.0
    for repetition in range(2):
        before = _spent(broker)
        _send(settings, posts)
        producer = ConfirmedProducer(kafka_config(settings), client_id="bench-servers", give_up_after_s=READ_S)
        for first in range(0, len(results), CLASSIFY_BATCH):
            producer.submit(results[first : first + CLASSIFY_BATCH]).result()
        producer.close()
        for topic in (settings.topic_raw, settings.topic_classified):
            _read(settings, topic, repetition * len(posts), len(posts))
        spent = _spent(broker) - before
    sizes = [
        sum(log.stat().st_size for log in folder.glob(f"kafka/data/{topic}-*/*.log")) / (2 * len(posts))
        for topic in (settings.topic_raw, settings.topic_classified)
    ]
    return KafkaCost(len(posts), 1e6 * spent / len(posts), *sizes)


def _send(settings: Settings, posts: Sequence[RawPost]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 20, "compression.type": "lz4"})
    for number, post in enumerate(posts):
        producer.produce(settings.topic_raw, post.value, post.id, partition=number % settings.partitions)
        if number % 1_000 == 0:
            producer.poll(0)
    if producer.flush(READ_S):
        raise BenchmarkError(f"Kafka did not confirm the posts in {READ_S:.0f} s")


def _read(settings: Settings, topic: str, skipped: int, count: int) -> None:
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka_bootstrap, "group.id": "bench-servers", "enable.auto.commit": False}
    )
    start = skipped // settings.partitions
    consumer.assign([TopicPartition(topic, number, start) for number in range(settings.partitions)])
    seen = 0
    while seen < count:
        found = consumer.consume(min(10_000, count - seen), READ_S)
        if not found:
            raise BenchmarkError(f"Kafka returned no record of {topic} for {READ_S:.0f} s; {count - seen} are missing")
        for message in found:
            if error := message.error():
                raise KafkaException(error)
        seen += len(found)
    consumer.close()


async def measure_windows(
    settings: Settings, server: psutil.Process, posts: Sequence[RawPost], most: int, shard_counts: Sequence[int]
) -> list[WindowsCost]:
    """Count the posts in batches of each size for each number of shards, each in its own window tables.

    Args:
        settings: Settings with the address of Redis.
        server: The process of Redis.
        posts: The posts; used again if a measurement needs more.
        most: Posts in a measurement at most, if that is at least two batches.
        shard_counts: Numbers of shards.

    Raises:
        ConnectorError, BenchmarkError: Redis does not answer, or another process writes to the window tables.
    """
    now = Timestamp.now(UTC)
    live = (replace(post, created_at=now) for post in classify(posts, 1))
    to_count = [PostForCounting.of(post) for post in live]
    found = []
    for shards in shard_counts:
        for batch in BATCHES:
            tables = load_settings(
                env_file=None,
                environ={},
                redis_url=settings.redis_url.get_secret_value(),
                redis_prefix=f"bench-{shards}-{batch}",
                shards=shards,
            )
            async with open_store(tables) as store:
                for shard in range(shards):
                    await store.initialise(shard, 0)
                batches = max(2, min(most // batch, 400))
                redis_s, worker_s = await _count(
                    store, server, to_count, batch=batch, batches=batches, sizes=tables.window_sizes
                )
            per_post = 1e6 / (batches * batch)
            found.append(WindowsCost(batch, shards, batches, per_post * redis_s, per_post * worker_s))
    return found


async def _count(
    store: WindowStore,
    server: psutil.Process,
    to_count: Sequence[PostForCounting],
    *,
    batch: int,
    batches: int,
    sizes: Sequence[WindowSize],
) -> tuple[float, float]:
    """Reduce and apply batches. Returns the processor time of Redis and of this process, in seconds."""
    positions = [Position()] * store.shards
    before, spent = _spent(server), 0.0
    for number in range(batches):
        # If there are too few posts they are used again, with new origins, because an origin is counted only once.
        first = number * batch
        posts = (to_count[at % len(to_count)] for at in range(first, first + batch))
        entries = [
            Entry(at, post._replace(origin=replace(post.origin, offset=at))) for at, post in enumerate(posts, first)
        ]
        began = time.process_time()
        for part in divide({0: entries}, {0: first + batch}, sizes=sizes, shards=store.shards):
            reductions = reduce_entries(part[0].entries, positions=positions, end=part[0].end, sizes=sizes)
            if await store.apply_all(shard_updates({0: positions}, {0: reductions})):
                raise BenchmarkError("another process writes to the window tables of this benchmark")
            positions = [reduction.position for reduction in reductions]
        spent += time.process_time() - began
    return _spent(server) - before, spent


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option("--posts", type=click.IntRange(min=10_000), default=50_000, show_default=True, help="Posts to measure.")
@click.option(
    "--shards",
    "shard_counts",
    type=click.IntRange(min=1, max=1_024),
    multiple=True,
    default=SHARDS,
    show_default="4, 16 and 64",
    help="A number of shards to count with; may be repeated. The costs of a call and of a post can be separated only "
    "with at least two.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, data: Path | None, posts: int, shard_counts: tuple[int, ...], json_file: Path | None) -> None:
    """Measure what a post costs Kafka and Redis, and the worker that counts it."""
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("no data sets in ../shared/data; give their folder: bench_servers.py --data DATA")
        return
    shard_counts = tuple(sorted(set(shard_counts)))
    if len(shard_counts) < 2:
        raise click.UsageError("--shards: give at least two different numbers")
    try:
        raw = make_posts(read_texts(data or DEFAULT_DATA), posts)
        machine = describe_machine()
        with (
            exit_on_signals(),
            tempfile.TemporaryDirectory(prefix="emostream-bench-") as name,
            Servers(Path(name), Cores()) as servers,
        ):
            settings = load_settings(env_file=None, environ=servers.endpoints.as_env())
            init_topics(settings, lambda line: None)
            kafka = measure_kafka(settings, psutil.Process(servers.pids["kafka"]), Path(name), raw)
            redis = psutil.Process(servers.pids["redis"])
            windows = asyncio.run(measure_windows(settings, redis, raw, posts, shard_counts))
    except (ModelError, ConnectorError, BenchmarkError, KafkaException, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    try:
        costs = costs_of(kafka, windows)
    except ValueError as exc:
        # The measurements are written nevertheless.
        costs, problem = None, str(exc)
    if json_file is not None:
        where = f"bench_servers.py, {posts:,} posts"
        content = {
            "machine": machine,
            "settings": {"keywords": KEYWORDS, "window_sizes": len(settings.window_sizes)},
            "kafka": asdict(kafka),
            "windows": [asdict(one) for one in windows],
            "costs": costs and {name: {"value": value, "measured": where} for name, value in costs.items()},
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console().print(describe(kafka, windows, costs), soft_wrap=True)
    if costs is None:
        raise click.ClickException(problem)


if __name__ == "__main__":
    main()
