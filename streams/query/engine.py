"""Answers a question from the window tables, the history, and a search for posts.

**Answer**, for each question (`Engine.answer`):

1. Choose the windows that cover its span (`span`).
2. Read those that the window tables have.
3. Read from the history those that the tables may lack: they are older than the tables, or Redis does not answer. A
   window that both have is taken from the tables, which are newer.
4. If there are fewer posts than the limit of the question, search for some. If more are found than the windows have,
   they are the answer.

| what fails | what the answer is | `complete` |
|---|---|---|
| Redis | all windows from the history, where the newest posts may be missing | false |
| Postgres | the windows that the tables have; `since` is later, if older ones are missing | false, if they are |
| both, or Postgres while the tables are empty | none: `NoAnswerError` | |
| the search | the windows | as without it |

Each failure is a sentence in the notes of the answer. The log has the error, once until the part works again. After a
failure Redis is not asked for a moment (`circuit_breaker`), so that few answers wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from connectors.deadline import Deadline
from connectors.errors import ConnectorError, UnavailableError
from models.errors import ModelError
from streams.query.answer import Answer, AnswerSource, make_answer
from streams.query.circuit_breaker import CircuitBreaker
from streams.query.errors import NoAnswerError
from streams.query.fetch_protocol import Fetch, Fetched
from streams.query.history import HistoryReader, HistorySums
from streams.query.question import Question
from streams.query.span import Span, choose_span, first_held
from streams.query.sums import Sums
from streams.query.windows import KeywordWindows, SpanRows, sum_windows
from streams.records import Timestamp, from_ms
from streams.window_sizes import WindowSize

log = logging.getLogger(__name__)

TABLES_SHARE = 0.4
"""The part of the time that is left after which Redis is given up, so that the history can still be read."""

TABLES_S = 2.0
"""The most seconds that an answer waits for Redis."""

_TIME_FOR_REDIS_S = 0.2
"""A limit shorter than this says nothing about Redis if it is exceeded."""

_GRACE_S = 0.5
"""Seconds after the deadline in which a search may return what it has."""


@dataclass(frozen=True)
class _Counted:
    """What was counted of a span: sums, where they come from, how far they reach, and what they lack."""

    sums: Sums
    source: AnswerSource
    since: int
    as_of: int | None
    complete: bool = True
    notes: list[str] = field(default_factory=list)


class Engine:
    """Answers questions. Tasks may share it. It keeps no answers."""

    def __init__(
        self,
        *,
        windows: KeywordWindows,
        history: HistoryReader,
        sizes: Sequence[WindowSize],
        labels: Callable[[], Sequence[str]],
        fetch: Fetch | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Create an engine.

        Args:
            windows: reads the window tables.
            history: reads the history.
            sizes: the sizes of the windows, with their retention.
            labels: returns the labels of the models that serve now. Each has a row in an answer.
            fetch: searches for posts; None if no source is configured.
            now_ms: the clock, in ms since 1970.
        """
        self._windows = windows
        self._history = history
        self._sizes = tuple(sizes)
        self._labels = labels
        self._fetch = fetch
        self._now_ms = now_ms
        self._breaker = CircuitBreaker()
        self._failing: set[str] = set()

    async def answer(self, question: Question, deadline: Deadline) -> Answer:
        """Answer a question by a deadline, with what can be read until then.

        Raises:
            QuestionError: The start of the question lies in the future.
            NoAnswerError: Neither Redis nor Postgres can be read, or Postgres cannot and the tables are empty.
        """
        since_ms = None if question.since is None else question.since.ms
        span = choose_span(self._sizes, since_ms=since_ms, now_ms=self._now_ms())
        counted = await self._count(question.keyword, span, deadline)
        if counted.sums.count < question.limit:
            counted = await self._search(question, counted, deadline)
        return make_answer(
            question,
            counted.sums,
            labels=self._labels(),
            source=counted.source,
            as_of=_moment(counted.as_of),
            since=from_ms(counted.since),
            complete=counted.complete,
            notes=counted.notes,
        )

    async def _count(self, keyword: str, span: Span, deadline: Deadline) -> _Counted:
        """Do steps 2 and 3."""
        try:
            found = await self._read_tables(keyword, span, deadline)
        except ConnectorError as exc:
            self._warn("Redis", f"answers come from the history alone: {exc}")
            return await self._count_without_tables(keyword, span, deadline, exc)
        self._failing.discard("Redis")
        held = min(span.end, _first_held(span, found))
        if held <= span.start:
            return _Counted(sum_windows(row for _, row in found.rows), "windows", span.start, found.watermark)
        return await self._count_with_history(keyword, span, deadline, found, held)

    async def _read_tables(self, keyword: str, span: Span, deadline: Deadline) -> SpanRows:
        """Read the windows that the tables have. If Redis did not answer moments ago, it is not asked.

        Raises:
            ConnectorError: Redis does not answer in time, or refuses the call.
        """
        if not self._breaker.allows():
            raise UnavailableError("Redis was not asked for the windows of a keyword: it did not answer moments ago")
        limit_s = min(TABLES_S, deadline.left_s * TABLES_SHARE)
        try:
            async with asyncio.timeout(limit_s):
                found = await self._windows.in_span(keyword, span)
        except TimeoutError as exc:
            self._breaker.failed() if limit_s >= _TIME_FOR_REDIS_S else self._breaker.cancelled()
            raise UnavailableError(f"Redis did not answer within {limit_s:.1f} s") from exc
        except UnavailableError:
            self._breaker.failed()
            raise
        except BaseException:
            self._breaker.cancelled()
            raise
        self._breaker.succeeded()
        return found

    async def _count_without_tables(
        self, keyword: str, span: Span, deadline: Deadline, failure: ConnectorError
    ) -> _Counted:
        """Count all windows from the history, because Redis does not answer."""
        try:
            history = await self._history.in_span(keyword, span, deadline)
        except ConnectorError as exc:
            raise NoAnswerError(f"neither the window tables nor the history can be read: {failure}; {exc}") from exc
        note = (
            "Redis did not answer, so the posts are counted from the history, which Postgres gets with a delay; the "
            "newest posts may be missing."
        )
        return _Counted(history.sums, "history", span.start, history.newest, False, [note])

    async def _count_with_history(
        self, keyword: str, span: Span, deadline: Deadline, found: SpanRows, held: int
    ) -> _Counted:
        """Count the windows that start before `held` from the history, unless the tables have them."""
        notes, complete = [], True
        known = [key.start for key, _ in found.rows if key.start < held]
        older = replace(span, end=held)
        try:
            history = await self._history.in_span(keyword, older, deadline, known)
        except ConnectorError as exc:
            if found.complete_from is None:
                raise NoAnswerError(
                    f"the window tables in Redis are empty, and the history cannot be read: {exc}"
                ) from exc
            self._warn("Postgres", f"answers come from the window tables alone: {exc}")
            notes.append(
                f"Postgres did not answer, so the posts that were created before {from_ms(held).rfc3339()} are missing."
            )
            rows = [row for key, row in found.rows if key.start >= held]
            return _Counted(sum_windows(rows), "windows", held, found.watermark, False, notes)
        self._failing.discard("Postgres")
        if found.complete_from is None:
            complete = False
            notes.append(
                "The window tables in Redis are empty, so the posts are counted from the history, which Postgres gets "
                "with a delay; the newest posts may be missing."
            )
        elif history.newest is None or history.newest < held - span.size * 1_000:
            complete = False
            notes.append(_behind(history, held))
        sums = Sums.total([sum_windows(row for _, row in found.rows), history.sums])
        as_of = history.newest if found.watermark is None else found.watermark
        return _Counted(sums, "history", span.start, as_of, complete, notes)

    async def _search(self, question: Question, counted: _Counted, deadline: Deadline) -> _Counted:
        """Do step 4."""
        if self._fetch is None:
            note = (
                f"The windows have fewer than {question.limit} posts, and no source is configured to search for more."
            )
            return replace(counted, notes=[*counted.notes, note])
        found: Fetched | None = None
        try:
            async with asyncio.timeout(deadline.left_s + _GRACE_S):
                found = await self._fetch(question, deadline)
        except (ConnectorError, ModelError) as exc:
            self._warn("search", f"the search for posts failed: {exc}")
            note = f"The windows have fewer than {question.limit} posts, and the search for more failed."
        except TimeoutError:
            note = f"The windows have fewer than {question.limit} posts, and the search for more took too long."
        else:
            note = f"The windows have fewer than {question.limit} posts, and no source can search for more."
        if found is None:
            return replace(counted, notes=[*counted.notes, note])
        self._failing.discard("search")
        if found.sums.count <= counted.sums.count:
            note = f"The windows have fewer than {question.limit} posts, and a search found no more than they have."
            return replace(counted, notes=[*counted.notes, note, *found.notes])
        since = counted.since if found.since is None else min(counted.since, found.since.ms)
        return _Counted(found.sums, "inference", since, self._now_ms(), found.complete, list(found.notes))

    def _warn(self, part: str, message: str) -> None:
        """Log that a part fails: once, and not for every answer until it works again."""
        if part not in self._failing:
            self._failing.add(part)
            log.warning("%s", message)


def _first_held(span: Span, found: SpanRows) -> int:
    """Returns the start of the first window from which on the tables have every window that has posts."""
    if found.complete_from is None:
        return span.end
    return first_held(span.size, complete_from=found.complete_from, expired_to=found.expired_to)


def _behind(history: HistorySums, held: int) -> str:
    until = "is empty" if history.newest is None else f"ends at {from_ms(history.newest).rfc3339()}"
    return (
        f"The history in Postgres {until}, so posts that were created before {from_ms(held).rfc3339()} may be missing."
    )


def _moment(ms: int | None) -> Timestamp | None:
    return None if ms is None else from_ms(ms)
