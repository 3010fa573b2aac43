"""Statements on `emotion_windows`, its tables of labels and sentiments, and the staged windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from connectors.postgres import Connection
from streams.records import EmotionWindow
from streams.sink.rows import LABEL_COLUMNS, SENTIMENT_COLUMNS, WINDOW_COLUMNS, Columns
from streams.sink.sql import column_list, fetch_all

WindowId = tuple[str, int, float]
"""The keyword of a window, its size in seconds, and its start in seconds since 1970."""


class StoredWindow(NamedTuple):
    """A window as Postgres has it.

    Attributes:
        revision: its revision.
        complete: whether the rows of its labels and sentiments are all there.
    """

    revision: int
    complete: bool


# A window is written only under a higher revision. `changed_windows` gets the keys of the windows that were written,
# and only these windows get new labels and sentiments.
_UPSERT = f"""
    WITH changed AS (
        INSERT INTO emotion_windows ({column_list(WINDOW_COLUMNS)})
        SELECT {column_list(WINDOW_COLUMNS)} FROM stage_windows
        ON CONFLICT (keyword, size_s, start_at) DO UPDATE SET
            {column_list(f"{column} = excluded.{column}" for column in list(WINDOW_COLUMNS)[3:])}
        WHERE excluded.revision > emotion_windows.revision
        RETURNING keyword, size_s, start_at
    )
    INSERT INTO changed_windows SELECT keyword, size_s, start_at FROM changed
"""


def _replace_rows(table: str, stage: str, columns: Columns) -> tuple[str, str]:
    """Returns two statements that replace the rows of the changed windows in `table` by those in `stage`."""
    delete = f"""
        DELETE FROM {table} AS old
        USING changed_windows AS changed
        WHERE (old.keyword, old.size_s, old.start_at) = (changed.keyword, changed.size_s, changed.start_at)
    """
    insert = f"""
        INSERT INTO {table} ({column_list(columns)})
        SELECT {column_list(f"stage.{column}" for column in columns)}
        FROM {stage} AS stage JOIN changed_windows USING (keyword, size_s, start_at)
    """
    return delete, insert


_MERGE_STAGED = [
    _UPSERT,
    *_replace_rows("emotion_window_labels", "stage_labels", LABEL_COLUMNS),
    *_replace_rows("emotion_window_sentiments", "stage_sentiments", SENTIMENT_COLUMNS),
]


# Each post in `posts` has exactly one label, so the labels of a complete window add up to them. A post may have no
# sentiment.
_COMPLETE = """(
    window_.posts = (
        SELECT coalesce(sum(label.posts), 0) FROM emotion_window_labels AS label
        WHERE (label.keyword, label.size_s, label.start_at) = (window_.keyword, window_.size_s, window_.start_at)
    )
    AND (window_.mean_sentiment IS NULL OR EXISTS (
        SELECT FROM emotion_window_sentiments AS sentiment
        WHERE (sentiment.keyword, sentiment.size_s, sentiment.start_at)
            = (window_.keyword, window_.size_s, window_.start_at)
    ))
)"""


def merge_staged(connection: Connection) -> None:
    """Write the staged windows whose revision is higher than the stored one, with their labels and sentiments."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS changed_windows "
        "(keyword text, size_s integer, start_at timestamptz) ON COMMIT DELETE ROWS"
    )
    for statement in _MERGE_STAGED:
        connection.execute(statement)


def stored_windows(connection: Connection, windows: Sequence[EmotionWindow]) -> Mapping[WindowId, StoredWindow]:
    """Returns what Postgres has of these windows; a window that it lacks is left out."""
    found = fetch_all(
        connection,
        f"SELECT keyword, size_s, extract(epoch FROM start_at)::float8, revision, {_COMPLETE} "
        "FROM unnest(%s::text[], %s::integer[], %s::timestamptz[]) AS wanted (keyword, size_s, start_at) "
        "JOIN emotion_windows AS window_ USING (keyword, size_s, start_at)",
        [window.keyword for window in windows],
        [window.size for window in windows],
        [window.start for window in windows],
    )
    return {
        (keyword, size, start): StoredWindow(revision, complete) for keyword, size, start, revision, complete in found
    }


def delete_incomplete(connection: Connection) -> None:
    """Delete the stored windows that are staged and incomplete, so that `merge_staged` writes them in any revision."""
    connection.execute(
        "DELETE FROM emotion_windows AS window_ USING stage_windows AS staged "
        "WHERE (window_.keyword, window_.size_s, window_.start_at) = (staged.keyword, staged.size_s, staged.start_at) "
        f"AND NOT {_COMPLETE}"
    )
