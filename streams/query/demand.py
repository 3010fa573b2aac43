"""The demand: how often each question is asked, over all processes, where a question counts half after each half-life.

A process counts its questions in memory (`DemandCounter`) and adds them up in Redis every few seconds
(`DemandWriter`), so that a question costs no command of its own. Counts that a process has not written when it is
killed are lost.

Redis holds a score for each question, by *forward decay* (Cormode, Shkapenyuk, Srivastava and Xu: Forward Decay: A
Practical Time Decay Model for Streaming Systems, ICDE 2009). A question at the time t adds to its score

    2 ** ((t - landmark) / half_life)

and the demand at a later time is the score, divided by the same term for that time. So the scores keep their order
while time passes, and nothing needs to be written for questions that nobody asks. `lua/demand.lua` moves the landmark
before the scores become too large, and when the half-life is another one.

Only questions about the default span count. A question with a start has an answer that hardly anybody shares.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from connectors.errors import ConnectorError, UnavailableError
from connectors.redis import RedisClient, redis_errors
from streams.query.errors import QuestionError
from streams.query.metrics import CacheMetrics
from streams.query.question import Question

logger = logging.getLogger(__name__)

MOST_COUNTED = 10_000
"""Different questions that a process counts between two writes. Further ones do not count."""

MOST_KEPT = 10_000
"""Questions that Redis keeps: those with the highest demand."""

LEAST_DEMAND = 0.1
"""A question with a smaller demand is not reported. One that was asked once has it after 3.3 half-lives."""

KEPT_HALF_LIVES = 32
"""Half-lives after the last question after which Redis forgets all of them."""

WRITE_S = 5.0
"""Seconds between two writes of a process."""

TIMEOUT_S = 1.0
"""Seconds for one write."""

_AT_ONCE = 500
"""Questions of one script. It takes about a millisecond, in which Redis serves no other client."""

Counts = dict[tuple[int, str], int]
"""How often questions were asked, by limit and keyword."""


class Asked(NamedTuple):
    """A question, and how often it was asked, where each time counts half after a half-life."""

    question: Question
    demand: float


def decayed(score: float, *, landmark: float, half_life_s: float, now: float) -> float:
    """Returns the demand of a score at a time; times are seconds since 1970. It is infinite rather than an error."""
    try:
        return score * math.pow(2.0, (landmark - now) / half_life_s)
    except OverflowError:
        return math.inf


def member_of(limit: int, keyword: str) -> str:
    """Returns the member of the sorted set for a question."""
    return f"{limit} {keyword}"


def question_of(member: str) -> Question | None:
    """Returns the question of a member; None if another program has written it."""
    limit, _, keyword = member.partition(" ")
    try:
        question = Question.of(keyword, limit=int(limit))
    except (QuestionError, ValueError):
        return None
    return question if member_of(question.limit, question.keyword) == member else None


class DemandCounter:
    """Counts the questions of this process between two writes."""

    def __init__(self, most: int = MOST_COUNTED) -> None:
        """Begin with no question. `most` different ones are counted."""
        self._most = most
        self._counts: Counts = {}

    def asked(self, question: Question) -> None:
        """Count a question, unless it has a start."""
        if question.since is None:
            self._add((question.limit, question.keyword), 1)

    def take(self) -> Counts:
        """Returns what was counted since the last call."""
        taken, self._counts = self._counts, {}
        return taken

    def put_back(self, counts: Mapping[tuple[int, str], int]) -> None:
        """Add counts that could not be written."""
        for key, count in counts.items():
            self._add(key, count)

    def _add(self, key: tuple[int, str], count: int) -> None:
        if key in self._counts:
            self._counts[key] += count
        elif len(self._counts) < self._most:
            self._counts[key] = count


class Demand:
    """The demand in Redis."""

    def __init__(
        self,
        redis: RedisClient,
        *,
        prefix: str,
        half_life_s: float,
        most: int = MOST_KEPT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the reads and writes.

        Args:
            redis: A client that decodes replies. The caller closes it.
            prefix: The setting `redis_prefix`.
            half_life_s: Seconds after which a question counts half.
            most: Questions that are kept.
            clock: Seconds since 1970.
        """
        self._redis = redis
        # The hash tag puts both keys on one node of a cluster.
        self._scores, self._state = f"{prefix}:{{demand}}:scores", f"{prefix}:{{demand}}:state"
        self._half_life_s = half_life_s
        self._most = most
        self._clock = clock
        self._script = redis.register_script(files("streams.query").joinpath("lua/demand.lua").read_text("utf-8"))

    async def add(self, counts: Mapping[tuple[int, str], int]) -> None:
        """Add questions that were asked.

        Raises:
            UnavailableError: Redis does not answer; some of the questions may have been added.
            RejectedError: Redis refuses the call.
        """
        expiry_s = math.ceil(max(60.0, KEPT_HALF_LIVES * self._half_life_s))
        all_of_them = list(counts.items())
        for start in range(0, len(all_of_them), _AT_ONCE):
            some = all_of_them[start : start + _AT_ONCE]
            pairs = [part for (limit, keyword), count in some for part in (member_of(limit, keyword), count)]
            arguments = [repr(self._clock()), repr(self._half_life_s), self._most, expiry_s, *pairs]
            with redis_errors("adding to the demand"):
                await self._script(keys=[self._scores, self._state], args=arguments)

    async def top(self, limit: int) -> list[Asked]:
        """Returns the questions with the highest demand, the highest first, at most `limit`.

        Raises:
            UnavailableError: Redis does not answer.
            RejectedError: Redis refuses the call.
        """
        with redis_errors("reading the demand"):
            state = await self._redis.hmget(self._state, ["landmark", "half_life"])
            scores: Any = await self._redis.zrevrange(self._scores, 0, limit - 1, withscores=True)
        if state[0] is None or state[1] is None:
            return []
        landmark, half_life_s, now = float(state[0]), float(state[1]), self._clock()
        found = []
        for member, score in scores:
            demand = decayed(score, landmark=landmark, half_life_s=half_life_s, now=now)
            if demand >= LEAST_DEMAND and (question := question_of(member)) is not None:
                found.append(Asked(question, demand))
        return found


class DemandWriter:
    """Writes the counts of this process every few seconds, and once at the end. It is an async context manager."""

    def __init__(
        self, demand: Demand, metrics: CacheMetrics, *, write_s: float = WRITE_S, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Prepare the writer.

        Args:
            demand: Where the counts are written.
            metrics: Counts the writes that failed.
            write_s: Seconds between two writes.
            timeout_s: Seconds for one write.
        """
        self._demand = demand
        self._failures = metrics.demand_failures
        self._write_s = write_s
        self._timeout_s = timeout_s
        self._failing = False
        self._counter = DemandCounter()
        self.asked = self._counter.asked

    async def __aenter__(self) -> DemandWriter:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.write()

    async def write(self) -> None:
        """Write what was counted. If that fails, it is written the next time, and what had arrived counts twice."""
        counts = self._counter.take()
        if not counts:
            return
        try:
            await self._add(counts)
        except ConnectorError as exc:
            self._failures.inc()
            self._counter.put_back(counts)
            if not self._failing:
                logger.warning("the demand for answers is not counted: %s", exc)
            self._failing = True
        except BaseException:
            self._counter.put_back(counts)
            raise
        else:
            self._failing = False

    async def _add(self, counts: Counts) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._demand.add(counts)
        except TimeoutError as exc:
            raise UnavailableError(f"Redis did not answer within {self._timeout_s:g} s") from exc

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._write_s)
            await self.write()
