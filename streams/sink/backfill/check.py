"""Finds holes: steps 1 and 2 of `streams.sink.backfill.run`. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import IsolationLevel

from connectors.kafka.offsets import OffsetReader
from connectors.postgres import Connection
from streams.sink import ledger_sql, posts_sql
from streams.sink.backfill.holes import Findings, Hole, HoleKind, compare
from streams.sink.backfill.wait import Wait
from streams.sink.history import History
from streams.sink.ledger import LedgerRange, Span, uncovered

PAGE = 500
"""Ranges of the ledger that are read in one query; each is then compared in a transaction of its own."""


class Checker:
    """Finds the holes of a topic."""

    def __init__(self, history: History, reader: OffsetReader, wait: Wait) -> None:
        self._history = history
        self._reader = reader
        self._wait = wait

    def holes(self, topic: str, findings: Findings) -> Iterator[Hole]:
        """Yield each hole of a topic, partition by partition, and count in `findings` what was compared.

        Raises:
            ConnectorError: Postgres or Kafka does not answer, or rejects the call.
        """
        for partition, first, end in self.partitions(topic):
            low, _ = self._reader.bounds(topic, partition)
            # Step 1: compare the ledger with `sink_offsets`, which finds ranges that were skipped.
            for start, stop in self.skipped(topic, partition, first, end):
                yield Hole(topic, Span(partition, start, stop, 0), HoleKind.SKIPPED, None, low)
            # Step 2: compare the figures of each range of the ledger with its rows.
            for written in self._ranges(topic, partition):
                self._wait()
                if (hole := self._compare(topic, written, low)) is not None:
                    yield hole
                findings.ranges += 1
                findings.rows += 0 if written.figures is None else written.figures.rows

    def partitions(self, topic: str) -> list[tuple[int, int, int]]:
        """Returns each partition with the offset at which the sink began, and the next offset that it will write.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        return self._read(
            "SELECT partition, first_offset, next_offset FROM sink_offsets WHERE topic = %s ORDER BY partition", topic
        )

    def skipped(self, topic: str, partition: int, first: int, end: int) -> list[tuple[int, int]]:
        """Returns the parts of [first, end) that are neither in the ledger nor in `sink_gaps`.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        covered = self._read(
            # The server joins adjacent ranges, because the ledger has many rows.
            "SELECT range_agg(int8range(first_offset, next_offset)) FROM ("
            "  SELECT first_offset, next_offset FROM sink_ledger WHERE topic = %s AND partition = %s"
            "  UNION ALL"
            "  SELECT first_offset, next_offset FROM sink_gaps WHERE topic = %s AND partition = %s"
            ") AS known",
            topic,
            partition,
            topic,
            partition,
        )
        known = covered[0][0] or ()
        return uncovered(first, end, [(one.lower, one.upper) for one in known])

    def _ranges(self, topic: str, partition: int) -> Iterator[LedgerRange]:
        """Yield the ranges of the ledger that have figures, in order."""
        after = -1
        while page := self._page(topic, partition, after):
            yield from page
            after = page[-1].span.start

    def _page(self, topic: str, partition: int, after: int) -> list[LedgerRange]:
        with self._history.transaction("reading the ledger") as connection:
            return ledger_sql.ranges_after(connection, topic, partition, after, PAGE)

    def _compare(self, topic: str, written: LedgerRange, low: int) -> Hole | None:
        """Compare a range with its rows in one snapshot, since the sink may extend the range at the same time."""
        doing = "comparing the ledger with the rows"
        with self._history.transaction(doing, IsolationLevel.REPEATABLE_READ) as connection:
            return compare_range(connection, topic, written.span, low)

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._history.transaction("reading the ledger") as connection:
            return connection.execute(statement, values).fetchall()


def compare_range(connection: Connection, topic: str, span: Span, low: int) -> Hole | None:
    """Compare the range of the ledger that begins where `span` does with its rows.

    Returns None if there is no hole, or no such range.
    """
    written = ledger_sql.range_at(connection, topic, span.partition, span.start)
    if written is None or written.fence is None or written.figures is None:
        return None
    found = posts_sql.stored_figures(connection, span.partition, written.fence.topic, written.figures)
    wrong = compare(written, found)
    return None if wrong is None else Hole(topic, written.span, *wrong, first_held=low, ledger=written)
