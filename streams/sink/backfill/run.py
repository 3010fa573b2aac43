"""Runs a backfill, which finds and fills what Postgres lacks.

1. For each topic, compare the ledger with `sink_offsets`. A range that the sink has passed, and that the ledger does
   not cover, was skipped.
2. For posts, compare the figures of each range of the ledger with its rows. Rows may be missing or changed. The ranges
   of windows and deletions have no figures; step 3 checks the windows.
3. Compare the windows in Redis with those in Postgres. A window may be missing, or have a revision that is too old.

Holes of steps 1 and 2 are filled from Kafka (`streams.sink.backfill.fill`), each before the next one is looked for.
Windows of step 3 are copied from Redis (`streams.sink.backfill.windows`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer
from streams.connections import kafka_config
from streams.dead_letters import write_dead_letters
from streams.errors import BackfillBusyError
from streams.records import DeadPost
from streams.settings import Settings
from streams.sink.backfill.check import Checker
from streams.sink.backfill.fill import Filler
from streams.sink.backfill.holes import Findings
from streams.sink.backfill.wait import Wait
from streams.sink.backfill.windows import copy_windows
from streams.sink.backlog import BacklogReader
from streams.sink.history import History
from streams.sink.targets import DELETIONS, WINDOWS, Target, posts_of

R = TypeVar("R")

OnFindings = Callable[[Findings], None]
"""Called with the findings so far."""


class Backfill:
    """One backfill. Only one process at a time may fill holes.

    Attributes:
        findings: what was found and done so far.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        *,
        wait: Wait = lambda: None,
        on_findings: OnFindings = lambda findings: None,
    ) -> None:
        """Prepare a backfill.

        Args:
            settings: The settings.
            history: The connection to Postgres. The caller closes it, which releases the lock of the backfill.
            wait: Called before each short piece of work: waits for the gate, or raises to stop.
            on_findings: Called before `wait`.
        """
        self._settings = settings
        self._history = history
        self.findings = Findings()

        def report_and_wait() -> None:
            on_findings(self.findings)
            wait()

        self._wait = report_and_wait

    def run(self, *, fill: bool) -> Findings:
        """Find holes, and fill them if `fill` is set.

        Raises:
            BackfillBusyError: Another process is filling holes.
            BackfillStoppedError: `wait` raised it. What was filled stays.
            ConnectorError: Kafka, Postgres or Redis does not answer, or rejects the call. What was filled stays.
        """
        if fill and not self._history.try_lock_backfill():
            raise BackfillBusyError("another process is running a backfill; only one may run at a time")
        kafka = kafka_config(self._settings)
        reader = OffsetReader(kafka, group=f"{self._settings.group_prefix}-backfill")
        producer = ConfirmedProducer(kafka, client_id=f"{self._settings.group_prefix}-backfill")
        try:
            # Steps 1 and 2: compare the ledger with `sink_offsets` and with the rows.
            posts = posts_of(self._settings.topic_raw)
            self._run_topic(self._settings.topic_classified, posts, reader, producer, fill=fill)
            self._run_topic(self._settings.topic_windows, WINDOWS, reader, producer, fill=fill)
            self._run_topic(self._settings.topic_deletions, DELETIONS, reader, producer, fill=fill)
            # Step 3: compare the windows in Redis with those in Postgres.
            asyncio.run(self._copy_windows(reader, fill=fill))
        finally:
            producer.close()
            reader.close()
        return self.findings

    def _run_topic(
        self, topic: str, target: Target[R], reader: OffsetReader, producer: ConfirmedProducer, *, fill: bool
    ) -> None:
        def write_dead(letters: Sequence[DeadPost]) -> None:
            write_dead_letters(producer, letters, self._settings.topic_dead)
            self.findings.dead += [letter.reason for letter in letters]

        filler = Filler(self._history, reader, target, write_dead_letters=write_dead, wait=self._wait)
        for hole in Checker(self._history, reader, self._wait).holes(topic, self.findings):
            self.findings.holes.append(hole)
            if fill:
                rows, gaps = filler.fill(hole)
                self.findings.rows_filled += rows
                self.findings.gaps += [(topic, gap) for gap in gaps]

    async def _copy_windows(self, reader: OffsetReader, *, fill: bool) -> None:
        topic = self._settings.topic_windows
        offsets = self._history.offsets(topic, range(self._settings.partitions))
        waiting = [one.oldest_ms for one in BacklogReader(reader, topic).read(offsets) if one.oldest_ms is not None]
        await copy_windows(
            self._settings,
            self._history,
            self.findings,
            self._wait,
            oldest_ms=min(waiting, default=None),
            write=fill,
        )
