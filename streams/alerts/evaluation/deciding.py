"""Hands windows to the engine in the right order, with the hours that it wants, and collects what it decides."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from streams.alerts.engine.engine import Closed, Engine, Opened, RevisedRule, SeriesKey, SeriesState
from streams.alerts.engine.measure import Reading
from streams.alerts.evaluation.held import HeldWindows, Place, Provisional, Span
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.alerts.evaluation.progress import Decisions
from streams.alerts.evaluation.tables import AlertTables, NotYetError
from streams.alerts.rules.rule import EACH_KEYWORD, Direction, Rule, Volume
from streams.alerts.storage.stored import StoredRule
from streams.records import ALL_KEYWORDS

logger = logging.getLogger(__name__)

PATIENCE_MS = 60_000
"""How long a span that is ready waits for a window of a named keyword that Redis does not know yet. It then is no data,
so that a shard that stands still does not stop all alerts."""


class Deciding:
    """The engine, the windows that it waits for, and the decisions that are not written yet.

    After an exception it is of no use: the engine may have taken windows whose decisions are lost. Its owner makes
    another one from what Postgres has.
    """

    def __init__(
        self,
        rules: Sequence[StoredRule],
        states: Mapping[SeriesKey, SeriesState],
        ticks: Mapping[int, int],
        *,
        tables: AlertTables,
        metrics: AlertMetrics,
        hold_ms: int,
    ) -> None:
        """Continue from what Postgres has. `hold_ms` is that of `HeldWindows`."""
        self._tables = tables
        self._metrics = metrics
        self._held = HeldWindows(hold_ms)
        self._provisional = Provisional()
        self._waiting_since: dict[tuple[int, int], int] = {}
        self._opened: list[tuple[Opened, Rule]] = []
        self._closed: list[Closed] = []
        revised = _revised(rules)
        self._engine = Engine(revised, states, ticks)
        self._stored_ticks = self._ticks = self._engine.ticks
        self.replace(rules)

    def replace(self, rules: Sequence[StoredRule]) -> None:
        """Use these rules from now on. It ends the incidents of rules that are gone or changed."""
        revised = _revised(rules)
        self._rules = {one.rule.id: one.rule for one in revised}
        self._metrics.rules.set(len(revised))
        watched: dict[int, set[str]] = {}
        for rule in self._rules.values():
            watched.setdefault(rule.window_s, {ALL_KEYWORDS}).update(
                [EACH_KEYWORD] if rule.keywords == EACH_KEYWORD else rule.keywords
            )
        self._each = {rule.window_s for rule in self._rules.values() if rule.keywords == EACH_KEYWORD}
        self._named = {
            size: {
                word
                for rule in self._rules.values()
                if rule.window_s == size and rule.keywords != EACH_KEYWORD
                for word in rule.keywords
            }
            - {ALL_KEYWORDS}
            for size in watched
        }
        self._growing = [
            rule
            for rule in self._rules.values()
            if isinstance(rule.measure, Volume) and rule.condition.direction is Direction.ABOVE
        ]
        self._collect(self._engine.replace(revised))

    def watches(self, keyword: str, size: int) -> bool:
        """Returns whether any rule needs a window: one of a watched keyword, or of all posts."""
        named = self._named.get(size)
        return named is not None and (keyword == ALL_KEYWORDS or keyword in named or size in self._each)

    def add(self, reading: Reading, place: Place) -> None:
        """Take a window that was read, for which `watches` is true."""
        if reading.end <= self._ticks.get(reading.size, 0):
            if reading.final:
                self._metrics.late.inc()
        elif reading.final:
            self._held.add(reading, place)
            self._provisional.add(reading)
        elif any(rule.window_s == reading.size and rule.watches(reading.keyword) for rule in self._growing):
            self._provisional.add(reading)

    async def look(self, rules: Collection[str], now_ms: int) -> None:
        """Take the windows that fill now from Redis, for rules that were added or changed: their records were passed.

        Only a volume above a limit can begin an incident before a window is final, and only named keywords are looked
        at. For other rules the next window is early enough.

        Args:
            rules: the ids of the rules.
            now_ms: the time in ms since 1970.

        Raises:
            ConnectorError: Redis does not answer, or rejects the call.
        """
        growing = [rule for rule in self._growing if rule.id in rules and rule.keywords != EACH_KEYWORD]
        for size, keyword in sorted({(rule.window_s, keyword) for rule in growing for keyword in rule.keywords}):
            for reading in await self._tables.filling(keyword, size, now_ms):
                self._provisional.add(reading)

    async def decide(self, now_ms: int, until_ms: int | None) -> bool:
        """Decide the spans that are ready, and then what provisional windows can decide.

        Returns whether any span was decided.

        Args:
            now_ms: the time in ms since 1970.
            until_ms: the time of publication up to which all partitions were read; None for their ends.

        Raises:
            ConnectorError: Redis does not answer, or rejects the call.
        """
        stopped: set[int] = set()
        has_decided = False
        for span in self._held.ready(now_ms, until_ms):
            if span.size in stopped:
                continue
            absent = await self._absent(span, now_ms)
            if absent is None:
                stopped.add(span.size)  # the spans of a size are decided in their order
                continue
            await self._take_span(span, absent)
            has_decided = True
        if until_ms is None:
            self._begin_sizes()
        self._ticks = self._engine.ticks
        for reading in self._provisional.current(self._ticks):
            await self._take(reading)
        self._metrics.held.set(len(self._held))
        return has_decided

    def _begin_sizes(self) -> None:
        """Begin each size of which no window was ever decided with those that fill now.

        Otherwise a rule over days could begin no incident before the first day has ended.
        """
        begun = self._held.sizes | self._engine.ticks.keys()
        starts: dict[int, int] = {}
        for reading in self._provisional.current({}):
            if reading.size not in begun:
                starts[reading.size] = min(reading.start, starts.get(reading.size, reading.start))
        for size, start in starts.items():
            self._collect(self._engine.tick(size, start))

    async def _absent(self, span: Span, now_ms: int) -> list[Reading] | None:
        """Returns the windows of keywords that rules name and that did not come; None if it is too early to tell."""
        if not span.complete:
            return []
        wanted = self._named.get(span.size, set()) | self._engine.expected(span.size)
        found: list[Reading] = []
        for keyword in sorted(wanted - span.readings.keys() - {ALL_KEYWORDS}):
            try:
                reading = await self._tables.absent(keyword, span.size, span.start)
            except NotYetError:
                since = self._waiting_since.setdefault((span.size, span.end), now_ms)
                if now_ms - since < PATIENCE_MS:
                    return None
                logger.warning("a window of %d s of %r is not final in time; it is no data", span.size, keyword)
                reading = None
            if reading is None:
                self._metrics.unknown.inc()
            else:
                found.append(reading)
        self._waiting_since.pop((span.size, span.end), None)
        return found

    async def _take_span(self, span: Span, absent: Sequence[Reading]) -> None:
        for reading in sorted((*span.readings.values(), *absent), key=lambda one: one.keyword):
            await self._take(reading)
        self._metrics.evaluated.inc(len(span.readings) + len(absent))
        self._metrics.silent.inc(sum(not reading.count + reading.unsupported for reading in absent))
        if span.complete:
            self._collect(self._engine.tick(span.size, span.end))
        self._held.done(span)

    async def _take(self, reading: Reading) -> None:
        hours = await self._tables.hours(reading.keyword, self._engine.hours_wanted(reading))
        self._collect(self._engine.take(reading, hours))

    def _collect(self, decisions: Sequence[Opened | Closed]) -> None:
        for one in decisions:
            if isinstance(one, Opened):
                self._opened.append((one, self._rules[one.rule]))
            else:
                self._closed.append(one)

    def take_decisions(self, before: Mapping[int, int], reached: Mapping[int, int]) -> Decisions:
        """Returns what is to be written now. The next call returns only what is new.

        Args:
            before: the positions that are stored.
            reached: by partition, the offset after the last record that was read.
        """
        decisions = Decisions(
            before=before,
            after=self._held.positions(reached),
            opened=self._opened,
            closed=self._closed,
            changed=self._engine.changed(),
            ticks={size: end for size, end in self._ticks.items() if self._stored_ticks.get(size) != end},
        )
        self._opened, self._closed, self._stored_ticks = [], [], self._ticks
        return decisions

    def oldest_ms(self) -> int | None:
        """Returns when the oldest window was published that is not decided, in ms since 1970; None if none waits."""
        return self._held.oldest_ms()


def _revised(rules: Sequence[StoredRule]) -> list[RevisedRule]:
    return [RevisedRule(stored.rule, stored.revision) for stored in rules if stored.rule.enabled]
