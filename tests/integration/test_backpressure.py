"""Where posts wait while a server is slow: in Kafka, and nowhere else.

The posts are few and large and cheap to classify, so that a backlog which anybody kept in memory would show. What a
worker may hold of them is listed in docs/operations.md ("What is held in memory").
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.errors import UnavailableError
from connectors.kafka import own_records
from connectors.kafka.offsets import OffsetReader
from connectors.local import LocalStack
from streams.connections import kafka_config
from streams.ops.bench.meter import Meter
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.own_servers import endpoints
from tests.integration.support import balanced, counter, failures, free_port, post, produce, wait_for
from tests.tiny_model import tiny_package

__all__ = ["endpoints"]

Start = Callable[..., Role]

LONG = "EMOSTREAM_TEST_CHAOS_SECONDS" in os.environ
POSTS = 28_000 if LONG else 7_500
CHUNK = 500
pytestmark = pytest.mark.timeout(1_800 if LONG else 600)
NOISE_CHARS = 16_000
"""Length of a word that makes each post large and that the model does not know."""
WARM_POSTS = 125
BATCH = 64
SLOW_S = 60.0 if LONG else 4.0
PAUSE_MS = 60_000
"""Session timeout of a worker that is paused: it keeps its partitions."""

GROWTH_BYTES = 72 * 2**20 + own_records.MEMORY_LIMIT
"""What a worker may grow by in all: two clients that fetch 16 MiB and one response (1 MiB for each of four partitions)
ahead, 2 x 5 batches of 64 posts of 16 KB as messages, one batch of each stage decoded, what the allocator keeps of it,
and the results that the worker keeps to count them. The backlog is larger, so the test fails where it is held in
memory."""

RUNS_S, STOPS_S = 0.1, 0.4
"""A broker that works a fifth of the time: each answer takes half a second more."""


@pytest.fixture
def env(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Small batches, and a model that costs next to nothing."""
    tiny_package(tmp_path / "model")
    return env | {
        "EMOSTREAM_MODEL_URI": str(tmp_path / "model"),
        "EMOSTREAM_WORKER_PROCESSES": "1",
        "EMOSTREAM_BATCH_MAX": str(BATCH),
        "EMOSTREAM_AGGREGATE_BATCH_MAX": str(BATCH),
        "EMOSTREAM_TEXT_MAX_CHARS": str(2 * NOISE_CHARS),
    }


def large_posts(count: int) -> Iterator[list[bytes]]:
    """Chunks of posts that compression makes hardly smaller: base64 has six bits in eight."""
    noise = secrets.token_urlsafe(3 * 2**20)
    room = len(noise) - NOISE_CHARS
    for first in range(0, count, CHUNK):
        places = (number * (NOISE_CHARS + 1) % room for number in range(first, min(first + CHUNK, count)))
        yield [post(f"hello {noise[place : place + NOISE_CHARS]}") for place in places]


def lag(settings: Settings, stage: str) -> int:
    """Returns the consumer lag of a stage."""
    topic = settings.topic_raw if stage == "classify" else settings.topic_classified
    partitions = range(settings.partitions)
    with reading(settings, stage) as reader:
        committed = reader.committed(topic, partitions)
        return sum(reader.bounds(topic, number)[1] - committed.get(number, 0) for number in partitions)


@contextmanager
def reading(settings: Settings, stage: str) -> Iterator[OffsetReader]:
    reader = OffsetReader(kafka_config(settings), group=f"{settings.group_prefix}-{stage}")
    try:
        yield reader
    finally:
        reader.close()


def caught_up(settings: Settings, worker: Role) -> bool:
    """Whether no stage has anything before it; a broker that has just come up does not know yet."""
    worker.check()
    try:
        return lag(settings, "classify") == lag(settings, "aggregate") == 0
    except UnavailableError:
        return False


def produced(settings: Settings, count: int) -> int:
    """Produce posts; returns their bytes."""
    size = 0
    for chunk in large_posts(count):
        produce(settings, chunk)
        size += sum(map(len, chunk))
    return size


def warm(settings: Settings, worker: Role) -> int:
    """Let a worker do some work first; returns its memory after it."""
    produced(settings, WARM_POSTS)
    wait_for(lambda: caught_up(settings, worker), what="the worker does not begin")
    with Meter({"worker": worker.pid}) as meter:
        return meter.peak_bytes("worker")


async def settled(settings: Settings, store: WindowStore, worker: Role, start: Start) -> list[str]:
    """Returns the failed checks of the audit after the worker has caught up."""
    wait_for(lambda: caught_up(settings, worker), what="the worker does not catch up")
    sink = start("sink")
    return failures(await balanced(settings, store, [worker, sink]))


@contextmanager
def slowed(stack: LocalStack, server: str) -> Iterator[None]:
    """Pause a server for four fifths of the time."""
    end = threading.Event()

    def pulse() -> None:
        while not end.is_set():
            stack.signal(server, signal.SIGSTOP)
            time.sleep(STOPS_S)
            stack.signal(server, signal.SIGCONT)
            end.wait(RUNS_S)

    thread = threading.Thread(target=pulse, name="pulse")
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        stack.signal(server, signal.SIGCONT)


async def test_posts_wait_in_kafka_while_redis_hangs(
    own_stack: LocalStack, settings: Settings, store: WindowStore, start: Start
) -> None:
    """Classification goes on; the lag of the aggregate stage grows, the worker does not."""
    port = free_port()
    worker = start("worker", EMOSTREAM_WEB_PORT=str(port))
    before = warm(settings, worker)

    own_stack.signal("redis", signal.SIGSTOP)
    try:
        with Meter({"worker": worker.pid}) as meter:
            size = await asyncio.to_thread(produced, settings, POSTS)
            assert size > 1.25 * GROWTH_BYTES
            wait_for(lambda: lag(settings, "classify") == 0, what="classification stalls")
            wait_for(
                lambda: counter(port, 'emostream_rewinds_total{cause="unavailable",stage="aggregate"}') > 0,
                what="Redis is not missed",
            )
            assert lag(settings, "aggregate") >= POSTS
    finally:
        own_stack.signal("redis", signal.SIGCONT)
    grown = meter.peak_bytes("worker") - before
    print(f"backlog {size / 2**20:.0f} MiB, worker {before / 2**20:.0f} MiB and {grown / 2**20:.0f} MiB more")
    assert grown < GROWTH_BYTES

    assert await settled(settings, store, worker, start) == []


async def test_posts_wait_in_kafka_while_the_broker_is_slow(
    own_stack: LocalStack, settings: Settings, store: WindowStore, start: Start
) -> None:
    """Nothing is read ahead of what the broker takes, and nothing is lost of what it takes late."""
    worker = start("worker", EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS=str(PAUSE_MS))
    before = warm(settings, worker)

    worker.pause()
    size = await asyncio.to_thread(produced, settings, POSTS)
    assert size > 1.25 * GROWTH_BYTES
    assert lag(settings, "classify") == POSTS
    with Meter({"worker": worker.pid}) as meter:
        with slowed(own_stack, "kafka"):
            worker.resume()
            wait_for(lambda: lag(settings, "classify") < POSTS, what="the worker does not go on")
            await asyncio.sleep(SLOW_S)
            left = await asyncio.to_thread(lag, settings, "classify")
        # Also while the rest of the backlog goes through it, as fast as it can.
        wait_for(lambda: caught_up(settings, worker), what="the worker does not catch up")
    grown = meter.peak_bytes("worker") - before
    print(f"backlog {size / 2**20:.0f} MiB, {left} of {POSTS} posts left; {grown / 2**20:.0f} MiB more in the worker")
    assert grown < GROWTH_BYTES

    assert await settled(settings, store, worker, start) == []
