"""`emostream warm` as a process next to the HTTP service, with the servers of the tests."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from api.client import Client
from connectors.local import LocalStack
from connectors.redis import connect
from streams.ops.demo.processes import Role
from streams.query.demand import Demand
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.api_support import address_of
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture; a test pauses Redis
from tests.integration.support import TIMEOUT_S, counter, free_port, wait_for
from tests.integration.window_store_support import START, apply_all, of

ANY_PORT = {"EMOSTREAM_API_PORT": "0"}
STOP_S = 5.0
"""It stops within a second. A busy machine takes some more, and a wait for Redis would take longer."""

ASKED = {(250, "a|b"): 3, (250, "[x]* ☕"): 2, (7, "a|b"): 1, (250, "*"): 1}


async def fill(store: WindowStore, settings: Settings) -> None:
    """Count three posts with two keywords just now, and some posts an hour ago with another one that rises."""
    now = time.time() - START / 1_000
    posts = [of(number, now, "a|b", "[x]* ☕") for number in range(3)]
    posts += [of(3, now - 900, "rises")] + [of(number, now - 300, "rises") for number in range(4, 12)]
    await apply_all(store, posts, len(posts), sizes=settings.window_sizes)


async def ask_for(settings: Settings, counts: dict[tuple[int, str], int]) -> None:
    client = connect(settings.redis_url.get_secret_value(), cluster=False)
    demand = Demand(client, prefix=settings.redis_prefix, half_life_s=settings.warm_half_life_s)
    await demand.add(counts)
    await client.aclose()


async def wanted(settings: Settings) -> dict[tuple[int, str], float]:
    client = connect(settings.redis_url.get_secret_value(), cluster=False)
    demand = Demand(client, prefix=settings.redis_prefix, half_life_s=settings.warm_half_life_s)
    found = {(one.question.limit, one.question.keyword): one.demand for one in await demand.top(100)}
    await client.aclose()
    return found


async def test_the_service_serves_what_the_warmer_stored(
    start: Callable[..., Role], store: WindowStore, settings: Settings
) -> None:
    await fill(store, settings)
    await ask_for(settings, ASKED)
    warmer = start("warm", "--once", "--force")
    assert warmer.wait(TIMEOUT_S) == 0, warmer.log.read_text("utf-8")
    assert re.search(r"answers looked at: \d \(replaced: \d\)", warmer.log.read_text("utf-8"))
    service = start("api", **ANY_PORT)
    with Client(address_of(service)) as client:
        for limit, keyword in ASKED:
            answer = client.query(keyword, limit=limit)
            assert (answer.source, answer.keyword) == ("cache", keyword)
            assert answer.count == (12 if keyword == "*" else 3)
        assert client.query("rises").source == "cache"
        assert client.query("a|b", limit=8).source == "windows"
        # The labels come from the manifest, without the model.
        assert {row.label for row in client.query("a|b").agg} == set(client.model().models[0].heads[0].labels)


async def test_it_leaves_few_posts_to_a_service_that_searches(
    start: Callable[..., Role], store: WindowStore, settings: Settings
) -> None:
    await fill(store, settings)
    await ask_for(settings, {(250, "a|b"): 3, (3, "a|b"): 2, (4, "a|b"): 1})
    warmer = start("warm", "--once", "--force", EMOSTREAM_QUERY_SOURCES="sources.toml")
    assert warmer.wait(TIMEOUT_S) == 0
    client = connect(settings.redis_url.get_secret_value(), cluster=False)
    stored = [key async for key in client.scan_iter(f"{settings.redis_prefix}:answer:*")]
    await client.aclose()
    assert len(stored) == 1, warmer.log.read_text("utf-8")  # the windows have three posts


async def test_the_service_counts_what_is_asked(start: Callable[..., Role], settings: Settings) -> None:
    service = start("api", **ANY_PORT)
    with Client(address_of(service)) as client:
        for _ in range(3):
            client.query("a|b")
        client.query("*", limit=3)
        client.query("a|b", since=datetime(2026, 1, 1, tzinfo=UTC))  # has an answer of its own
    assert service.stop() == 0
    found = await wanted(settings)
    assert found == pytest.approx({(250, "a|b"): 3, (3, "*"): 1}, rel=0.1)


def answers(port: int, result: str) -> float:
    return counter(port, f'emostream_warm_answers_total{{result="{result}"}}')


async def test_it_refreshes_again_and_again_and_stops_within_a_second(
    start: Callable[..., Role], store: WindowStore, settings: Settings
) -> None:
    await fill(store, settings)
    await ask_for(settings, ASKED)
    port = free_port()
    warmer = start("warm", "--force", EMOSTREAM_WARM_WEB_PORT=str(port), EMOSTREAM_QUERY_FRESH_S="2")
    wait_for(lambda: answers(port, "replaced") >= 3 * len(ASKED), what="answers are not refreshed")
    assert counter(port, "emostream_warm_gate_open") == 1
    begin = time.monotonic()
    warmer._process.terminate()
    assert warmer.wait(TIMEOUT_S) == 0
    assert time.monotonic() - begin < STOP_S


async def test_a_closed_gate_keeps_it_from_working(
    start: Callable[..., Role], store: WindowStore, settings: Settings
) -> None:
    """Others always use a hundred-thousandth of the machine: here the servers and the tests."""
    await fill(store, settings)
    await ask_for(settings, ASKED)
    port = free_port()
    warmer = start("warm", EMOSTREAM_WARM_WEB_PORT=str(port), EMOSTREAM_WARM_CPU_PERCENT="0.001")
    wait_for(lambda: counter(port, "emostream_warm_others_cpu") > 0, what="no load is measured")
    assert counter(port, "emostream_warm_gate_open") == 0
    assert counter(port, "emostream_warm_rounds_total") == 0
    assert warmer.stop() == 0
    client = connect(settings.redis_url.get_secret_value(), cluster=False)
    assert [key async for key in client.scan_iter(f"{settings.redis_prefix}:answer:*")] == []
    await client.aclose()


async def test_it_waits_for_redis_and_says_so_once(
    start: Callable[..., Role], store: WindowStore, settings: Settings, own_stack: LocalStack
) -> None:
    await fill(store, settings)
    await ask_for(settings, ASKED)
    port = free_port()
    address = settings.redis_url.get_secret_value()
    warmer = start(
        "warm",
        "--force",
        EMOSTREAM_WARM_WEB_PORT=str(port),
        EMOSTREAM_QUERY_FRESH_S="2",
        # A round that fails has three tries, so it still takes longer than STOP_S.
        EMOSTREAM_REDIS_URL=f"{address}{'&' if '?' in address else '?'}socket_timeout=2",
    )
    wait_for(lambda: answers(port, "replaced") > 0, what="answers are not refreshed")
    own_stack.signal("redis", signal.SIGSTOP)
    try:
        wait_for(lambda: counter(port, "emostream_warm_failed_rounds_total") >= 2, what="Redis is not missed")
    finally:
        own_stack.signal("redis", signal.SIGCONT)
    before = answers(port, "replaced")
    wait_for(lambda: answers(port, "replaced") > before, what="answers are not refreshed again")
    # The log says so when the round ends, which is after its first answer.
    again = "answers are refreshed again"
    wait_for(lambda: again in warmer.log.read_text("utf-8"), what="the log does not say it")
    log = warmer.log.read_text("utf-8")
    assert (log.count("no answers are refreshed now"), log.count(again)) == (1, 1)

    own_stack.signal("redis", signal.SIGSTOP)
    try:
        missed = counter(port, "emostream_warm_failed_rounds_total")
        wait_for(lambda: counter(port, "emostream_warm_failed_rounds_total") > missed, what="Redis is not missed")
        begin = time.monotonic()
        warmer._process.terminate()
        assert warmer.wait(TIMEOUT_S) == 0
        assert time.monotonic() - begin < STOP_S
    finally:
        own_stack.signal("redis", signal.SIGCONT)


async def test_once_without_redis_is_an_error_of_one_line(start: Callable[..., Role], settings: Settings) -> None:
    warmer = start("warm", "--once", "--force", EMOSTREAM_REDIS_URL="redis://127.0.0.1:9")
    assert warmer.wait(TIMEOUT_S) == 1
    lines = [line for line in warmer.log.read_text("utf-8").splitlines() if line.startswith("emostream: error")]
    assert len(lines) == 1
    assert "Redis did not answer" in lines[0]
