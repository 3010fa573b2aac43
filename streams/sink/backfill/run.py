"""Runs a backfill: looks for what Postgres lacks, and fills it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer
from streams.connections import kafka_config
from streams.dead_letters import dead_letter, write_dead_letters
from streams.errors import BackfillBusyError
from streams.settings import Settings
from streams.sink.backfill.check import Checker
from streams.sink.backfill.fill import Filler
from streams.sink.backfill.holes import Findings
from streams.sink.backfill.wait import Wait
from streams.sink.backfill.windows import copy_windows
from streams.sink.backlog import BacklogReader
from streams.sink.history import History
from streams.sink.intake import DeadRecord
from streams.sink.targets import POSTS, WINDOWS, Target

R = TypeVar("R")

OnFindings = Callable[[Findings], None]


class Backfill:
    """One run; of all processes one at a time fills."""

    def __init__(
        self,
        settings: Settings,
        history: History,
        *,
        wait: Wait = lambda: None,
        on_findings: OnFindings = lambda findings: None,
    ) -> None:
        """Prepare a run.

        Args:
            settings: all settings.
            history: the connection to Postgres. The caller closes it, and with it ends the lock of the one that fills.
            wait: called between two short pieces of work: waits for the gate, or raises to stop.
            on_findings: told how far it is, as often.
        """
        self._settings = settings
        self._history = history
        self.findings = Findings()
        """What it found and did so far."""

        def report_and_wait() -> None:
            on_findings(self.findings)
            wait()

        self._wait = report_and_wait

    def run(self, *, fill: bool) -> Findings:
        """Look for holes, and fill them if `fill` is set.

        Raises:
            BackfillBusyError: another process is at it.
            ConnectorError: Kafka or Postgres did not answer, or refused.
        """
        if fill and not self._history.try_lock_backfill():
            raise BackfillBusyError("another process is filling holes; it does the same work")
        kafka = kafka_config(self._settings)
        reader = OffsetReader(kafka, group=f"{self._settings.group_prefix}-backfill")
        producer = ConfirmedProducer(kafka, client_id=f"{self._settings.group_prefix}-backfill")
        try:
            self._run_topic(self._settings.topic_classified, POSTS, reader, producer, fill=fill)
            self._run_topic(self._settings.topic_windows, WINDOWS, reader, producer, fill=fill)
            asyncio.run(self._copy_windows(reader, fill=fill))
        finally:
            producer.close()
            reader.close()
        return self.findings

    def _run_topic(
        self, topic: str, target: Target[R], reader: OffsetReader, producer: ConfirmedProducer, *, fill: bool
    ) -> None:
        def write_dead(dead: Sequence[DeadRecord]) -> None:
            write_dead_letters(producer, [dead_letter(*one) for one in dead], self._settings.topic_dead)
            self.findings.dead += [reason for _, reason, _ in dead]

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
