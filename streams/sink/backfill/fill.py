"""Fills holes in posts and windows from what Kafka holds, and notes what it does not hold any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

from confluent_kafka import Message

from connectors.errors import InvalidDataError, PositionError
from connectors.kafka.batch import offset_of
from connectors.kafka.offsets import OffsetReader
from connectors.postgres import Connection, postgres_errors
from streams.records import DeadReason
from streams.sink import ledger_sql, offsets_sql, posts_sql
from streams.sink.backfill.check import compare_range
from streams.sink.backfill.holes import Hole, HoleKind
from streams.sink.backfill.wait import Wait
from streams.sink.history import History
from streams.sink.intake import DeadRecord, decode_all, store_all
from streams.sink.ledger import RANGE_RECORDS, Span
from streams.sink.targets import Target

R = TypeVar("R")

WriteDeadLetters = Callable[[Sequence[DeadRecord]], None]
"""Writes dead letters, and returns when Kafka has confirmed them."""


class Filler(Generic[R]):
    """Fills the holes of one topic; each range in a transaction of its own."""

    def __init__(
        self,
        history: History,
        reader: OffsetReader,
        target: Target[R],
        *,
        write_dead_letters: WriteDeadLetters,
        wait: Wait,
    ) -> None:
        """Prepare it.

        Args:
            history: the connection to write with.
            reader: reads the ranges from Kafka.
            target: what the records become.
            write_dead_letters: for records that nobody has dead-lettered yet.
            wait: called before each transaction.
        """
        self._history = history
        self._reader = reader
        self._target = target
        self._write_dead_letters = write_dead_letters
        self._wait = wait

    def fill(self, hole: Hole) -> tuple[int, list[Span]]:
        """Fill a hole as far as Kafka has it.

        Returns:
            How many rows are there that were not, and the ranges that were noted in `sink_gaps`.

        Raises:
            PositionError: Kafka's partition ends before the hole does.
            ConnectorError: Kafka or Postgres did not answer, or refused.
        """
        _, high = self._reader.bounds(hole.topic, hole.span.partition)
        if high < hole.span.end:
            raise PositionError(
                f"{hole.topic}[{hole.span.partition}] ends at offset {high}, but records up to {hole.span.end} were "
                "written: the topic was deleted and made again, or the database belongs to another cluster"
            )
        return self._fill_skipped(hole) if hole.kind is HoleKind.SKIPPED else self._fill_damaged(hole)

    @contextmanager
    def _transaction(self, hole: Hole) -> Iterator[Connection]:
        """A transaction in which no sink writes to the hole's partition."""
        with self._history.transaction("filling a hole") as connection:
            offsets_sql.lock(connection, hole.topic, [hole.span.partition])
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
            for span, messages in self._pages(hole.topic, hole.held):
                self._wait()
                written += self._add_range(hole, span, messages)
        return written, gaps

    def _pages(self, topic: str, held: Span) -> Iterator[tuple[Span, list[Message]]]:
        """The records of a range in pieces of `RANGE_RECORDS`; the spans follow each other and end with the range."""
        start, page = held.start, list[Message]()
        for message in self._reader.between(topic, held.partition, held.start, held.end):
            page.append(message)
            if len(page) == RANGE_RECORDS:
                end = offset_of(message) + 1
                yield Span(held.partition, start, end, len(page)), page
                start, page = end, []
        if start < held.end:
            yield Span(held.partition, start, held.end, len(page)), page

    def _add_range(self, hole: Hole, span: Span, messages: Sequence[Message]) -> int:
        """Write records that were skipped, and note the range in the ledger."""
        entries, dead = self._read(messages)
        with self._transaction(hole) as connection:
            refused = self._insert(connection, entries)
            kept = [row for message, row in entries if all(message is not one for one, _, _ in refused)]
            before = ledger_sql.range_before(connection, hole.topic, span.partition, span.start)
            noted = self._target.ledger_ranges(connection, [span], kept, {span.partition: before})
            ledger_sql.store(connection, hole.topic, noted)
            # Before the commit: after a crash in between they are dead-lettered twice, which their origin tells.
            if dead or refused:
                self._write_dead_letters([*dead, *refused])
        return len(kept)

    def _fill_damaged(self, hole: Hole) -> tuple[int, list[Span]]:
        """Write the rows of a range again. What was a dead letter when it was first read is one already."""
        self._wait()
        pages = [] if hole.held is None else self._pages(hole.topic, hole.held)
        entries, _ = self._read([message for _, page in pages for message in page])
        with self._transaction(hole) as connection:
            now = compare_range(connection, hole.topic, hole.span, hole.first_held)
            if now is None or now.span != hole.span or now.ledger is None:
                return 0, []  # whole again; or it has grown since, and the next look sees all of it
            assert now.ledger.fence is not None  # noqa: S101 - a range that can be compared has both
            assert now.ledger.figures is not None  # noqa: S101
            raw_topic, wanted = now.ledger.fence.topic, now.ledger.figures
            if hole.expired is None:
                posts_sql.delete_range(
                    connection, hole.span.partition, raw_topic, wanted.first_origin, wanted.last_origin
                )
            self._insert(connection, entries)
            found = posts_sql.stored_figures(connection, hole.span.partition, raw_topic, wanted)
            rows = 0 if found is None else found.rows
            gaps = []
            if found != wanted:
                # What is there now is all that there will be; the gap remembers the rest.
                ledger_sql.store(connection, hole.topic, [replace(now.ledger, figures=found)])
                if hole.expired is not None:
                    gaps.append(hole.expired)
                    missing = wanted.rows - rows
                    offsets_sql.record_gap(
                        connection, hole.topic, hole.expired, "lost" if missing else "changed", missing
                    )
        return rows - (wanted.rows - (now.rows or 0)), gaps

    def _read(self, messages: Sequence[Message]) -> tuple[list[tuple[Message, R]], list[DeadRecord]]:
        entries, dead = decode_all(messages, self._target.decode)
        return [(message, row) for message, row in entries if row is not None], dead

    def _insert(self, connection: Connection, entries: Sequence[tuple[Message, R]]) -> list[DeadRecord]:
        """Insert rows; what is there stays. Returns the records that Postgres does not take."""
        refused: list[DeadRecord] = []

        def store(part: Sequence[tuple[Message, R]]) -> None:
            rows = [row for _, row in part]
            with postgres_errors("filling a hole"), connection.transaction():
                self._target.stage(connection, rows)
                self._target.merge(connection, rows)

        def refuse(entry: tuple[Message, R], why: InvalidDataError) -> None:
            refused.append((entry[0], DeadReason.NOT_STORABLE, str(why)))

        store_all(entries, store, refuse)
        return refused
