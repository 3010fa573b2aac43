"""The sink's connection to Postgres, and the transaction that writes a slice: step 2 of `streams.sink.topic_sink`.

2a. Copy the rows into staging tables, with COPY in binary form. These are temporary, so Postgres does not log them.
2b. Lock the stored offsets of the partitions, and compare them with the offsets at which the slice begins. Rows of
    posts are not written while posts are erased, so there is a lock for that too.
2c. Merge the staging tables into the tables.
2d. Set the offsets, and store the ranges of the slice in the ledger.

The lock comes after the COPY. If the process is paused after 2a, its session is idle in a transaction, and the server
ends it after `connectors.postgres.IDLE_IN_TRANSACTION_MS`, which frees the lock. During a COPY the session would be
busy, and the server would wait for its client without an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from psycopg import IsolationLevel
from psycopg.types.json import set_json_dumps
from pydantic_core import to_json

from connectors.errors import RejectedError
from connectors.kafka.batch import UnreadableBatch
from connectors.machine.own_load import client_port
from connectors.postgres import Connection, address_of, connect, find_migrations, postgres_errors
from streams.sink import ledger_sql, offsets_sql, topic_ids
from streams.sink.ledger import LedgerRange, Span, check_offsets
from streams.sink.migrations import migrations_folder, schema_version
from streams.sink.sql import fetch_all
from streams.sink.targets import Target

R = TypeVar("R")

_TRY_LOCK_BACKFILL = "SELECT pg_try_advisory_lock(hashtextextended('emostream backfill', 0))"

OnConnect = Callable[[int, int | None], object]
"""Called with the process id of the server's backend, and the local port of the connection; None for a Unix socket."""


class History:
    """A connection to Postgres. It is opened at the first use, and opened again after it broke."""

    def __init__(self, dsn: str, *, application_name: str, on_connect: OnConnect | None = None) -> None:
        """Prepare the connection.

        Args:
            dsn: The address of the database.
            application_name: The name of the session on the server.
            on_connect: Called after each connect.
        """
        self._dsn = dsn
        self._name = application_name
        self._on_connect = on_connect
        self._connection: Connection | None = None

    @contextmanager
    def transaction(
        self, doing: str, isolation: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> Iterator[Connection]:
        """Yield the connection in a transaction.

        Args:
            doing: What the transaction does, for error messages.
            isolation: The isolation level, whatever the server's default is. A transaction that has waited for a lock
                must see what was committed meanwhile; with REPEATABLE READ it would not.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        with postgres_errors(doing):
            connection = self._open()
            connection.isolation_level = isolation
            with connection.transaction():
                yield connection

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn, application_name=self._name)
            set_json_dumps(to_json, self._connection)
            if self._on_connect is not None:
                self._on_connect(self._connection.info.backend_pid, client_port(self._connection.fileno()))
        return self._connection

    def check(self) -> None:
        """Connect, and check that the database has the schema of this version of emostream.

        Raises:
            ConnectorError: Postgres does not answer or rejects the call, or the database has no schema, an older or a
                newer one.
        """
        needed = find_migrations(migrations_folder())[-1].version
        with (
            connect(self._dsn, application_name=self._name) as connection,
            postgres_errors("reading its schema version"),
        ):
            found = schema_version(connection)
        where = f"the database {address_of(self._dsn)}"
        if found is None:
            raise RejectedError(f"{where} has no schema yet; run `emostream init`")
        if found < needed:
            raise RejectedError(f"{where} has schema version {found}, and {needed} is needed; run `emostream init`")
        if found > needed:
            raise RejectedError(
                f"{where} has schema version {found}, and this emostream supports {needed}; run a newer emostream"
            )

    def changed_topics(self, ids: Mapping[str, str]) -> list[str]:
        """Returns the topics whose id is not the stored one; see `streams.sink.topic_ids`.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        with self.transaction("comparing the ids of topics") as connection:
            return topic_ids.changed_topics(connection, ids)

    def close(self) -> None:
        """Close the connection, and with it end its locks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start_offsets(self, topic: str, bounds: Mapping[int, tuple[int, int]]) -> tuple[dict[int, int], list[Span]]:
        """Returns the offsets at which the sink starts to read.

        A new partition starts at the first offset that Kafka holds. If Kafka has deleted records that were not written,
        the partition goes on at the first offset that Kafka holds, and the range between is recorded in `sink_gaps`.

        Args:
            topic: The topic.
            bounds: For each partition, the first offset that Kafka holds, and the offset of the next record.

        Returns:
            The next offset of each partition, and the gaps that were recorded now.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        gaps = []
        with self.transaction("reading the sink's offsets") as connection:
            offsets_sql.initialise(connection, topic, {partition: low for partition, (low, _) in bounds.items()})
            stored = offsets_sql.lock(connection, topic, bounds)
            for partition, (low, _) in bounds.items():
                if stored[partition] < low:
                    gaps.append(Span(partition, stored[partition], low, 0))
                    offsets_sql.record_gap(connection, topic, gaps[-1], "expired", None)
                    stored[partition] = low
            offsets_sql.update(connection, topic, {gap.partition: gap.end for gap in gaps})
        return stored, gaps

    def record_unreadable(self, topic: str, batches: Iterable[UnreadableBatch]) -> None:
        """Record batches that cannot be read in `sink_gaps`. They may be recorded there already.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        with self.transaction("recording unreadable batches") as connection:
            for batch in batches:
                span = Span(batch.partition, batch.first, batch.end, 0)
                offsets_sql.record_gap(connection, topic, span, "unreadable", None)

    def offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Returns the next offset of each partition; a partition without one is left out. Changes nothing.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        with self.transaction("reading the sink's offsets") as connection:
            return offsets_sql.read(connection, topic, partitions)

    def try_lock_backfill(self) -> bool:
        """Lock the backfill, until this connection is closed; returns False if another one has the lock.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        with self.transaction("locking the backfill") as connection:
            [[locked]] = fetch_all(connection, _TRY_LOCK_BACKFILL)
            return bool(locked)

    def write(self, topic: str, target: Target[R], rows: Sequence[R], spans: Sequence[Span]) -> None:
        """Write the rows of a topic, and move the offset of each span's partition from its start to its end.

        All of this happens in one transaction.

        Raises:
            PositionMismatchError: A stored offset is not the start of its span. Nothing was written.
            InvalidDataError: A row violates a constraint. Nothing was written.
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        with self.transaction(f"writing {topic}") as connection:
            # Step 2a: copy the rows into staging tables.
            target.copy_to_staging(connection, rows)
            # Step 2b: lock the offsets and compare them.
            last = self._lock(connection, topic, target, spans)
            # Step 2c: merge the staging tables into the tables.
            target.merge(connection, rows)
            # Step 2d: set the offsets, and store the ranges in the ledger.
            ranges = target.ledger_ranges(connection, spans, rows, last)
            offsets_sql.update(connection, topic, {span.partition: span.end for span in spans})
            ledger_sql.store(connection, topic, ranges)

    @staticmethod
    def _lock(
        connection: Connection, topic: str, target: Target[R], spans: Sequence[Span]
    ) -> dict[int, LedgerRange | None]:
        partitions = [span.partition for span in spans]
        # The row locks last until the commit. A zombie, a process that was paused and resumes, waits for them here, and
        # then finds that the offsets have moved.
        check_offsets(topic, offsets_sql.lock(connection, topic, partitions), spans)
        target.lock(connection)
        return ledger_sql.last_ranges(connection, topic, partitions)
