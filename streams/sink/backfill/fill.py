"""Fills holes from Kafka.

A range that was skipped is written as the sink would have written it: decode, dead-letter, insert the rows, and store
the range in the ledger. If Kafka no longer holds the beginning of the range, that part is recorded in `sink_gaps`, and
so are batches in it that cannot be read.

A range whose rows are missing or changed is written again:

a. read the records that Kafka still holds;
b. in one transaction, compare the range with its rows once more: it may have been filled, or extended by the sink;
c. delete the rows of the range, if Kafka still holds all of it; but not those whose records cannot be read;
d. insert the rows that the table does not have;
e. if the figures of the rows still differ from those of the ledger, store the new figures in the ledger, so that the
   difference is found only once; and record the parts of the range that cannot be read from Kafka in `sink_gaps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from confluent_kafka import Message

from connectors.errors import InvalidDataError, PositionError
from connectors.kafka.batch import UnreadableBatch, offset_of
from connectors.kafka.offsets import OffsetReader
from connectors.postgres import Connection, postgres_errors
from streams.dead_letters import dead_letter, letter_of_batch
from streams.records import DeadPost, DeadReason
from streams.sink import ledger_sql, offsets_sql, posts_sql
from streams.sink.backfill.check import compare_range
from streams.sink.backfill.holes import Hole, HoleKind
from streams.sink.backfill.wait import Wait
from streams.sink.history import History
from streams.sink.intake import DeadRecord, decode_all, store_all
from streams.sink.ledger import RANGE_RECORDS, Span
from streams.sink.rows import PostRow
from streams.sink.targets import Target

R = TypeVar("R")

WriteDeadLetters = Callable[[Sequence[DeadPost]], None]
"""Called with dead letters; returns when Kafka has confirmed them."""


class _Page(NamedTuple):
    """A part of a range: its span, its records, and its batches that cannot be read."""

    span: Span
    messages: list[Message]
    unreadable: list[UnreadableBatch]


class Filler(Generic[R]):
    """Fills the holes of one topic, each range in a transaction of its own."""

    def __init__(
        self,
        history: History,
        reader: OffsetReader,
        target: Target[R],
        *,
        write_dead_letters: WriteDeadLetters,
        wait: Wait,
    ) -> None:
        """Prepare to fill holes.

        Args:
            history: The connection for writing.
            reader: Reads the records from Kafka.
            target: The tables that the records are written to.
            write_dead_letters: Writes the dead letters of ranges that were skipped.
            wait: Called before each transaction.
        """
        self._history = history
        self._reader = reader
        self._target = target
        self._write_dead_letters = write_dead_letters
        self._wait = wait

    def fill(self, hole: Hole) -> tuple[int, list[Span]]:
        """Fill the part of a hole that Kafka still holds, and record the rest in `sink_gaps`.

        Returns:
            The number of rows that the table has now and had not before, and the ranges that were recorded as gaps.

        Raises:
            PositionError: The partition in Kafka ends before the hole does.
            ConnectorError: Kafka or Postgres does not answer, or rejects the call.
        """
        _, high = self._reader.bounds(hole.topic, hole.span.partition)
        if high < hole.span.end:
            raise PositionError(
                f"{hole.topic}[{hole.span.partition}] ends at offset {high}, but records up to {hole.span.end} were "
                "written: the topic was deleted and created again, or the database belongs to another Kafka cluster"
            )
        return self._fill_skipped(hole) if hole.kind is HoleKind.SKIPPED else self._fill_damaged(hole)

    @contextmanager
    def _transaction(self, hole: Hole) -> Iterator[Connection]:
        """Yield the connection in a transaction during which no sink writes to the partition of the hole, or erases."""
        with self._history.transaction("filling a hole") as connection:
            offsets_sql.lock(connection, hole.topic, [hole.span.partition])
            self._target.lock(connection)
            yield connection

    def _fill_skipped(self, hole: Hole) -> tuple[int, list[Span]]:
        gaps = []
        if hole.expired is not None:
            self._wait()
            gaps.append(hole.expired)
            with self._transaction(hole) as connection:
                offsets_sql.record_gap(connection, hole.topic, hole.expired, "expired", None)
        written = 0
        if hole.held is not None:
            for page in self._pages(hole.topic, hole.held):
                self._wait()
                written += self._add_range(hole, page)
                gaps += map(_span_of, page.unreadable)
        return written, gaps

    def _pages(self, topic: str, held: Span) -> Iterator[_Page]:
        """Yield the records of a range in pages of `RANGE_RECORDS`. The spans of the pages cover the range."""
        start, messages, unreadable = held.start, list[Message](), list[UnreadableBatch]()

        def note(batch: UnreadableBatch) -> None:
            unreadable.append(replace(batch, end=min(batch.end, held.end)))

        for message in self._reader.between(topic, held.partition, held.start, held.end, on_unreadable=note):
            messages.append(message)
            if len(messages) == RANGE_RECORDS:
                end = offset_of(message) + 1
                yield _Page(Span(held.partition, start, end, len(messages)), messages, unreadable)
                start, messages, unreadable = end, [], []
        if start < held.end:
            yield _Page(Span(held.partition, start, held.end, len(messages)), messages, unreadable)

    def _add_range(self, hole: Hole, page: _Page) -> int:
        """Write records that were skipped, and store their range in the ledger. Returns the number of rows."""
        span, messages, unreadable = page
        entries, dead = self._decode(messages)
        with self._transaction(hole) as connection:
            _record_unreadable(connection, unreadable)
            rejected = self._insert(connection, entries)
            kept = [row for message, row in entries if all(message is not one for one, _, _ in rejected)]
            last = ledger_sql.range_before(connection, hole.topic, span.partition, span.start)
            ranges = self._target.ledger_ranges(connection, [span], kept, {span.partition: last})
            ledger_sql.store(connection, hole.topic, ranges)
            # Before the commit: a crash in between writes the dead letters twice, and loses none.
            letters = [*map(letter_of_batch, unreadable), *(dead_letter(*one) for one in (*dead, *rejected))]
            if letters:
                self._write_dead_letters(letters)
        return len(kept)

    def _fill_damaged(self, hole: Hole) -> tuple[int, list[Span]]:
        """Write the rows of a range again. Its dead letters were written when the sink read it first."""
        self._wait()
        # Step a: read the records that Kafka still holds.
        pages = [] if hole.held is None else list(self._pages(hole.topic, hole.held))
        entries, _ = self._decode([message for page in pages for message in page.messages])
        unreadable = [batch for page in pages for batch in page.unreadable]
        with self._transaction(hole) as connection:
            # Step b: compare the range with its rows once more.
            now = compare_range(connection, hole.topic, hole.span, hole.first_held)
            if now is None or now.span != hole.span or now.ledger is None:
                return 0, []  # it was filled; or the sink has extended it, and the next backfill fills it
            assert now.ledger.fence is not None  # noqa: S101 - `compare_range` returns only ranges that have both
            assert now.ledger.figures is not None  # noqa: S101
            raw_topic, wanted = now.ledger.fence.topic, now.ledger.figures
            # Step c: delete the rows, if Kafka still holds all of the range. Those of unreadable batches would be lost.
            if hole.expired is None:
                only = [row.origin_offset for _, row in entries if isinstance(row, PostRow)] if unreadable else None
                posts_sql.delete_range(
                    connection, hole.span.partition, raw_topic, wanted.first_origin, wanted.last_origin, only=only
                )
            # Step d: insert the rows that the table does not have.
            self._insert(connection, entries)
            found = posts_sql.stored_figures(connection, hole.span.partition, raw_topic, wanted)
            rows = 0 if found is None else found.rows
            gaps: list[Span] = []
            # Step e: store the figures of the rows in the ledger, and record the gaps.
            if found != wanted:
                ledger_sql.store(connection, hole.topic, [replace(now.ledger, figures=found)])
                _record_unreadable(connection, unreadable)
                gaps += map(_span_of, unreadable)
                if hole.expired is not None:
                    gaps.append(hole.expired)
                    missing = wanted.rows - rows
                    offsets_sql.record_gap(
                        connection, hole.topic, hole.expired, "lost" if missing else "changed", missing
                    )
        return rows - (wanted.rows - (now.rows or 0)), gaps

    def _decode(self, messages: Sequence[Message]) -> tuple[list[tuple[Message, R]], list[DeadRecord]]:
        entries, dead = decode_all(messages, self._target.decode)
        return [(message, row) for message, row in entries if row is not None], dead

    def _insert(self, connection: Connection, entries: Sequence[tuple[Message, R]]) -> list[DeadRecord]:
        """Insert rows; rows that the table has stay as they are. Returns the records that Postgres rejects."""
        rejected: list[DeadRecord] = []

        def store(part: Sequence[tuple[Message, R]]) -> None:
            rows = [row for _, row in part]
            with postgres_errors("filling a hole"), connection.transaction():
                self._target.copy_to_staging(connection, rows)
                self._target.merge(connection, rows)

        def on_rejected(entry: tuple[Message, R], why: InvalidDataError) -> None:
            rejected.append((entry[0], DeadReason.NOT_STORABLE, str(why)))

        store_all(entries, store, on_rejected)
        return rejected


def _span_of(batch: UnreadableBatch) -> Span:
    return Span(batch.partition, batch.first, batch.end, 0)


def _record_unreadable(connection: Connection, batches: Sequence[UnreadableBatch]) -> None:
    for batch in batches:
        offsets_sql.record_gap(connection, batch.topic, _span_of(batch), "unreadable", None)
