"""Identical questions to two processes at the moment at which the answer expires, over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from streams.ops.demo.processes import Role
from streams.records import from_ms
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.answer_support import HOUR, count, expire, post, sink
from tests.integration.api_support import address_of
from tests.integration.support import TIMEOUT_S

CLIENTS = 100
"""Questions to each process."""

SLOW = {"EMOSTREAM_API_PORT": "0", "EMOSTREAM_QUERY_DEADLINE_S": "120"}


@dataclass
class Process:
    """A process of the service."""

    role: Role
    address: str
    client: httpx.AsyncClient

    async def metric(self, name: str, **labels: str) -> float:
        """Returns the value of a metric; 0 if it was never set."""
        families = text_string_to_metric_families((await self.client.get("/metrics")).text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())

    async def computations(self) -> float:
        return await self.metric("emostream_cache_computations_total")

    def ask(self, question: dict[str, object]) -> list[asyncio.Task[httpx.Response]]:
        return [asyncio.create_task(self.client.post("/v1/query", json=question)) for _ in range(CLIENTS)]


@contextmanager
def slow_history(settings: Settings) -> Iterator[None]:
    """Let every question that needs the history wait until the end."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute("SET lock_timeout = 0")
        connection.execute("LOCK TABLE emotion_windows IN ACCESS EXCLUSIVE MODE")
        yield


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a coroutine returns true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not await condition():  # type: ignore[misc]
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


@pytest.fixture
async def question(settings: Settings, store: WindowStore) -> dict[str, object]:
    """A question whose answer needs the history."""
    now = time.time_ns() // 1_000_000
    await count(store, settings, [post(20 - hour, now - hour * HOUR, "tea") for hour in range(20, 0, -1)])
    await sink(store, settings)
    await expire(store, now - 10 * HOUR)
    return {"keyword": "tea", "limit": 1, "since": from_ms(now - 21 * HOUR).rfc3339()}


async def test_200_questions_at_the_moment_of_expiry_are_one_computation_and_another_one_if_its_process_is_killed(
    start: Callable[..., Role], settings: Settings, question: dict[str, object]
) -> None:
    roles = [start("api", **SLOW), start("api", **SLOW)]
    limits = httpx.Limits(max_connections=2 * CLIENTS)
    pair = [
        Process(role, address_of(role), httpx.AsyncClient(base_url=address_of(role), timeout=TIMEOUT_S, limits=limits))
        for role in roles
    ]
    redis = Redis.from_url(settings.redis_url.get_secret_value())

    async def asked(process: Process) -> bool:
        return await process.metric("emostream_http_requests_in_flight") == CLIENTS + 1  # and this request

    async def computations() -> float:
        return sum([await process.computations() for process in pair])

    async def more_than(number: float) -> bool:
        return await computations() > number

    first = (await pair[0].client.post("/v1/query", json=question)).json()
    assert (first["source"], first["count"], first["complete"]) == ("history", 20, True)
    (key,) = redis.scan_iter(f"{settings.redis_prefix}:answer:*")
    assert (await pair[1].client.post("/v1/query", json=question)).json()["source"] == "cache"

    # At the moment of expiry.
    before = await computations()
    with slow_history(settings):
        redis.delete(key)
        tasks = [task for process in pair for task in process.ask(question)]
        for process in pair:
            await until(lambda process=process: asked(process), "not every question has arrived")  # type: ignore[misc]
        await until(lambda: more_than(before), "no computation")
    answers = await asyncio.gather(*tasks)
    assert {(one.status_code, one.json()["count"], one.json()["complete"]) for one in answers} == {(200, 20, True)}
    assert await computations() == before + 1

    # The holder is killed.
    by_process = [await process.computations() for process in pair]
    with slow_history(settings):
        redis.delete(key)
        asking = [process.ask(question) for process in pair]
        for process in pair:
            await until(lambda process=process: asked(process), "not every question has arrived")  # type: ignore[misc]
        await until(lambda: more_than(sum(by_process)), "no computation")
        (holder,) = [number for number in range(2) if await pair[number].computations() > by_process[number]]
        survivor = 1 - holder
        pair[holder].role.kill()
        assert redis.exists(key + b":lock")
        freed = time.monotonic() + redis.pttl(key + b":lock") / 1_000

        async def taken_over() -> bool:
            return await pair[survivor].computations() > by_process[survivor]

        await until(taken_over, "nobody takes over")
        assert time.monotonic() >= freed - 1
    answers = await asyncio.gather(*asking[survivor])
    assert {(one.status_code, one.json()["count"], one.json()["complete"]) for one in answers} == {(200, 20, True)}
    assert await pair[survivor].computations() == by_process[survivor] + 1
    lost = await asyncio.gather(*asking[holder], return_exceptions=True)
    assert all(isinstance(one, httpx.TransportError) for one in lost)
    for process in pair:
        await process.client.aclose()


def test_made_up_keywords_do_not_stay_in_redis(start: Callable[..., Role], settings: Settings) -> None:
    redis = Redis.from_url(settings.redis_url.get_secret_value())
    with httpx.Client(base_url=address_of(start("api", EMOSTREAM_API_PORT="0")), timeout=60) as client:
        for number in range(20):
            answer = client.post("/v1/query", json={"keyword": f"made up {number}", "return_plot": number == 0}).json()
            assert answer["count"] == 0
        keys = list(redis.scan_iter(f"{settings.redis_prefix}:answer:*"))
        assert len(keys) == 21
        assert max(redis.ttl(key) for key in keys) <= 132  # a picture stays for 120 s, and 10 % of it
        # Starts within a minute are one question.
        for second in range(0, 60, 20):
            client.post("/v1/query", json={"keyword": "made up 0", "since": f"2026-03-01T12:00:{second:02}Z"})
        assert len(list(redis.scan_iter(f"{settings.redis_prefix}:answer:*"))) == 22
