"""Limits of requests that several processes share in Redis, also while Redis is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from importlib.resources import files

import pytest
from prometheus_client import CollectorRegistry

from connectors.redis import RedisClient, connect
from streams.access.errors import RateLimitedError
from streams.access.limits import Limiter
from streams.access.metrics import AccessMetrics
from streams.access.sliding_window import PARTS, SlidingWindow
from tests.integration.redis_cluster import ClusterNode
from tests.integration.valkey_node import ValkeyNode

Make = Callable[..., Limiter]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyNode]:
    started = ValkeyNode(tmp_path_factory.mktemp("limits"))
    yield started
    started.close()


@pytest.fixture
async def client(node: ValkeyNode) -> AsyncIterator[RedisClient]:
    node.client.flushall()
    opened = connect(node.url)
    yield opened
    await opened.aclose()


@pytest.fixture
def metrics() -> AccessMetrics:
    return AccessMetrics(CollectorRegistry())


def counted_alone(metrics: AccessMetrics) -> float:
    return metrics.local_limits._value.get()


async def accepted(limiter: Limiter, requests: int, limit: int, id_: str = "k") -> int:
    """Send requests at once, and return how many are accepted."""
    found = await asyncio.gather(*(limiter.take(id_, limit) for _ in range(requests)), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            assert isinstance(one, RateLimitedError), one
            assert one.limit == limit
            assert 0 < one.retry_after_s <= PARTS
    return sum(not isinstance(one, BaseException) for one in found)


def script_calls(node: ValkeyNode) -> int:
    stats = node.client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha"))


async def test_the_script_counts_as_the_model_does(client: RedisClient) -> None:
    script = client.register_script(files("streams.access").joinpath("lua/take.lua").read_text("utf-8"))
    choose = random.Random(1)
    for number in range(20):
        window, now_ms = SlidingWindow(), choose.randrange(10**12)
        limit = choose.choice([1, 5, 40])
        for _ in range(60):
            now_ms += choose.choice([0, 1, 400, 900, 1_700, 20_000, 70_000, -300, -30_000, -200_000])
            wanted = choose.randrange(1, 9)
            expected = window.take(wanted, limit, now_ms / 1000)
            given, remaining, retry_ms = await script(keys=[f"k{number}"], args=[limit, wanted, PARTS, now_ms])
            assert (given, remaining) == (expected.given, expected.remaining)
            assert retry_ms == pytest.approx(expected.retry_after_s * 1000, abs=1.0)


async def test_processes_share_a_limit(node: ValkeyNode, metrics: AccessMetrics) -> None:
    node.client.flushall()
    async with AsyncExitStack() as stack:
        limiters = []
        for _ in range(3):
            client = connect(node.url)
            stack.push_async_callback(client.aclose)
            limiters.append(Limiter(client, metrics, prefix="emo", timeout_s=60))
        found = await asyncio.gather(*(accepted(limiter, 40, limit=50) for limiter in limiters))
        assert sum(found) == 50
        assert await accepted(limiters[0], 5, limit=50, id_="other") == 5
        # With leases, what one process has left when its lease ends is lost: one 600th of the limit for each process.
        found = await asyncio.gather(*(accepted(limiter, 800, limit=1_800, id_="busy") for limiter in limiters))
        assert 1_800 * 0.9 <= sum(found) <= 1_800
    assert counted_alone(metrics) == 0


async def test_what_remains_is_told(client: RedisClient, metrics: AccessMetrics) -> None:
    limiter = Limiter(client, metrics, prefix="emo")
    assert [(await limiter.take("k", 3)).remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(RateLimitedError, match="the limit of 3 requests a minute is used up"):
        await limiter.take("k", 3)


async def test_a_busy_caller_costs_few_calls_and_leases_end(
    node: ValkeyNode, client: RedisClient, metrics: AccessMetrics
) -> None:
    clock = Clock()
    limiter = Limiter(client, metrics, prefix="emo", clock=clock)
    before = script_calls(node)
    remaining = []
    for _ in range(2_000):
        clock.now += 0.001
        remaining.append((await limiter.take("k", 60_000)).remaining)
    assert script_calls(node) - before < 40
    assert remaining == list(range(59_999, 57_999, -1))
    before = script_calls(node)
    for _ in range(5):
        clock.now += 1.0  # the rest of the lease is over each time
        await limiter.take("k", 60_000)
    assert script_calls(node) - before == 5


async def test_a_caller_that_is_refused_does_not_reach_redis_again(
    node: ValkeyNode, client: RedisClient, metrics: AccessMetrics
) -> None:
    clock = Clock()
    limiter = Limiter(client, metrics, prefix="emo", clock=clock)
    assert await accepted(limiter, 10, limit=2) == 2
    before = script_calls(node)
    assert await accepted(limiter, 100, limit=2) == 0
    assert script_calls(node) == before
    node.client.flushall()
    clock.now += PARTS
    assert await accepted(limiter, 10, limit=2) == 2


async def test_counts_expire(node: ValkeyNode, client: RedisClient, metrics: AccessMetrics) -> None:
    await Limiter(client, metrics, prefix="emo").take("a-key", 100)
    assert node.client.keys() == ["emo:api:rate:a-key"]
    assert 0 < node.client.ttl("emo:api:rate:a-key") <= PARTS + 1


async def test_a_cluster_counts_too(redis_cluster: list[ClusterNode], metrics: AccessMetrics) -> None:
    client = connect(f"redis://127.0.0.1:{redis_cluster[0].port}", cluster=True)
    try:
        limiter = Limiter(client, metrics, prefix="emo", timeout_s=60)
        for id_ in ("a", "b", "c", "d{x}"):
            assert await accepted(limiter, 20, limit=15, id_=id_) == 15
    finally:
        await client.aclose()
    assert counted_alone(metrics) == 0


async def test_each_process_counts_alone_while_redis_is_away(
    node: ValkeyNode, client: RedisClient, metrics: AccessMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    limiter = Limiter(client, metrics, prefix="emo", clock=clock, retry_s=5.0)
    assert await accepted(limiter, 30, limit=100) == 30
    node.kill()
    try:
        clock.now += 1
        assert await accepted(limiter, 100, limit=100) == 70  # those that Redis counted are not forgotten
        assert await accepted(limiter, 100, limit=100, id_="other") == 100
        assert counted_alone(metrics) > 0
        assert [record.message for record in caplog.records if "alone" in record.message][1:] == []
    finally:
        node.start()
    alone = counted_alone(metrics)
    clock.now += PARTS
    assert await accepted(limiter, 200, limit=100) == 100
    assert counted_alone(metrics) == alone


async def test_a_paused_redis_is_not_waited_for(node: ValkeyNode, client: RedisClient, metrics: AccessMetrics) -> None:
    clock = Clock()
    limiter = Limiter(client, metrics, prefix="emo", clock=clock)
    await limiter.take("k", 10)
    with node.hanging():
        clock.now += 1
        assert await asyncio.wait_for(accepted(limiter, 50, limit=10), 60) == 9
    clock.now += PARTS
    alone = counted_alone(metrics)
    # Its own minute is not over. It has counted the first request, and perhaps the one that it answered too late.
    assert await accepted(limiter, 50, limit=10) in {8, 9}
    assert counted_alone(metrics) == alone
