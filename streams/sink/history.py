"""Writes to Postgres. Each write is one transaction.

1. COPY the rows, in binary form, into staging tables of the session: temporary, and so not logged. 2. Lock the offsets
and compare them with where the batch begins. 3. Move the rows into their tables. 4. Set the offsets, and note the
ranges in the ledger. The lock comes after the COPY: from then on the server has everything, so that a process stopped
in between is idle in its transaction, which the server ends (`connectors.postgres.IDLE_IN_TRANSACTION_MS`); a COPY
that waits for its client it would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from connectors.errors import RejectedError
from connectors.postgres import Connection, address_of, connect, find_migrations, postgres_errors
from streams.migrations import migrations_folder
from streams.records import EmotionWindow
from streams.sink import tables
from streams.sink.ledger import LedgerRange, Span, check_stands, note
from streams.sink.rows import (
    LABEL_COLUMNS,
    POST_COLUMNS,
    SENTIMENT_COLUMNS,
    WINDOW_COLUMNS,
    PostRow,
    distinct_rows,
    label_rows,
    latest_windows,
    sentiment_rows,
    window_row,
)

DAYS_AHEAD = 2
"""Partitions of `posts` are made for today and these many days more, so that midnight finds them there."""


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

    def connection(self) -> Connection:
        """The open connection.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
        """
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn, application_name=self._name)
            if self._on_connect is not None:
                with postgres_errors("looking at the connection"), self._connection.transaction():
                    self._on_connect(*tables.backend_of(self._connection))
        return self._connection

    def check(self) -> None:
        """Connect, and compare the schema with the one this version is made for.

        Raises:
            ConnectorError: Postgres did not answer, refused, or has no schema, an older or a newer one.
        """
        needed = find_migrations(migrations_folder())[-1].version
        with connect(self._dsn, application_name=self._name) as connection, postgres_errors("looking for the schema"):
            found = tables.schema_version(connection)
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

    def stand(self, topic: str, bounds: Mapping[int, tuple[int, int]]) -> tuple[dict[int, int], list[Span]]:
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
        with postgres_errors("reading the sink's offsets"):
            connection = self.connection()
            with connection.transaction():
                tables.begin_offsets(connection, topic, {partition: low for partition, (low, _) in bounds.items()})
                stored = tables.lock_offsets(connection, topic, bounds)
                for partition, (low, _) in bounds.items():
                    if stored[partition] < low:
                        gaps.append(Span(partition, stored[partition], low, 0))
                        tables.note_gap(connection, topic, gaps[-1], "expired", None)
                        tables.set_offset(connection, topic, partition, low)
                        stored[partition] = low
        return stored, gaps

    def offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Where the sink stands in these partitions; one it never saw is left out. Changes nothing.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
        """
        with postgres_errors("reading the sink's offsets"):
            connection = self.connection()
            with connection.transaction():
                return tables.read_offsets(connection, topic, partitions)

    def lock_backfill(self) -> bool:
        """Whether this connection may fill holes now: one may at a time, until it is closed.

        Raises:
            ConnectorError: Postgres did not answer, or refused.
        """
        with postgres_errors("locking the backfill"):
            connection = self.connection()
            with connection.transaction():
                return tables.lock_backfill(connection)

    def write_posts(self, topic: str, rows: Sequence[PostRow], spans: Sequence[Span]) -> None:
        """Write posts and move the offsets from each span's start to its end; all of it or nothing.

        The ledger's figures are of the raw topic of the last post: in practice there is one.

        Raises:
            OffsetMoved: the offsets stand elsewhere; nothing was written.
            InvalidDataError: a row violates a constraint; nothing was written.
            ConnectorError: Postgres did not answer, or refused.
        """
        with postgres_errors(f"writing {topic}"):
            connection = self.connection()
            with connection.transaction():
                stage_posts(connection, rows)
                last = self._lock(connection, topic, spans)
                move_posts(connection, rows)
                tables.move(connection, topic, spans, note_posts(connection, spans, rows, last))

    def write_windows(self, topic: str, windows: Sequence[EmotionWindow], spans: Sequence[Span]) -> None:
        """Write windows whose revision is news, with their labels and sentiment; the rest as in `write_posts`."""
        with postgres_errors(f"writing {topic}"):
            connection = self.connection()
            with connection.transaction():
                stage_windows(connection, windows)
                last = self._lock(connection, topic, spans)
                tables.move_windows(connection)
                tables.move(connection, topic, spans, [note(last[span.partition], span, None, None) for span in spans])

    @staticmethod
    def _lock(connection: Connection, topic: str, spans: Sequence[Span]) -> dict[int, LedgerRange | None]:
        partitions = [span.partition for span in spans]
        # The row locks hold until the commit: a zombie waits here, and then sees that the offsets have moved.
        check_stands(topic, tables.lock_offsets(connection, topic, partitions), spans)
        return tables.last_ranges(connection, topic, partitions)


def stage_posts(connection: Connection, rows: Sequence[PostRow]) -> None:
    """Bring posts into their staging table, each origin once."""
    tables.stage(connection, "stage_posts", "posts", POST_COLUMNS, distinct_rows(rows))


def move_posts(connection: Connection, rows: Sequence[PostRow]) -> None:
    """Bring the staged posts into their table; those that are there stay as they are."""
    tables.make_days(connection, {row.created_at.date() for row in rows} | _days_ahead())
    tables.move_posts(connection)
    tables.note_models(connection, first_uses(rows))


def note_posts(
    connection: Connection, spans: Sequence[Span], rows: Sequence[PostRow], last: Mapping[int, LedgerRange | None]
) -> list[LedgerRange | None]:
    """The ledger's ranges for spans whose posts are staged; `last` has the range before each, by partition."""
    raw_topic = rows[-1].origin_topic if rows else None
    figures = {} if raw_topic is None else tables.figures_of_stage(connection, raw_topic, last)
    return [note(last[span.partition], span, raw_topic, figures.get(span.partition)) for span in spans]


def stage_windows(connection: Connection, windows: Sequence[EmotionWindow]) -> None:
    """Bring windows into the staging tables, of each the highest revision."""
    latest = latest_windows(windows)
    labels = [row for window in latest for row in label_rows(window)]
    sentiments = [row for window in latest for row in sentiment_rows(window)]
    tables.stage(connection, "stage_windows", "emotion_windows", WINDOW_COLUMNS, map(window_row, latest))
    tables.stage(connection, "stage_labels", "emotion_window_labels", LABEL_COLUMNS, labels)
    tables.stage(connection, "stage_sentiments", "emotion_window_sentiments", SENTIMENT_COLUMNS, sentiments)


def first_uses(rows: Iterable[PostRow]) -> dict[tuple[str, str], datetime]:
    """For each model, by name and version, when it classified the first of these posts."""
    first: dict[tuple[str, str], datetime] = {}
    for row in rows:
        model = (row.model_name, row.model_version)
        if model not in first or row.classified_at < first[model]:
            first[model] = row.classified_at
    return first


def _days_ahead() -> set[date]:
    today = datetime.now(UTC).date()
    return {today + timedelta(days=days) for days in range(DAYS_AHEAD + 1)}
