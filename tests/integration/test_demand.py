"""The demand in Redis: it decays, is bounded, and survives renormalisation, on one server and on a cluster."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from connectors.local import Endpoints
from connectors.redis import connect
from streams.query.demand import LEAST_DEMAND, Demand, DemandWriter
from streams.query.metrics import CacheMetrics
from streams.query.question import Question
from tests.integration.redis_cluster import ClusterNode

MOMENT = 1_800_000_000.25


class Clock:
    now = MOMENT

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(
    url: str, clock: Clock, *, cluster: bool = False, half_life_s: float = 60, most: int = 100, prefix: str = ""
) -> AsyncIterator[Demand]:
    client = connect(url, cluster=cluster)
    try:
        prefix = prefix or f"t{secrets.token_hex(4)}"
        yield Demand(client, prefix=prefix, half_life_s=half_life_s, most=most, clock=clock)
    finally:
        await client.aclose()


@pytest.fixture(params=["one server", "cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    if request.param == "one server":
        endpoints: Endpoints = request.getfixturevalue("endpoints")
        yield endpoints.redis_url, False
    else:
        nodes: list[ClusterNode] = request.getfixturevalue("redis_cluster")
        yield f"redis://127.0.0.1:{nodes[0].port}", True


async def top(demand: Demand, limit: int = 10) -> dict[str, float]:
    return {one.question.keyword: one.demand for one in await demand.top(limit)}


async def test_a_question_counts_half_after_a_half_life(server: tuple[str, bool]) -> None:
    url, cluster = server
    clock = Clock()
    async with opened(url, clock, cluster=cluster) as demand:
        assert await demand.top(10) == []
        await demand.add({(250, "old [x]* |"): 8, (3, "new"): 1})
        clock.now += 120
        await demand.add({(3, "new"): 2})
        found = await demand.top(10)
        assert [one.question for one in found] == [Question.of("new", limit=3), Question.of("old [x]* |")]
        assert [one.demand for one in found] == pytest.approx([2.25, 2])
        assert list(await top(demand, 1)) == ["new"]
        clock.now += 6 * 60
        assert await demand.top(10) == []


async def test_the_order_survives_a_new_landmark_and_another_half_life(endpoints: Endpoints) -> None:
    clock = Clock()
    async with opened(endpoints.redis_url, clock, half_life_s=1, prefix="t") as demand:
        await demand.add({(250, "a"): 1, (250, "b"): 2})
        clock.now += 63
        await demand.add({(250, "a"): 5})
        clock.now += 2  # more than 64 half-lives after the landmark
        await demand.add({(250, "b"): 1})
        assert await top(demand) == pytest.approx({"a": 5 / 4, "b": 1})
        async with opened(endpoints.redis_url, clock, half_life_s=100, prefix="t") as longer:
            await longer.add({(250, "c"): 3})
            assert await top(longer) == pytest.approx({"c": 3, "a": 5 / 4, "b": 1})
            clock.now += 100
            assert await top(longer) == pytest.approx({"c": 1.5, "a": 5 / 8, "b": 0.5})
        clock.now -= 10_000  # the clock was wrong
        async with opened(endpoints.redis_url, clock, half_life_s=100, prefix="t") as longer:
            await longer.add({(250, "d"): 2})
            assert (await longer.top(1))[0].question.keyword == "c"


async def test_redis_keeps_only_the_most_wanted_questions_and_forgets_all(endpoints: Endpoints) -> None:
    clock = Clock()
    async with opened(endpoints.redis_url, clock, most=3) as demand:
        await demand.add({(250, str(number)): number for number in range(1, 1_200)})
        assert list(await top(demand)) == ["1199", "1198", "1197"]
        for key in (demand._scores, demand._state):
            assert 0 < await demand._redis.ttl(key) <= 32 * 60
        assert await demand._redis.zcard(demand._scores) == 3


async def test_two_processes_add_to_one_demand(endpoints: Endpoints) -> None:
    metrics = CacheMetrics(CollectorRegistry())
    async with opened(endpoints.redis_url, Clock()) as demand:
        async with DemandWriter(demand, metrics, write_s=60) as first, DemandWriter(demand, metrics) as second:
            for _ in range(3):
                first.asked(Question.of("coffee"))
            second.asked(Question.of("coffee"))
            second.asked(Question.of("tea"))
        assert await top(demand) == {"coffee": 4, "tea": 1}


async def test_what_could_not_be_written_is_written_later(
    endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = CacheMetrics(CollectorRegistry())
    async with (
        opened(endpoints.redis_url, Clock(), prefix="t2") as demand,
        opened("redis://127.0.0.1:9", Clock()) as away,
    ):
        writer = DemandWriter(away, metrics, timeout_s=20)
        writer.asked(Question.of("coffee"))
        await writer.write()
        await writer.write()
        assert metrics.registry.get_sample_value("emostream_demand_write_failures_total") == 2
        assert caplog.text.count("the demand for answers is not counted") == 1
        writer._demand = demand
        await writer.write()
        assert await top(demand) == {"coffee": 1}


Steps = list[tuple[float, str, int]]
STEPS = st.lists(st.tuples(st.floats(0, 500), st.sampled_from("abcd"), st.integers(1, 1_000)), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, half_life_s=st.sampled_from([1.0, 7.5, 60.0, 1e6]), later=st.floats(0, 100))
def test_the_demand_is_the_decayed_sum_of_all_questions(
    endpoints: Endpoints, steps: Steps, half_life_s: float, later: float
) -> None:
    async def check() -> None:
        clock = Clock()
        times: list[tuple[float, str, int]] = []
        async with opened(endpoints.redis_url, clock, half_life_s=half_life_s) as demand:
            for seconds, keyword, count in steps:
                clock.now += seconds
                await demand.add({(250, keyword): count})
                times.append((clock.now, keyword, count))
            clock.now += later
            expected = dict.fromkeys("abcd", 0.0)
            for at, keyword, count in times:
                expected[keyword] += count * 2.0 ** ((at - clock.now) / half_life_s)
            found = await top(demand)
            edge = LEAST_DEMAND * 1e-6
            assert found == pytest.approx({one: expected[one] for one in found}, rel=1e-6)
            assert {one for one, value in expected.items() if value > LEAST_DEMAND + edge} <= set(found)
            assert list(found.values()) == sorted(found.values(), reverse=True)

    asyncio.run(check())
