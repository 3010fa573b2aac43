"""The evaluation: reads windows in rounds, and writes what the engine decides. One process at a time does this.

A round has five steps:

1. Take the ends of all partitions of the windows topic, which are the same moment for each.
2. Read up to them. Final windows are held back until their span is ready (`streams.alerts.evaluation.held`).
3. Hand the spans that are ready to the engine, in the order of their ends. Redis tells the hours that the engine wants,
   and whether a window that is absent does not exist.
4. Hand provisional windows to the engine.
5. Write decisions, states and positions in one transaction (`streams.alerts.evaluation.progress`).

After any failure, all that is in memory is thrown away, and the evaluation begins anew with what Postgres has. So
nothing is decided twice or skipped, whatever failed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Message

from connectors.errors import PositionMismatchError, UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.offsets import OffsetReader
from connectors.postgres_pool import PostgresPool
from connectors.repeats import Repeats
from streams.alerts.evaluation.deciding import Deciding
from streams.alerts.evaluation.held import Place
from streams.alerts.evaluation.intake import WindowIntake
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.alerts.evaluation.progress import Progress, Taken
from streams.alerts.evaluation.tables import AlertTables
from streams.alerts.evaluation.window_checks import CLOCKS_MS, reading_of
from streams.alerts.isolation import without_isolates
from streams.alerts.storage.stored import StoredRule, UnreadableRule
from streams.connections import kafka_config
from streams.process.waiting import first_of
from streams.records import RecordError
from streams.settings import Settings

logger = logging.getLogger(__name__)

FIRST_MS = 3_600_000
"""The first evaluation begins with the windows that were published in the last hour. Later ones continue."""

RULES_S = 5.0
"""Seconds between two reads of the rules, and between two checks that the topic is still the same one."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds to wait before each new beginning after a failure; the last value repeats."""

_BATCH = 500
"""Records between two looks at other tasks."""


class Evaluator:
    """Evaluates the rules while it runs.

    Attributes:
        failure: why the last round failed; None if a later one has decided something, or had nothing to decide.
        round_at: when the last round was complete, in seconds of the monotonic clock; None before the first.
    """

    def __init__(
        self,
        settings: Settings,
        pool: PostgresPool,
        tables: AlertTables,
        metrics: AlertMetrics,
        *,
        holder: str,
        channels: Callable[[], Sequence[str]],
    ) -> None:
        """Prepare it.

        Args:
            settings: the settings.
            pool: the connections to Postgres.
            tables: the window tables.
            metrics: the metrics of the process.
            holder: a name that no other process has.
            channels: returns the names of all channels.
        """
        self._settings = settings
        self._kafka = kafka_config(settings)
        self._topic = settings.topic_windows
        self._group = f"{settings.group_prefix}-alerts-windows"
        self._ahead_ms = CLOCKS_MS + int(settings.max_future_s * 1_000)
        self._tables = tables
        self._metrics = metrics
        self._progress = Progress(pool, self._topic, holder, channels)
        self._admin = KafkaAdmin(self._kafka)
        self._repeats = Repeats()
        self._failures = 0
        self.failure: str | None = None
        self.round_at: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Evaluate until `stop`. A server that does not answer is waited for.

        Raises:
            ConnectorError: A server rejects a call, or a stored state is of another version.
        """
        self.failure, self.round_at, self._failures = None, None, 0
        while not stop.is_set():
            try:
                await self._evaluate(stop)
            except PositionMismatchError as exc:
                self._failed("overtaken", exc)
                # If this process was paused, it notices within a heartbeat that it has lost its lease.
                await first_of(stop, timeout_s=2 * self._kafka.heartbeat_ms / 1_000)
            except UnavailableError as exc:
                self._failed("unavailable", exc)
                await first_of(stop, timeout_s=RETRY_S[min(self._failures, len(RETRY_S)) - 1])

    def _failed(self, kind: str, exc: Exception) -> None:
        self._failures += 1
        self._metrics.failures.labels(kind).inc()
        self.failure = str(exc)
        if self._repeats.due(kind):
            logger.warning("the evaluation of the alerts begins anew: %s", exc)

    async def _evaluate(self, stop: asyncio.Event) -> None:
        """Take over, and evaluate until `stop` or a failure."""
        topic_id, taken = await self._take()
        deciding = Deciding(
            taken.rules,
            taken.states,
            taken.ticks,
            tables=self._tables,
            metrics=self._metrics,
            hold_ms=self._settings.alert_hold_ms,
        )
        positions = dict(taken.positions)
        rules = self._note(taken.rules, taken.unreadable)
        intake = WindowIntake(self._kafka, self._topic, group=self._group, positions=positions)
        checked = time.monotonic()
        try:
            await self._write(deciding, positions, positions)  # rules may have changed meanwhile
            while not stop.is_set():
                began = time.monotonic()
                if began - checked >= RULES_S:
                    await self._check_topic(topic_id, len(positions))
                    found = self._note(*await self._progress.rules())
                    if found != rules:
                        added = {one.rule.id for one in found if one not in rules}
                        rules = found
                        deciding.replace(rules)
                        await deciding.look(added, int(time.time() * 1_000))
                    checked = began
                is_behind = await self._round(intake, deciding, positions)
                self.round_at = time.monotonic()
                if not is_behind:
                    left_s = self._settings.alert_interval_ms / 1_000 - (time.monotonic() - began)
                    await first_of(stop, timeout_s=max(0.0, left_s))
        finally:
            await asyncio.to_thread(intake.close)

    async def _take(self) -> tuple[str, Taken]:
        """Take the positions over. Returns Kafka's id of the topic, and what is stored."""
        ids = await asyncio.to_thread(self._admin.require_topic_ids, [self._topic])
        partitions = range((await asyncio.to_thread(self._admin.partition_counts))[self._topic])
        known, known_id = await self._progress.known()
        topic_id = ids[self._topic]
        is_new = known_id is not None and known_id != topic_id
        starts = await asyncio.to_thread(self._starts, partitions, first=known_id is None)
        if is_new:
            logger.warning(
                "%s was deleted and made again; the alerts begin at its first record, and decided spans stay decided",
                self._topic,
            )
        missing = starts if is_new else {number: at for number, at in starts.items() if number not in known}
        taken = await self._progress.take(missing, topic_id, reset=is_new)
        logger.info("evaluating %d rules from %s of %s", len(taken.rules), taken.positions, self._topic)
        return topic_id, taken

    def _starts(self, partitions: Sequence[int], *, first: bool) -> dict[int, int]:
        """Returns where partitions begin that have no position: at their first record, or with the last hour."""
        reader = OffsetReader(self._kafka, group=self._group)
        try:
            bounds = reader.all_bounds(self._topic, partitions)
            if not first:
                return {partition: low for partition, (low, _) in bounds.items()}
            since = int(time.time() * 1_000) - FIRST_MS
            found = {partition: reader.offset_at(self._topic, partition, since) for partition in bounds}
            return {
                partition: high if (at := found[partition]) is None else at for partition, (_, high) in bounds.items()
            }
        finally:
            reader.close()

    async def _check_topic(self, topic_id: str, partitions: int) -> None:
        """Begin anew if the topic was made again, or has more partitions."""
        ids = await asyncio.to_thread(self._admin.topic_ids, [self._topic])
        counts = await asyncio.to_thread(self._admin.partition_counts)
        if ids.get(self._topic) != topic_id or counts.get(self._topic) != partitions:
            raise UnavailableError(f"{self._topic} was deleted, made again, or has got more partitions")

    async def _round(self, intake: WindowIntake, deciding: Deciding, positions: dict[int, int]) -> bool:
        """Do one round, and move `positions`. Returns whether more records wait than a round reads."""
        # Step 1: take the ends of all partitions.
        planned = await asyncio.to_thread(intake.plan)
        self._metrics.skipped.inc(planned.skipped)
        # Step 2: read up to them.
        messages = await asyncio.to_thread(lambda: list(intake.read(planned.ends)))
        now_ms = int(time.time() * 1_000)
        for index, message in enumerate(messages):
            self._add(deciding, message, now_ms)
            if index % _BATCH == 0:
                await asyncio.sleep(0)
        # Steps 3 and 4: decide the spans that are ready, and what provisional windows can decide.
        has_decided = await deciding.decide(now_ms, planned.until_ms)
        # Step 5: write decisions, states and positions.
        await self._write(deciding, positions, intake.reached)
        # While windows are only held, a server that is needed to decide may still not answer.
        if has_decided or deciding.oldest_ms() is None:
            self._succeeded()
        oldest = [at for at in (deciding.oldest_ms(), planned.until_ms) if at is not None]
        self._metrics.lag.set(max(0.0, (now_ms - min(oldest)) / 1_000) if oldest else 0)
        return planned.until_ms is not None

    def _add(self, deciding: Deciding, message: Message, now_ms: int) -> None:
        """Hand a record over, if a rule watches its window. Its key tells so: most records need not be decoded."""
        self._metrics.read.inc()
        value = message.value()
        if value is None:
            return
        try:
            keyword, size, _ = (message.key() or b"").decode().rsplit("|", 2)
            if not deciding.watches(keyword, int(size)):
                return
            # A record that was published after this moment shows that the clock of this machine is late.
            latest_ms = max(now_ms, message.timestamp()[1]) + self._ahead_ms
            reading = reading_of(message.key(), value, latest_ms)
        except (RecordError, ValueError) as exc:
            self._metrics.invalid.inc()
            if self._repeats.due("invalid"):
                logger.warning("%s[%s]@%s is no window: %s", self._topic, message.partition(), message.offset(), exc)
            return
        deciding.add(reading, Place(partition_of(message), offset_of(message), message.timestamp()[1], now_ms))

    async def _write(self, deciding: Deciding, positions: dict[int, int], reached: dict[int, int]) -> None:
        decisions = deciding.take_decisions(dict(positions), reached)
        if decisions.empty:
            return
        written = await self._progress.commit(decisions)
        positions.update(decisions.after)
        for one, rule in decisions.opened:
            if one.incident in written.opened:
                self._metrics.opened.labels(rule.severity.value).inc()
                logger.info("incident %s began: %s", one.incident, without_isolates(one.reason.summary))
        for closed in decisions.closed:
            if closed.incident in written.closed:
                self._metrics.closed.labels(written.closed[closed.incident]).inc()
                logger.info("incident %s ended: %s", closed.incident, closed.because)

    def _note(self, rules: list[StoredRule], unreadable: Sequence[UnreadableRule]) -> list[StoredRule]:
        self._metrics.unreadable_rules.set(len(unreadable))
        for one in unreadable:
            if self._repeats.due(one):
                logger.error("rule %s is not evaluated, because it cannot be read: %s", one.id, one.error)
        return rules

    def _succeeded(self) -> None:
        if self.failure is not None:
            logger.info("the evaluation of the alerts goes on")
            self._repeats.end("unavailable")
            self._repeats.end("overtaken")
        self.failure, self._failures = None, 0
