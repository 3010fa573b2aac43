"""Writes to Postgres. Each write is one transaction.

1. COPY the rows into a staging table of the session. 2. Lock the offsets and compare them with where the batch begins.
3. Move the rows into their tables. 4. Set the offsets, and note the range in the ledger. The lock comes after the COPY:
from then on the server has everything, so that a process stopped in between is idle in its transaction, which the
server ends (`connectors.postgres.IDLE_IN_TRANSACTION_MS`); a COPY that waits for its client it would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import LiteralString

from connectors.errors import RejectedError
from connectors.postgres import Connection, address_of, connect, postgres_errors
from streams.records import ClassifiedPost, EmotionWindow
from streams.sink.rows import (
    LABEL_COLUMNS,
    POST_COLUMNS,
    SENTIMENT_COLUMNS,
    WINDOW_COLUMNS,
    Row,
    Span,
    check_stands,
    distinct_posts,
    label_rows,
    latest_windows,
    post_row,
    sentiment_rows,
    window_row,
)

_POSTS = f"""
    INSERT INTO posts ({", ".join(POST_COLUMNS)})
    SELECT {", ".join(POST_COLUMNS)} FROM stage_posts
    ON CONFLICT (origin_topic, origin_partition, origin_offset) DO NOTHING
"""

# Only windows that are news replace their labels: `changed` has the keys of those that were written.
_WINDOWS = f"""
    WITH changed AS (
        INSERT INTO emotion_windows ({", ".join(WINDOW_COLUMNS)})
        SELECT {", ".join(WINDOW_COLUMNS)} FROM stage_windows
        ON CONFLICT (keyword, size_s, start_at) DO UPDATE SET
            {", ".join(f"{column} = excluded.{column}" for column in WINDOW_COLUMNS[3:])}
        WHERE excluded.revision > emotion_windows.revision
        RETURNING keyword, size_s, start_at
    )
    INSERT INTO changed_windows SELECT keyword, size_s, start_at FROM changed
"""


def _replace(
    table: LiteralString, stage: LiteralString, columns: Sequence[LiteralString]
) -> tuple[LiteralString, LiteralString]:
    """Statements that give the changed windows the rows of a stage in place of their old ones."""
    stale = f"""
        DELETE FROM {table} AS old
        USING changed_windows AS changed
        WHERE (old.keyword, old.size_s, old.start_at) = (changed.keyword, changed.size_s, changed.start_at)
    """
    fresh = f"""
        INSERT INTO {table} ({", ".join(columns)})
        SELECT {", ".join(f"stage.{column}" for column in columns)}
        FROM {stage} AS stage JOIN changed_windows USING (keyword, size_s, start_at)
    """
    return stale, fresh


_LABELS = _replace("emotion_window_labels", "stage_labels", LABEL_COLUMNS)
_SENTIMENTS = _replace("emotion_window_sentiments", "stage_sentiments", SENTIMENT_COLUMNS)


class History:
    """One connection to Postgres, opened when it is first needed and again after it broke."""

    def __init__(self, dsn: str, *, application_name: str) -> None:
        self._dsn = dsn
        self._name = application_name
        self._connection: Connection | None = None

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn, application_name=self._name)
        return self._connection

    def check(self) -> None:
        """Connect, and look for the schema.

        Raises:
            ConnectorError: Postgres did not answer, refused, or has no schema yet.
        """
        with connect(self._dsn, application_name=self._name) as connection, postgres_errors("looking for the schema"):
            found = connection.execute("SELECT to_regclass('sink_offsets') IS NOT NULL").fetchone()
        if found is None or not found[0]:
            raise RejectedError(f"the database {address_of(self._dsn)} has no schema yet; run `emostream init`")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def stand(self, topic: str, bounds: dict[int, tuple[int, int]]) -> tuple[dict[int, int], list[Span]]:
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
            connection = self._open()
            with connection.transaction():
                for partition, (low, _) in sorted(bounds.items()):
                    connection.execute(
                        "INSERT INTO sink_offsets (topic, partition, next_offset) VALUES (%s, %s, %s) "
                        "ON CONFLICT DO NOTHING",
                        (topic, partition, low),
                    )
                stored = self._lock_offsets(connection, topic, bounds)
                for partition, (low, _) in bounds.items():
                    if stored[partition] < low:
                        gaps.append(Span(partition, stored[partition], low, 0))
                        connection.execute(
                            "INSERT INTO sink_gaps (topic, partition, first_offset, next_offset) "
                            "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                            (topic, partition, stored[partition], low),
                        )
                        self._set_offset(connection, topic, partition, low)
                        stored[partition] = low
        return stored, gaps

    def write_posts(self, topic: str, posts: Sequence[ClassifiedPost], spans: Sequence[Span]) -> None:
        """Write posts and move the offsets from each span's start to its end; all of it or nothing.

        Raises:
            OffsetMoved: the offsets stand elsewhere; nothing was written.
            ConnectorError: Postgres did not answer, or refused.
        """

        def stage(connection: Connection) -> None:
            self._stage(connection, "stage_posts", "posts", POST_COLUMNS, map(post_row, distinct_posts(posts)))

        self._write(topic, spans, stage, [_POSTS])

    def write_windows(self, topic: str, windows: Sequence[EmotionWindow], spans: Sequence[Span]) -> None:
        """Write windows whose revision is news, with their labels and sentiment; the rest as in `write_posts`."""
        latest = latest_windows(windows)

        def stage(connection: Connection) -> None:
            labels = [row for window in latest for row in label_rows(window)]
            sentiments = [row for window in latest for row in sentiment_rows(window)]
            self._stage(connection, "stage_windows", "emotion_windows", WINDOW_COLUMNS, map(window_row, latest))
            self._stage(connection, "stage_labels", "emotion_window_labels", LABEL_COLUMNS, labels)
            self._stage(connection, "stage_sentiments", "emotion_window_sentiments", SENTIMENT_COLUMNS, sentiments)
            connection.execute(
                "CREATE TEMP TABLE IF NOT EXISTS changed_windows "
                "(keyword text, size_s integer, start_at timestamptz) ON COMMIT DELETE ROWS"
            )

        self._write(topic, spans, stage, [_WINDOWS, *_LABELS, *_SENTIMENTS])

    def _write(
        self, topic: str, spans: Sequence[Span], stage: Callable[[Connection], None], moves: Sequence[LiteralString]
    ) -> None:
        with postgres_errors(f"writing {topic}"):
            connection = self._open()
            with connection.transaction():
                stage(connection)
                partitions = [span.partition for span in spans]
                check_stands(topic, self._lock_offsets(connection, topic, partitions), spans)
                for move in moves:
                    connection.execute(move)
                for span in spans:
                    self._set_offset(connection, topic, span.partition, span.end)
                    connection.execute(
                        "INSERT INTO sink_ledger (topic, partition, first_offset, next_offset, records) "
                        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition, first_offset) DO UPDATE SET "
                        "next_offset = excluded.next_offset, records = excluded.records, written_at = now()",
                        (topic, span.partition, span.start, span.end, span.records),
                    )

    @staticmethod
    def _lock_offsets(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        # The row locks hold until the commit: a zombie waits here, and then sees that the offsets have moved.
        found = connection.execute(
            "SELECT partition, next_offset FROM sink_offsets WHERE topic = %s AND partition = ANY(%s) "
            "ORDER BY partition FOR UPDATE",
            (topic, list(partitions)),
        ).fetchall()
        return {int(str(partition)): int(str(offset)) for partition, offset in found}

    @staticmethod
    def _set_offset(connection: Connection, topic: str, partition: int, offset: int) -> None:
        connection.execute(
            "UPDATE sink_offsets SET next_offset = %s WHERE topic = %s AND partition = %s",
            (offset, topic, partition),
        )

    @staticmethod
    def _stage(connection: Connection, stage: str, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table}) ON COMMIT DELETE ROWS")
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {stage} ({', '.join(columns)}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
