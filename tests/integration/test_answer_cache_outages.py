"""Answers come while Redis is away, and few of them wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.deadline import Deadline
from streams.query.circuit_breaker import LONGEST_PAUSE_S, CircuitBreaker
from tests.helpers import until
from tests.integration.cache_support import KEY, LOCK, Backend, Cache, opened
from tests.integration.valkey_node import ValkeyNode

LIMIT_S = 0.25
QUESTIONS = 40


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ValkeyNode]:
    started = ValkeyNode(tmp_path / "redis", appendonly="no")
    yield started
    started.close()


class CountingBreaker(CircuitBreaker):
    """Counts the commands that it lets through, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tried = 0
        super().__init__(clock=lambda: self.now)

    def allows(self) -> bool:
        allowed = super().allows()
        self.tried += allowed
        return allowed


async def ask(cache: Cache, backend: Backend, key: str = KEY) -> str:
    return (await cache.answers.get(key, backend, deadline=Deadline(600))).result


async def check_outage(cache: Cache, breaker: CountingBreaker) -> None:
    """Ask many questions, one after the other, while Redis is away."""
    backend = Backend()
    breaker.tried = 0
    for number in range(QUESTIONS):
        assert await ask(cache, backend, key=f"k{number}") == "computed"
    assert backend.computed == QUESTIONS
    assert breaker.tried == 1, "more than one question waited for Redis"
    assert cache.count("redis_failures", operation="read") >= QUESTIONS
    breaker.now += LONGEST_PAUSE_S
    assert await ask(cache, backend) == "computed"
    assert breaker.tried == 2


async def came_back(cache: Cache, breaker: CountingBreaker) -> None:
    """Ask until an answer comes from the cache again."""
    backend = Backend()
    while await ask(cache, backend) != "hit":
        breaker.now += LONGEST_PAUSE_S
    assert breaker.is_closed


async def test_redis_hangs_and_goes_on(node: ValkeyNode, caplog: pytest.LogCaptureFixture) -> None:
    breaker = CountingBreaker()
    async with opened(node.url, limit_s=LIMIT_S, breaker=breaker) as cache:
        with node.hanging():
            await check_outage(cache, breaker)
        await came_back(cache, breaker)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1, "the log has more than the beginning of the outage"
    assert warnings[0].startswith("answers are computed without the cache: ")


async def test_a_process_that_is_blocked_does_not_take_that_for_an_outage(node: ValkeyNode) -> None:
    async with opened(node.url, limit_s=1) as cache:
        assert await ask(cache, Backend()) == "computed"
        with node.hanging():
            asking = asyncio.create_task(ask(cache, Backend()))
            await asyncio.sleep(0.05)  # the read is sent
        time.sleep(1.5)  # noqa: ASYNC251 - blocks the event loop, while the reply comes
        assert await asking == "hit"
        assert cache.count("redis_failures", operation="read") == 0


async def test_redis_is_killed_and_started_again(node: ValkeyNode) -> None:
    breaker = CountingBreaker()
    async with opened(node.url, breaker=breaker) as cache:
        await ask(cache, Backend())
        assert await ask(cache, Backend()) == "hit"
        node.kill()
        await check_outage(cache, breaker)
        node.start()
        await came_back(cache, breaker)


async def test_a_cache_can_be_opened_while_redis_is_away(node: ValkeyNode) -> None:
    node.kill()
    breaker = CountingBreaker()
    async with opened(node.url, breaker=breaker) as cache:
        assert await ask(cache, Backend()) == "computed"
        node.start()
        await came_back(cache, breaker)


async def test_identical_questions_are_one_computation_per_process_without_redis(node: ValkeyNode) -> None:
    backend = Backend(held=True)
    async with opened(node.url, limit_s=LIMIT_S) as cache, opened(node.url, limit_s=LIMIT_S) as other:
        with node.hanging():
            callers = [asyncio.create_task(ask(one, backend)) for one in (cache, other) * 100]
            await until(lambda: (cache.count("joined"), other.count("joined")) == (99, 99))
            await until(lambda: backend.computed == 2)
            backend.go.set()
            assert await asyncio.gather(*callers) == ["computed"] * 200
    assert backend.computed == 2


async def test_redis_dies_during_a_computation(node: ValkeyNode) -> None:
    """The answer is returned, though it can be neither stored nor its lock be freed."""
    backend = Backend(held=True)
    async with opened(node.url) as cache:
        caller = asyncio.create_task(ask(cache, backend))
        await until(lambda: backend.computed == 1)
        node.kill()
        backend.go.set()
        assert await caller == "computed"
        assert cache.count("redis_failures", operation="write") == 1
        assert cache.count("redis_failures", operation="lock") == 1


async def test_redis_dies_while_another_process_computes(node: ValkeyNode) -> None:
    holder, waiter = Backend(held=True), Backend()
    async with opened(node.url) as cache, opened(node.url) as other:
        first = asyncio.create_task(ask(cache, holder))
        await until(lambda: holder.computed == 1)
        second = asyncio.create_task(ask(other, waiter))
        await until(lambda: other.count("lock_waits") == 1)
        node.kill()
        assert await second == "computed"
        assert waiter.computed == 1
        holder.go.set()
        assert await first == "computed"


async def test_a_full_redis_stores_nothing_and_still_answers_reads(
    node: ValkeyNode, caplog: pytest.LogCaptureFixture
) -> None:
    breaker = CountingBreaker()
    async with opened(node.url, breaker=breaker) as cache:
        assert await ask(cache, Backend(), key="before") == "computed"
        node.client.config_set("maxmemory", 1)
        for _ in range(3):
            assert await ask(cache, Backend()) == "computed"
            assert await ask(cache, Backend(), key="before") == "hit"
        assert breaker.is_closed
        assert cache.count("redis_failures", operation="lock") == 3
        assert cache.count("redis_failures", operation="write") == 3
    assert caplog.text.count("Redis is full while storing") == 1


async def test_missing_rights_are_logged_and_answers_come(node: ValkeyNode, caplog: pytest.LogCaptureFixture) -> None:
    node.client.acl_setuser("some", enabled=True, nopass=True, keys=["other:*"], categories=["+@all"])
    async with opened(node.url.replace("//", "//some:any@")) as cache:
        for _ in range(3):
            assert await ask(cache, Backend()) == "computed"
    assert caplog.text.count("Redis refused while reading an answer") == 1


async def test_a_lock_that_was_lost_does_not_disturb_its_holder(
    node: ValkeyNode, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend(held=True)
    async with opened(node.url, hold_s=0.3) as cache:
        caller = asyncio.create_task(ask(cache, backend))
        await until(lambda: backend.computed == 1)
        node.client.set(LOCK, "another one")
        await until(lambda: "the lock of an answer was lost" in caplog.text)
        backend.go.set()
        assert await caller == "computed"
        assert node.client.get(LOCK) == "another one"
        assert await ask(cache, backend) == "hit"
