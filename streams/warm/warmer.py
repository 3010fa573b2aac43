"""Refreshes answers in rounds, one answer at a time, and each of them only while the gate is open.

A round has these steps:

1. Choose the questions: those with the highest demand, and the keywords that rise fastest.
2. Look at their answers in the cache. An answer is due if it is absent, or will be stale or may have expired before the
   next round looks at it.
3. For each one that is due, the one with the highest demand first: wait until the gate is open, look whether it is
   still due, compute it, and store it unless the old one is better (`due.replaces`).

The warmer reads windows and history only. It does not search networks: their limits on requests belong to questions
that somebody waits for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.errors import ConnectorError
from streams.errors import DeadlineExceededError
from streams.gate.cpu_aware import CLOSED_POLL_S, Gate
from streams.query.answer_store import Entry
from streams.query.cached_engine import CachedEngine
from streams.query.demand import Demand
from streams.query.question import Question
from streams.query.rising import rising
from streams.query.windows import KeywordWindows
from streams.warm.due import interval_s, is_due, replaces
from streams.warm.metrics import WarmMetrics

logger = logging.getLogger(__name__)

RISING_S = 60.0
"""Seconds after which the keywords that rise fastest are looked for again. It reads the windows of 300 keywords."""

TELL_S = 5.0
"""Seconds of waiting for the gate after which the log tells of it."""

_RISING_SHARE = 5
"""The keywords that rise are this part of the questions that are asked for most."""


@dataclass
class Round:
    """What a round did.

    Attributes:
        questions: the questions that were looked at.
        results: answers by result: `fresh`, a value of `streams.query.read_through.Refreshed`, or `failed`.
        waited_s: seconds that it waited for the gate.
    """

    questions: int = 0
    results: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0

    def __str__(self) -> str:
        results = ", ".join(f"{result}: {count}" for result, count in sorted(self.results.items())) or "none"
        return f"answers looked at: {self.questions} ({results}), waited for the gate: {self.waited_s:.1f} s"


class Warmer:
    """Refreshes answers. Call `run_round` from one task at a time."""

    def __init__(
        self,
        engine: CachedEngine,
        demand: Demand,
        windows: KeywordWindows,
        gate: Gate,
        metrics: WarmMetrics,
        *,
        keywords: int,
        lifetime_s: float,
        searches: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the rounds.

        Args:
            engine: answers questions, and stores the answers.
            demand: tells which questions are asked for most.
            windows: tells which keywords rise fastest.
            gate: says whether an answer may be refreshed now. It is entered.
            metrics: counts what is done.
            keywords: the most questions that are refreshed because they are asked for most.
            lifetime_s: seconds for which an answer is good; see `due.lifetime_s`.
            searches: whether the HTTP service searches for posts if there are too few.
            clock: seconds since 1970.
        """
        self._engine = engine
        self._demand = demand
        self._windows = windows
        self._gate = gate
        self._metrics = metrics
        self._keywords = keywords
        self._lifetime_s = lifetime_s
        self._searches = searches
        self._clock = clock
        self.interval_s = interval_s(lifetime_s)
        """Seconds between the starts of two rounds."""
        self._last_round_s = 0.0
        self._rising: list[Question] = []
        self._rising_at = -RISING_S
        self._kept_until: dict[Question, float] = {}

    async def run_round(self) -> Round:
        """Refresh the answers that are due now.

        Raises:
            ConnectorError: Redis does not answer, or neither Redis nor Postgres does.
            LoadError: The load of the machine can no longer be measured.
        """
        begin = time.monotonic()
        done = Round()
        await self._wait_for_gate(done)
        questions = await self._questions()
        done.questions = len(questions)
        for question, entry in zip(questions, await self._engine.look(questions), strict=True):
            if self._is_kept(question):
                result = "kept"
            else:
                result = await self._refresh(question, done) if self._is_due(entry) else "fresh"
            done.results[result] += 1
            self._metrics.answers.labels(result).inc()
        self._last_round_s = time.monotonic() - begin
        self._metrics.rounds.inc()
        return done

    async def _questions(self) -> list[Question]:
        """Do step 1."""
        asked = [one.question for one in await self._demand.top(self._keywords)]
        if time.monotonic() - self._rising_at >= RISING_S:
            most = max(1, self._keywords // _RISING_SHARE)
            found = await rising(self._windows, most)
            # The keywords come from the windows, so they need no check.
            self._rising = [Question(keyword=one.row[0].keyword) for one in found]
            self._rising_at = time.monotonic()
        questions = list(dict.fromkeys([*asked, *self._rising]))
        self._kept_until = {one: self._kept_until[one] for one in questions if one in self._kept_until}
        return questions

    def _is_kept(self, question: Question) -> bool:
        """Returns whether a new answer did not replace the old one lately, so that another would hardly do so."""
        return self._clock() < self._kept_until.get(question, 0)

    def _is_due(self, entry: Entry | None) -> bool:
        next_look_s = self.interval_s + self._last_round_s
        return is_due(entry, now_ms=self._clock() * 1_000, lifetime_s=self._lifetime_s, next_look_s=next_look_s)

    async def _refresh(self, question: Question, done: Round) -> str:
        """Do step 3 for one question, and return the result."""
        await self._wait_for_gate(done)
        try:
            result = await self._engine.refresh(
                question,
                is_due=self._is_due,
                replaces=lambda old, new: replaces(old, new, limit=question.limit, searches=self._searches),
            )
        except DeadlineExceededError as exc:
            logger.warning("an answer was not refreshed: %s", exc)
            return "failed"
        except ConnectorError:
            self._metrics.answers.labels("failed").inc()
            raise
        if result == "kept":
            self._kept_until[question] = self._clock() + self._lifetime_s
        return result

    async def _wait_for_gate(self, done: Round) -> None:
        begin = time.monotonic()
        told = False
        while not self._gate.is_open():
            await asyncio.sleep(CLOSED_POLL_S)
            if not told and time.monotonic() - begin > TELL_S:
                told = True
                logger.info("other programs use the CPU, so the warmer waits (EMOSTREAM_WARM_CPU_PERCENT)")
        waited_s = time.monotonic() - begin
        done.waited_s += waited_s
        self._metrics.waited.inc(waited_s)
