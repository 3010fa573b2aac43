"""The tables that the records of each topic are written to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Generic, TypeVar

from connectors.postgres import Connection
from streams.records import ClassifiedPost, DeletionRecord, EmotionWindow
from streams.sink import erasures_sql, posts_sql, windows_sql
from streams.sink.ledger import LedgerRange, Span, range_to_store
from streams.sink.rows import (
    LABEL_COLUMNS,
    POST_COLUMNS,
    SENTIMENT_COLUMNS,
    WINDOW_COLUMNS,
    PostRow,
    distinct_rows,
    label_rows,
    latest_windows,
    post_row,
    sentiment_rows,
    window_row,
)
from streams.sink.sql import copy_to_staging_table

DAYS_AHEAD = 2
"""Days ahead for which the partitions of `posts` are created, so that they exist at midnight."""

R = TypeVar("R")

LastRanges = Mapping[int, LedgerRange | None]
"""The last range of the ledger before the span to write, by partition; None if there is none."""


@dataclass(frozen=True)
class Target(Generic[R]):
    """How the records of a topic get into their tables. All but `decode` run in the transaction of the caller.

    Attributes:
        decode: makes a row of a record's value and partition; raises RecordError if the value is not a record.
        copy_to_staging: copies rows into staging tables.
        lock: waits until no transaction is open that `merge` must not run beside, and keeps others out until the end.
        merge: merges the staging tables into the tables, where a row that is not older stays as it is.
        ledger_ranges: returns the ranges of the ledger for spans whose rows are in the staging tables; None for a span
            that the ledger covers already.
    """

    decode: Callable[[bytes, int], R]
    copy_to_staging: Callable[[Connection, Sequence[R]], None]
    lock: Callable[[Connection], None]
    merge: Callable[[Connection, Sequence[R]], None]
    ledger_ranges: Callable[[Connection, Sequence[Span], Sequence[R], LastRanges], list[LedgerRange | None]]


def _copy_posts(connection: Connection, rows: Sequence[PostRow]) -> None:
    copy_to_staging_table(connection, "stage_posts", "posts", POST_COLUMNS, distinct_rows(rows))


def _merge_posts(connection: Connection, rows: Sequence[PostRow]) -> None:
    posts_sql.create_days(connection, {row.created_at.date() for row in rows} | _days_ahead())
    erasures_sql.erase_staged(connection)
    posts_sql.insert_staged(connection)
    posts_sql.record_models(connection, first_uses(rows))


def _post_ranges(
    connection: Connection, spans: Sequence[Span], rows: Sequence[PostRow], last: LastRanges
) -> list[LedgerRange | None]:
    raw_topic = rows[0].origin_topic if rows else None  # `posts_of` takes posts of one raw topic only
    figures = {} if raw_topic is None else posts_sql.staged_figures(connection, raw_topic, last)
    return [range_to_store(last[span.partition], span, raw_topic, figures.get(span.partition)) for span in spans]


def _copy_windows(connection: Connection, windows: Sequence[EmotionWindow]) -> None:
    latest = latest_windows(windows)
    labels = [row for window in latest for row in label_rows(window)]
    sentiments = [row for window in latest for row in sentiment_rows(window)]
    copy_to_staging_table(connection, "stage_windows", "emotion_windows", WINDOW_COLUMNS, map(window_row, latest))
    copy_to_staging_table(connection, "stage_labels", "emotion_window_labels", LABEL_COLUMNS, labels)
    copy_to_staging_table(connection, "stage_sentiments", "emotion_window_sentiments", SENTIMENT_COLUMNS, sentiments)


def _merge_windows(connection: Connection, windows: Sequence[EmotionWindow]) -> None:
    windows_sql.merge_staged(connection)


def _plain_ranges(
    connection: Connection, spans: Sequence[Span], rows: Sequence[object], last: LastRanges
) -> list[LedgerRange | None]:
    return [range_to_store(last[span.partition], span, None, None) for span in spans]


def _nothing(*_: object) -> None:
    pass


def posts_of(raw_topic: str) -> Target[PostRow]:
    """Returns the target of classified posts: one row for each origin in `raw_topic`."""
    return Target(
        lambda value, partition: post_row(ClassifiedPost.from_partition(value, raw_topic, partition)),
        _copy_posts,
        erasures_sql.lock_out_erasures,
        _merge_posts,
        _post_ranges,
    )


WINDOWS: Target[EmotionWindow] = Target(
    lambda value, _: EmotionWindow.from_json(value), _copy_windows, _nothing, _merge_windows, _plain_ranges
)
"""Windows: one row for each window, in its highest revision, and the rows of its labels and sentiments."""

DELETIONS: Target[DeletionRecord] = Target(
    lambda value, _: DeletionRecord.from_json(value),
    _nothing,
    erasures_sql.lock_out_posts,
    erasures_sql.apply,
    _plain_ranges,
)
"""Deletions: one row for each deleted post or account; the text, the author and the URL of its posts are erased."""


def first_uses(rows: Iterable[PostRow]) -> dict[tuple[str, str], datetime]:
    """Returns, for each model by name and version, when it classified the first of these posts."""
    first: dict[tuple[str, str], datetime] = {}
    for row in rows:
        model = (row.model_name, row.model_version)
        if model not in first or row.classified_at < first[model]:
            first[model] = row.classified_at
    return first


def _days_ahead() -> set[date]:
    today = datetime.now(UTC).date()
    return {today + timedelta(days=days) for days in range(DAYS_AHEAD + 1)}
