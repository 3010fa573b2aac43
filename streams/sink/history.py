"""Writes to Postgres. Each write is one transaction.

1. COPY the rows, in binary form, into staging tables of the session: temporary, and so not logged. 2. Lock the offsets
and compare them with where the batch begins. 3. Move the rows into their tables. 4. Set the offsets, and note the
ranges in the ledger. The lock comes after the COPY: from then on the server has everything, so that a process stopped
in between is idle in its transaction, which the server ends (`connectors.postgres.IDLE_IN_TRANSACTION_MS`); a COPY
that waits for its client it would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from psycopg import IsolationLevel
from psycopg.types.json import set_json_dumps
from pydantic_core import to_json

from connectors.errors import RejectedError
from connectors.machine.own_load import client_port
from connectors.postgres import Connection, address_of, connect, find_migrations, postgres_errors
from streams.sink import ledger_sql, offsets_sql
from streams.sink.ledger import LedgerRange, Span, check_offsets
from streams.sink.migrations import migrations_folder, schema_version
from streams.sink.sql import fetch_all
from streams.sink.targets import Target

R = TypeVar("R")

_TRY_LOCK_BACKFILL = "SELECT pg_try_advisory_lock(hashtextextended('emostream backfill', 0))"

OnConnect = Callable[[int, int | None], object]
"""Told the process id of the server's backend, and the port of our end; None for a Unix socket."""


class History:
    """One connection to Postgres, opened when it is first needed and again after it broke."""

    def __init__(self, dsn: str, *, application_name: str, on_connect: OnConnect | None = None) -> None:
        """Prepare the connection.

        Args:
            dsn: address of the database.
            application_name: how it shows on the server.
            on_connect: called after each connect.
        """
        self._dsn = dsn
        self._name = application_name
        self._on_connect = on_connect
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self, doing: str, isolation: IsolationLevel | None = None) -> Iterator[Connection]:
        """The connection, in a transaction.

        Args:
            doing: what is attempted, for errors.
            isolation: of the transaction; None for the server's default.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
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
        """Connect, and compare the schema with the one this version is made for.

        Raises:
            ConnectorError: Postgres did not answer, refused, or has no schema, an older or a newer one.
        """
        needed = find_migrations(migrations_folder())[-1].version
        with connect(self._dsn, application_name=self._name) as connection, postgres_errors("looking for the schema"):
            found = schema_version(connection)
        where = f"the database {address_of(self._dsn)}"
        if found is None:
            raise RejectedError(f"{where} has no schema yet; run `emostream init`")
        if found < needed:
            raise RejectedError(f"{where} has schema version {found}, and {needed} is needed; run `emostream init`")
        if found > needed:
            raise RejectedError(
                f"{where} has schema version {found}, and this emostream knows {needed}; run a newer emostream"
            )

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start_offsets(self, topic: str, bounds: Mapping[int, tuple[int, int]]) -> tuple[dict[int, int], list[Span]]:
        """Where the sink stands in each partition; a new one starts at the first offset that Kafka holds.

        A partition whose offsets Kafka has partly lost moves to the first it holds, and the range between is noted in
        `sink_gaps`.

        Args:
            topic: the topic.
            bounds: for each partition, the first offset Kafka holds and the next it will write.

        Returns:
            The next offset of each partition, and the gaps that were found now.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
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

    def offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Where the sink stands in these partitions; one it never saw is left out. Changes nothing.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
        """
        with self.transaction("reading the sink's offsets") as connection:
            return offsets_sql.read(connection, topic, partitions)

    def try_lock_backfill(self) -> bool:
        """Whether this connection may fill holes now: one may at a time, until it is closed.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
        """
        with self.transaction("locking the backfill") as connection:
            [[free]] = fetch_all(connection, _TRY_LOCK_BACKFILL)
            return bool(free)

    def write(self, topic: str, target: Target[R], rows: Sequence[R], spans: Sequence[Span]) -> None:
        """Write a topic's rows and move the offsets from each span's start to its end; all of it or nothing.

        Raises:
            PositionMismatchError: the offsets stand elsewhere; nothing was written.
            InvalidDataError: a row violates a constraint; nothing was written.
            ConnectorError: Postgres did not answer, or refused.
        """
        with self.transaction(f"writing {topic}") as connection:
            target.stage(connection, rows)
            before = self._lock(connection, topic, spans)
            target.merge(connection, rows)
            ranges = target.ledger_ranges(connection, spans, rows, before)
            offsets_sql.update(connection, topic, {span.partition: span.end for span in spans})
            ledger_sql.store(connection, topic, ranges)

    @staticmethod
    def _lock(connection: Connection, topic: str, spans: Sequence[Span]) -> dict[int, LedgerRange | None]:
        partitions = [span.partition for span in spans]
        # The row locks hold until the commit: a zombie waits here, and then sees that the offsets have moved.
        check_offsets(topic, offsets_sql.lock(connection, topic, partitions), spans)
        return ledger_sql.last_ranges(connection, topic, partitions)
