"""Runs a worker on posts that are in Kafka, and measures the worker and the servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import UnavailableError
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.scan import TopicScan
from connectors.machine.load import find_source
from streams.connections import kafka_config, scan_group
from streams.errors import MeasurementError
from streams.ops.bench.meter import Meter
from streams.ops.bench.steady import steady
from streams.ops.demo.processes import Role
from streams.records import DeadPost
from streams.settings import Settings
from streams.windows.connect import open_store
from streams.windows.store import WindowStore

STALL_S = 60.0
"""Seconds without a new result after which a measurement fails: three times the slowest start of a worker."""

_POLL_S = 0.25
"""Seconds between two polls of the classified topic."""

_NEAR_END = 0.9
"""Share of the posts after which the polls are more frequent, because the time of the last one is measured."""

_POLL_NEAR_END_S = 0.05
"""Seconds between two polls near the end."""

_POLL_WINDOWS_S = 0.02
"""Seconds between two polls of the windows."""

OnCount = Callable[[int, int], None]
"""Called with the posts done so far, and the total."""


@dataclass(frozen=True)
class Throughput:
    """The rate of a worker at full speed.

    Attributes:
        posts: posts in the raw topic.
        measured: posts of the steady part.
        seconds: wall time of the steady part, up to the time at which the windows had every post. The windows are a
            little behind when it begins, and this delay is included, so the rate is slightly too low.
        posts_per_second: posts a second in the steady part.
        cpu_s: processor seconds for a post in the steady part, of `worker`, `kafka` and `redis`.
        worker_bytes: the largest memory of all worker processes together.
        supervisor_bytes: the largest memory of the supervisor; 0 if the worker is a single process.
        others: share of the machine's processors that all other processes used meanwhile, from 0 to 1.
    """

    posts: int
    measured: int
    seconds: float
    posts_per_second: float
    cpu_s: Mapping[str, float]
    worker_bytes: int
    supervisor_bytes: int
    others: float


def measure_workers(
    settings: Settings,
    environment: Mapping[str, str],
    pids: Mapping[str, int],
    posts: int,
    *,
    log: Path,
    on_count: OnCount,
) -> Throughput:
    """Start `emostream worker`, wait until it has counted all posts of the raw topic, and stop it.

    Args:
        settings: the settings of the worker: its topics and the number of its processes.
        environment: the environment of the worker.
        pids: the process ids of `kafka` and `redis`.
        posts: the number of posts in the raw topic.
        log: the file for the log of the worker.
        on_count: called with the number of classified posts.

    Raises:
        MeasurementError: The worker made no progress, posts were dead-lettered, or there are too few posts.
        EmostreamError, ConnectorError: The worker ended, or a server does not answer.
    """
    source = find_source()
    with (
        Role("worker", ["worker"], env=environment, log=log) as worker,
        Meter({"worker": worker.pid, "supervisor": worker.pid, **pids}, alone={"supervisor", *pids}) as meter,
    ):
        began, own_cpu, busy = time.time(), time.process_time(), source.busy()
        _wait_for_results(settings, worker, posts, on_count)
        ended, all_busy, bench_busy = time.time(), source.busy() - busy, time.process_time() - own_cpu
        complete = asyncio.run(_wait_for_windows(settings, worker, posts))
    bench_busy += sum(meter.cpu_s(name, began, ended) for name in ("worker", *pids))
    try:
        part = steady(_result_times(settings), complete)
    except ValueError as exc:
        raise MeasurementError(f"{exc}; measure for longer (--seconds)") from exc
    # A worker of one process has no supervisor.
    supervisor_bytes = meter.peak_bytes("supervisor") if settings.worker_processes > 1 else 0
    return Throughput(
        posts=posts,
        measured=part.posts,
        seconds=part.end - part.begin,
        posts_per_second=part.per_second,
        cpu_s={name: meter.cpu_s(name, part.begin, part.end) / part.posts for name in ("worker", *pids)},
        worker_bytes=meter.peak_bytes("worker") - supervisor_bytes,
        supervisor_bytes=supervisor_bytes,
        others=min(1.0, max(0.0, (all_busy - bench_busy) / ((ended - began) * source.capacity()))),
    )


async def applied(store: WindowStore) -> int:
    """Returns how many raw offsets all shards have applied, summed over the partitions."""
    times = [await store.times(shard) for shard in range(store.shards)]
    partitions = {partition for shard in times for partition in shard.offsets}
    return sum(min(shard.offsets.get(partition, 0) for shard in times) for partition in partitions)


def _wait_for_results(settings: Settings, worker: Role, posts: int, on_count: OnCount) -> None:
    reader = OffsetReader(kafka_config(settings), group="emostream-bench")
    seen, changed = 0, time.monotonic()
    try:
        while seen < posts:
            worker.check()
            try:
                dead = reader.bounds(settings.topic_dead, 0)[1]
                count = sum(reader.bounds(settings.topic_classified, p)[1] for p in range(settings.partitions))
            except UnavailableError:  # a new topic has no leader for a moment
                dead = count = 0
            if dead:
                raise MeasurementError(f"the model cannot classify every post: {_first_error(settings)}")
            if count > seen:
                seen, changed = count, time.monotonic()
                on_count(seen, posts)
            if time.monotonic() - changed > STALL_S:
                raise MeasurementError(f"{seen:,} of {posts:,} posts were classified, then none for {STALL_S:.0f} s")
            time.sleep(_POLL_S if seen < posts * _NEAR_END else _POLL_NEAR_END_S)
    finally:
        reader.close()


def _first_error(settings: Settings) -> str:
    scan = TopicScan(kafka_config(settings), settings.topic_dead, group=scan_group(settings))
    try:
        return next(DeadPost.from_json(message.value()).error for message in scan.messages())
    finally:
        scan.close()


async def _wait_for_windows(settings: Settings, worker: Role, posts: int) -> float:
    """Wait until the windows have all posts, and then until all windows are published.

    Returns:
        The time at which the windows had all posts, in seconds since 1970.
    """
    async with open_store(settings) as store:
        deadline = time.monotonic() + STALL_S

        async def until(done: Callable[[], Awaitable[bool]], what: str) -> None:
            while not await done():
                worker.check()
                if time.monotonic() > deadline:
                    raise MeasurementError(f"the windows are not {what} {STALL_S:.0f} s after the last post")
                await asyncio.sleep(_POLL_WINDOWS_S)

        async def are_complete() -> bool:
            return await applied(store) >= posts

        async def are_published() -> bool:
            counts = [await store.dirty_count(shard) for shard in range(store.shards)]
            return not any(counts)

        await until(are_complete, "complete")
        complete = time.time()
        await until(are_published, "published")
        return complete


def _result_times(settings: Settings) -> list[float]:
    """Returns the time at which Kafka wrote each classified post, by the broker's clock, in seconds since 1970."""
    scan = TopicScan(kafka_config(settings), settings.topic_classified, group=scan_group(settings))
    try:
        return [message.timestamp()[1] / 1_000 for message in scan.messages()]
    finally:
        scan.close()
