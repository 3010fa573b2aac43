"""Measures what posts and windows take in Kafka, Redis and Postgres, and what the sink costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors import redis
from connectors.kafka.scan import TopicScan
from connectors.postgres import connect, postgres_errors
from streams.connections import kafka_config, scan_group
from streams.errors import MeasurementError
from streams.gate.cpu_aware import OpenGate
from streams.ops.bench.meter import family_cpu_s
from streams.settings import Settings
from streams.sink.runner import open_sink
from streams.window_sizes import format_duration
from streams.windows.connect import open_store

_POSTS = "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('posts') WHERE isleaf"
_WINDOWS = """
    SELECT sum(pg_total_relation_size(name::regclass))::bigint
    FROM unnest(ARRAY['emotion_windows', 'emotion_window_labels', 'emotion_window_sentiments']) AS name
"""


@dataclass(frozen=True)
class WindowMemory:
    """The memory of the windows of one size in Redis.

    Attributes:
        size: the window size in seconds.
        windows: the number of windows.
        bytes_each: bytes for a window, with its share of the indexes and of the server's own tables.
    """

    size: int
    windows: int
    bytes_each: float


@dataclass(frozen=True)
class SinkFigures:
    """What the sink wrote, and what that cost.

    Attributes:
        posts: rows of posts.
        windows: rows of windows.
        post_bytes: bytes for a post, indexes included.
        window_bytes: bytes for a window, with its labels and sentiments.
        sink_cpu_s: processor seconds of the sink for a post.
        postgres_cpu_s: processor seconds of Postgres for a post.
        kafka_cpu_s: processor seconds of Kafka for a post.
    """

    posts: int
    windows: int
    post_bytes: float
    window_bytes: float
    sink_cpu_s: float
    postgres_cpu_s: float
    kafka_cpu_s: float


async def redis_used(settings: Settings) -> int:
    """Returns the memory of Redis in bytes, without connections, scripts and the buffer of the append-only file."""
    client: Any = redis.connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
    try:
        with redis.redis_errors("reading the memory of Redis"):
            found: dict[str, int] = await client.info("memory")
    finally:
        await client.aclose()
    not_data = ("mem_clients_normal", "mem_aof_buffer", "used_memory_scripts_eval")
    return found["used_memory"] - sum(found.get(name, 0) for name in not_data)


async def window_memory(settings: Settings, before: int) -> list[WindowMemory]:
    """Measure the memory of the windows of each size.

    The growth of the server's memory is divided among the sizes in proportion to the memory of their windows' hashes.

    Args:
        settings: where Redis is, and the window sizes.
        before: what `redis_used` returned before there were windows.

    Raises:
        MeasurementError: There are no windows of a size, or the memory grew by less than the windows take.
        ConnectorError: Redis does not answer.
    """
    async with open_store(settings) as store:
        found = {size: await store.memory(size) for size in store.sizes}
    for size, (windows, _) in found.items():
        if not windows:
            raise MeasurementError(f"Redis has no windows of {format_duration(size)} to measure")
    growth = await redis_used(settings) - before
    hashes = sum(taken for _, taken in found.values())
    if growth < hashes:
        raise MeasurementError(f"Redis grew by {growth:,} bytes, but its windows take {hashes:,}")
    return [WindowMemory(size, windows, growth / hashes * taken / windows) for size, (windows, taken) in found.items()]


def record_bytes(settings: Settings, logs: Path, topic: str) -> float:
    """Returns the bytes of a record in Kafka's log, batched and compressed as it was written.

    Reads the topic to count its records, because some of its offsets are transaction markers.

    Args:
        settings: where Kafka is.
        logs: the broker's folder of logs.
        topic: the topic.

    Raises:
        MeasurementError: The topic has no records, or no log in `logs`.
        ConnectorError: Kafka does not answer.
    """
    scan = TopicScan(kafka_config(settings), topic, group=scan_group(settings))
    try:
        records = sum(1 for _ in scan.messages())
    finally:
        scan.close()
    taken = sum(file.stat().st_size for file in logs.glob(f"{topic}-*/*.log"))
    if not records or not taken:
        raise MeasurementError(f"{topic} has {records} records in {taken} bytes, so there is nothing to measure")
    return taken / records


def measure_sink(settings: Settings, pids: Mapping[str, int], posts: int) -> SinkFigures:
    """Run the sink in this process until all records in Kafka are in Postgres, as `emostream sink --once --force` does.

    Args:
        settings: where the servers are.
        pids: the process ids of `postgres` and `kafka`.
        posts: the number of classified posts.

    Raises:
        MeasurementError: The sink has not written every post, or no window.
        EmostreamError, ConnectorError: The sink failed.
    """
    before = _sizes(settings)
    stop = threading.Event()
    own, servers = time.process_time(), {name: family_cpu_s(pid) for name, pid in pids.items()}
    try:
        with open_sink(settings, gate=OpenGate()) as sink:
            sink.run(stop, once=True)
    finally:
        stop.set()  # ends the threads of the sink, also after Ctrl-C, before the servers are stopped
    own = time.process_time() - own
    spent = {name: family_cpu_s(pid) - servers[name] for name, pid in pids.items()}
    after = _sizes(settings)
    written, windows = after["posts"], after["windows"]
    if written != posts or not windows:
        raise MeasurementError(f"the sink wrote {written:,} of {posts:,} posts and {windows:,} windows")
    return SinkFigures(
        posts=written,
        windows=windows,
        post_bytes=(after["posts_bytes"] - before["posts_bytes"]) / written,
        window_bytes=(after["windows_bytes"] - before["windows_bytes"]) / windows,
        sink_cpu_s=own / written,
        postgres_cpu_s=spent["postgres"] / written,
        kafka_cpu_s=spent["kafka"] / written,
    )


def _sizes(settings: Settings) -> Mapping[str, int]:
    queries = {
        "posts": "SELECT count(*) FROM posts",
        "windows": "SELECT count(*) FROM emotion_windows",
        "posts_bytes": _POSTS,
        "windows_bytes": _WINDOWS,
    }
    dsn = settings.postgres_dsn.get_secret_value()
    found = {}
    with connect(dsn, application_name="emostream-bench") as connection, postgres_errors("measuring tables"):
        for name, query in queries.items():
            row = connection.execute(query).fetchone()
            found[name] = int(str(row[0])) if row else 0
    return found
