"""The engine without servers: what it does when time runs out. `tests/integration/test_answers*.py` has the servers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import cast

import pytest

from connectors.deadline import Deadline
from connectors.errors import RejectedError, UnavailableError
from streams.query.engine import Engine
from streams.query.errors import NoAnswerError
from streams.query.fetch_protocol import Fetch, Fetched
from streams.query.history import HistoryReader, HistorySums
from streams.query.question import Question
from streams.query.span import Span
from streams.query.sums import LabelSum, Sums
from streams.query.windows import KeywordWindows, SpanRows
from streams.window_sizes import parse_sizes
from tests.helpers import NOON_MS, until

TEA = Question.of("tea", limit=1)


class Tables:
    """Window tables that are complete and have no windows, or that never answer."""

    def __init__(self) -> None:
        self.answers = True
        self.asked = 0
        self.complete_from: int | None = 0

    async def in_span(self, keyword: str, span: Span) -> SpanRows:
        self.asked += 1
        if not self.answers:
            await asyncio.Event().wait()
        return SpanRows([], self.complete_from, -1, NOON_MS)


class Past:
    """A history with one post, or one that fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    async def in_span(self, keyword: str, span: Span, deadline: Deadline, known: Collection[int] = ()) -> HistorySums:
        if self.failure is not None:
            raise self.failure
        return HistorySums(Sums({"joy": LabelSum(1, 0.5)}), NOON_MS)


def engine_of(tables: Tables, past: Past, fetch: Fetch | None = None) -> Engine:
    return Engine(
        windows=cast(KeywordWindows, tables),
        history=cast(HistoryReader, past),
        sizes=parse_sizes("1h:30d"),
        labels=lambda: ["joy"],
        fetch=fetch,
        now_ms=lambda: NOON_MS,
    )


async def test_a_search_that_does_not_end_at_the_deadline_is_given_up() -> None:
    async def never(question: Question, deadline: Deadline) -> Fetched | None:
        await asyncio.Event().wait()
        return None

    answer = await engine_of(Tables(), Past(), never).answer(TEA, Deadline(0.05))
    assert (answer.source, answer.count, answer.complete) == ("windows", 0, True)
    assert answer.notes == ["The windows have fewer than 1 posts, and the search for more took too long."]


async def test_redis_is_not_asked_for_a_moment_after_it_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables()
    tables.answers = False
    engine = engine_of(tables, Past())
    monkeypatch.setattr("streams.query.engine.TABLES_S", 0.2)
    for _ in range(3):
        assert (await engine.answer(TEA, Deadline(1_000))).source == "history"
    assert tables.asked == 1


async def test_a_short_deadline_says_nothing_about_redis() -> None:
    tables = Tables()
    tables.answers = False
    engine = engine_of(tables, Past())
    assert (await engine.answer(TEA, Deadline(0.01))).source == "history"
    tables.answers = True
    assert (await engine.answer(TEA, Deadline(1_000))).source == "windows"


async def test_a_history_that_refuses_is_named_too() -> None:
    tables = Tables()
    tables.answers = False
    engine = engine_of(tables, Past(RejectedError("PostgreSQL refused")))
    with pytest.raises(NoAnswerError, match=r"Redis did not answer within 0\.0 s; PostgreSQL refused"):
        await engine.answer(TEA, Deadline(0.01))


async def test_a_question_that_is_cancelled_leaves_redis_to_the_others() -> None:
    tables = Tables()
    tables.answers = False
    engine = engine_of(tables, Past())
    asking = asyncio.create_task(engine.answer(TEA, Deadline(1_000)))
    await until(lambda: tables.asked == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    tables.answers = True
    assert (await engine.answer(TEA, Deadline(1_000))).source == "windows"


async def test_empty_tables_without_a_history_are_no_answer() -> None:
    tables, past = Tables(), Past()
    tables.complete_from = None
    engine = engine_of(tables, past)
    answer = await engine.answer(TEA, Deadline(1_000))
    assert (answer.source, answer.count, answer.complete) == ("history", 1, False)
    past.failure = UnavailableError("PostgreSQL did not answer")
    with pytest.raises(NoAnswerError, match=r"the window tables in Redis are empty, .*: PostgreSQL did not answer"):
        await engine.answer(TEA, Deadline(1_000))
