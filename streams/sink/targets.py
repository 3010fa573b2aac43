"""What the records of each topic become in Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Generic, TypeVar

from connectors.postgres import Connection
from streams.records import ClassifiedPost, EmotionWindow
from streams.sink import posts_sql, windows_sql
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
from streams.sink.sql import stage_rows

DAYS_AHEAD = 2
"""Partitions of `posts` are made for today and these many days more, so that midnight finds them there."""

R = TypeVar("R")

Before = Mapping[int, LedgerRange | None]
"""The ledger's range before those that are written, by partition; None where there is none."""


@dataclass(frozen=True)
class Target(Generic[R]):
    """What a topic's records become. All but `read` happens within the caller's transaction.

    Attributes:
        decode: makes a row of a record's value; raises RecordError if it is not a record.
        stage: brings rows into staging tables.
        merge: brings what is staged into the tables; what is there and no older stays.
        ledger_ranges: the ledger's ranges for spans whose rows are staged; None for one that it covers already.
    """

    decode: Callable[[bytes], R]
    stage: Callable[[Connection, Sequence[R]], None]
    merge: Callable[[Connection, Sequence[R]], None]
    ledger_ranges: Callable[[Connection, Sequence[Span], Sequence[R], Before], list[LedgerRange | None]]


def _stage_posts(connection: Connection, rows: Sequence[PostRow]) -> None:
    stage_rows(connection, "stage_posts", "posts", POST_COLUMNS, distinct_rows(rows))


def _move_posts(connection: Connection, rows: Sequence[PostRow]) -> None:
    posts_sql.create_days(connection, {row.created_at.date() for row in rows} | _days_ahead())
    posts_sql.insert_staged(connection)
    posts_sql.record_models(connection, first_uses(rows))


def _note_posts(
    connection: Connection, spans: Sequence[Span], rows: Sequence[PostRow], before: Before
) -> list[LedgerRange | None]:
    # The figures are of the raw topic of the last post: in practice there is one.
    raw_topic = rows[-1].origin_topic if rows else None
    figures = {} if raw_topic is None else posts_sql.staged_figures(connection, raw_topic, before)
    return [range_to_store(before[span.partition], span, raw_topic, figures.get(span.partition)) for span in spans]


def _stage_windows(connection: Connection, windows: Sequence[EmotionWindow]) -> None:
    latest = latest_windows(windows)
    labels = [row for window in latest for row in label_rows(window)]
    sentiments = [row for window in latest for row in sentiment_rows(window)]
    stage_rows(connection, "stage_windows", "emotion_windows", WINDOW_COLUMNS, map(window_row, latest))
    stage_rows(connection, "stage_labels", "emotion_window_labels", LABEL_COLUMNS, labels)
    stage_rows(connection, "stage_sentiments", "emotion_window_sentiments", SENTIMENT_COLUMNS, sentiments)


POSTS: Target[PostRow] = Target(
    lambda value: post_row(ClassifiedPost.from_json(value)), _stage_posts, _move_posts, _note_posts
)
"""Each origin is one row."""

WINDOWS: Target[EmotionWindow] = Target(
    EmotionWindow.from_json,
    _stage_windows,
    lambda connection, windows: windows_sql.merge_staged(connection),
    lambda connection, spans, windows, before: [
        range_to_store(before[span.partition], span, None, None) for span in spans
    ],
)
"""Each window is one row, with its labels and sentiments, of its highest revision."""


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
