"""Redis goes away while a worker runs; the windows are asked for again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.ops.demo.processes import Role, clean_environment
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import balanced, counter, failures, free_port, good_posts, offsets, produce, wait_for
from tests.integration.valkey_node import ValkeyNode

Start = Callable[..., Role]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[ValkeyNode]:
    node = ValkeyNode(tmp_path / "redis")
    yield node
    node.close()


@pytest.fixture
def env(env: dict[str, str], redis: ValkeyNode) -> dict[str, str]:
    return {**env, "EMOSTREAM_REDIS_URL": redis.url}


async def test_redis_is_away_for_a_while(
    settings: Settings, store: WindowStore, start: Start, redis: ValkeyNode
) -> None:
    """Classification goes on; the windows catch up."""
    port = free_port()
    worker, sink = start("worker", EMOSTREAM_WEB_PORT=str(port)), start("sink")
    produce(settings, good_posts(100))
    assert failures(await balanced(settings, store, [worker, sink])) == []

    with redis.hanging():
        produce(settings, good_posts(1_000))
        wait_for(lambda: offsets(settings, settings.topic_classified) >= 1_100, what="classification stalls")
        missed = 'emostream_rewinds_total{cause="unavailable",stage="aggregate"}'
        wait_for(lambda: counter(port, missed) > 0, what="Redis is not missed")

    assert failures(await balanced(settings, store, [worker, sink])) == []


async def test_windows_are_published_again_on_request(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start
) -> None:
    port = free_port()
    worker, sink = start("worker", EMOSTREAM_WEB_PORT=str(port)), start("sink")
    produce(settings, good_posts(100))
    assert failures(await balanced(settings, store, [worker, sink])) == []
    windows = len(await store.read())
    wait_for(lambda: counter(port, "emostream_windows_published_total") > 0, what="nothing is published")
    before = offsets(settings, settings.topic_windows)

    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "streams", "windows", "republish"],
        env=clean_environment(env),
        check=True,
    )
    wait_for(lambda: offsets(settings, settings.topic_windows) >= before + windows, what="nobody republishes")
