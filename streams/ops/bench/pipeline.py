"""Runs workers on posts that lie ready in Kafka, and measures them and the servers from outside."""

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
from streams.connections import kafka_config
from streams.errors import MeasurementError
from streams.ops.bench.meter import Meter
from streams.ops.bench.steady import steady
from streams.ops.demo.processes import Role
from streams.records import DeadPost
from streams.settings import Settings
from streams.windows.connect import open_store
from streams.windows.store import WindowStore

STALL_S = 60.0
"""Without a new result for so long, a measurement is given up; the slowest start is a third of it."""

_POLL_S = 0.25
_NEAR_END = 0.9
"""From this share of the posts on, the end is looked for more often: the clock stops when it is seen."""

_POLL_NEAR_END_S = 0.05
_POLL_WINDOWS_S = 0.02

OnCount = Callable[[int, int], None]
"""Told how many posts of how many are done."""


@dataclass(frozen=True)
class Throughput:
    """Workers at full speed.

    Attributes:
        posts: given to them.
        measured: of them, in the steady part.
        seconds: that the steady part took, until the windows held every post. What they lagged behind when it began is
            in it, so the rate is rather too low.
        posts_per_second: in the steady part.
        cpu_s: processor seconds for a post in the steady part, of `worker`, `kafka` and `redis`.
        worker_bytes: memory of all worker processes at their most.
        supervisor_bytes: of the process besides them that watches several; 0 where there is one.
        others: share of the machine's processors that everybody else had meanwhile, 0 to 1.
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
    """Start `emostream worker` and let it work off the posts that lie in the raw topic; it is stopped at the end.

    Args:
        settings: of the worker, to find its topics; with the number of its processes.
        environment: of the worker.
        pids: of `kafka` and `redis`.
        posts: how many lie in the raw topic.
        log: receives the worker's log.
        on_count: told how far it is.

    Raises:
        MeasurementError: It got stuck, posts were dead-lettered, or there were too few of them.
        EmostreamError, ConnectorError: The worker ended, or a server does not answer.
    """
    source = find_source()
    with (
        Role("worker", ["worker"], env=environment, log=log) as worker,
        Meter({"worker": worker.pid, "supervisor": worker.pid, **pids}, alone={"supervisor", *pids}) as meter,
    ):
        began, own, busy = time.time(), time.process_time(), source.busy()
        _wait_for_results(settings, worker, posts, on_count)
        ended, all_busy, ours = time.time(), source.busy() - busy, time.process_time() - own
        complete = asyncio.run(_wait_for_windows(settings, worker, posts))
    ours += sum(meter.cpu_s(name, began, ended) for name in ("worker", *pids))
    try:
        part = steady(_result_times(settings), complete)
    except ValueError as exc:
        raise MeasurementError(f"{exc}; measure for longer (--seconds)") from exc
    # A single process is the worker itself.
    supervisor_bytes = meter.peak_bytes("supervisor") if settings.worker_processes > 1 else 0
    return Throughput(
        posts=posts,
        measured=part.posts,
        seconds=part.end - part.begin,
        posts_per_second=part.per_second,
        cpu_s={name: meter.cpu_s(name, part.begin, part.end) / part.posts for name in ("worker", *pids)},
        worker_bytes=meter.peak_bytes("worker") - supervisor_bytes,
        supervisor_bytes=supervisor_bytes,
        others=min(1.0, max(0.0, (all_busy - ours) / ((ended - began) * source.capacity()))),
    )


async def applied(store: WindowStore) -> int:
    """Offsets that every shard has."""
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
            except UnavailableError:  # topics that were just made have no leader yet
                dead = count = 0
            if dead:
                raise MeasurementError(f"the model cannot classify every post: {_first_dead(settings)}")
            if count > seen:
                seen, changed = count, time.monotonic()
                on_count(seen, posts)
            if time.monotonic() - changed > STALL_S:
                raise MeasurementError(f"{seen:,} of {posts:,} posts were classified, then none for {STALL_S:.0f} s")
            time.sleep(_POLL_S if seen < posts * _NEAR_END else _POLL_NEAR_END_S)
    finally:
        reader.close()


def _first_dead(settings: Settings) -> str:
    scan = TopicScan(kafka_config(settings), settings.topic_dead)
    try:
        return next(DeadPost.from_json(message.value()).error for message in scan.messages())
    finally:
        scan.close()


async def _wait_for_windows(settings: Settings, worker: Role, posts: int) -> float:
    """Wait until the windows hold all posts, and then until all windows are published; when they held all."""
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
    """When each result was in the log, by the broker's clock, in seconds since 1970."""
    scan = TopicScan(kafka_config(settings), settings.topic_classified)
    try:
        return [message.timestamp()[1] / 1_000 for message in scan.messages()]
    finally:
        scan.close()
