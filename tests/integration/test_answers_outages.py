"""Answers while Redis, Postgres or both are stopped, killed or paused."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from connectors.local import LocalStack
from streams.query.answer import Answer
from streams.query.engine import Engine
from streams.query.errors import NoAnswerError
from streams.records import from_ms
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.answer_support import HOUR, NOW, START, ask, count, counts, engine_of, expire, post, sink
from tests.integration.own_servers import endpoints
from tests.integration.support import TIMEOUT_S

__all__ = ["endpoints"]  # a fixture


BEHIND = (
    "Redis did not answer, so the posts are counted from the history, which Postgres gets with a delay; the newest "
    "posts may be missing."
)
OLDER_MISSING = "Postgres did not answer, so the posts that were created before 2026-03-01T16:00:00.000Z are missing."


@pytest.fixture(autouse=True)
def running(own_stack: LocalStack, settings: Settings) -> Iterator[None]:
    """Starts what a test has stopped, before the test's database is dropped."""
    yield
    own_stack.up()


@pytest.fixture
async def engine(settings: Settings, store: WindowStore) -> AsyncIterator[Engine]:
    """Counts ten hours with a post each. The tables have those from 4 o'clock on, and another one that is newer."""
    await count(store, settings, [post(hour, START + hour * HOUR, "tea") for hour in range(10)])
    await sink(store, settings)
    await expire(store, START + 4 * HOUR)
    await count(store, settings, [post(10, NOW, "tea", label="fear")])
    async with engine_of(settings) as opened:
        yield opened


async def until_complete(engine: Engine) -> Answer:
    """Ask until nothing is missing."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            with contextlib.suppress(NoAnswerError):
                if (answer := await ask(engine, "tea", since_ms=START)).complete:
                    return answer
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP])
async def test_while_redis_is_away_answers_come_from_the_history(
    own_stack: LocalStack, engine: Engine, stop: signal.Signals
) -> None:
    assert (await ask(engine, "tea", since_ms=START)).count == 11
    own_stack.signal("redis", stop)
    try:
        for _ in range(2):  # the second one does not wait for Redis
            answer = await ask(engine, "tea", since_ms=START)
            assert (answer.source, counts(answer), answer.complete) == ("history", {"joy": 10}, False)
            assert (answer.notes, answer.since, answer.as_of) == ([BEHIND], from_ms(START), from_ms(START + 9 * HOUR))
    finally:
        if stop == signal.SIGSTOP:
            own_stack.signal("redis", signal.SIGCONT)
    own_stack.start("redis")
    assert (await until_complete(engine)).count == 11


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGSTOP])
async def test_while_postgres_is_away_answers_come_from_the_window_tables(
    own_stack: LocalStack, engine: Engine, stop: signal.Signals
) -> None:
    assert (await ask(engine, "tea", since_ms=START)).count == 11
    own_stack.signal("postgres", stop)
    try:
        answer = await ask(engine, "tea", since_ms=START, seconds=3)
        assert (answer.source, counts(answer), answer.complete) == ("windows", {"joy": 6, "fear": 1}, False)
        assert (answer.notes, answer.since) == ([OLDER_MISSING], from_ms(START + 4 * HOUR))
        # A question that the tables can answer does not notice.
        answer = await ask(engine, "tea", since_ms=START + 4 * HOUR)
        assert (answer.source, answer.count, answer.complete, answer.notes) == ("windows", 7, True, [])
    finally:
        if stop == signal.SIGSTOP:
            own_stack.signal("postgres", signal.SIGCONT)
    own_stack.start("postgres")
    assert (await until_complete(engine)).count == 11


async def test_while_both_are_away_the_error_names_both(own_stack: LocalStack, engine: Engine) -> None:
    own_stack.signal("redis", signal.SIGKILL)
    own_stack.signal("postgres", signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(NoAnswerError, match=r"^neither the window tables .*Redis.*; PostgreSQL did not answer"):
            await ask(engine, "tea", seconds=3)
    own_stack.start("postgres")
    own_stack.start("redis")
    assert (await until_complete(engine)).count == 11


async def test_many_questions_at_once_share_the_time_limits(own_stack: LocalStack, engine: Engine) -> None:
    own_stack.signal("redis", signal.SIGSTOP)
    try:
        answers = await asyncio.gather(*(ask(engine, "tea", since_ms=START, seconds=60) for _ in range(100)))
    finally:
        own_stack.signal("redis", signal.SIGCONT)
    assert {(answer.source, answer.count, answer.complete) for answer in answers} == {("history", 10, False)}
