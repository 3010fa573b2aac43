"""The rows that posts and windows become, and their columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.records import EmotionWindow, Sentiment, SentimentStats, from_ms
from streams.sink.rows import (
    LABEL_COLUMNS,
    POST_COLUMNS,
    SENTIMENT_COLUMNS,
    WINDOW_COLUMNS,
    Columns,
    distinct_rows,
    label_rows,
    latest_windows,
    sentiment_rows,
    window_row,
)
from streams.windows.codec import to_window
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON, NOON_MS, classified, row_of

INIT_DB = Path(__file__).parents[2] / "init_db"


def window(revision: int = 1, *, keyword: str = "tea", posts: int = 2) -> EmotionWindow:
    row = {"n": str(posts), "l:joy": str(posts), "c:joy": "1500000", "m:1.0.0": "2", "s:web": "2"}
    row |= {"t:positive": "2", "ts": "500000", "first": str(NOON_MS), "last": str(NOON_MS + 1), "rev": str(revision)}
    return to_window(WindowKey(keyword, 60, NOON_MS), row)


def test_the_row_of_a_post() -> None:
    post = classified(7, partition=3, keywords=["tea", "rain"], sentiment=Sentiment(label="positive", score=0.5))
    row = dict(zip(POST_COLUMNS, row_of(post), strict=True))
    assert (row["origin_topic"], row["origin_partition"], row["origin_offset"]) == ("posts.raw", 3, 7)
    assert (row["id"], row["keywords"], row["created_at"]) == ("3-7", ["tea", "rain"], NOON)
    assert (row["sentiment_label"], row["sentiment_score"]) == ("positive", 0.5)
    assert (row["model_name"], row["model_version"], row["model_tier"]) == ("tiny", "1.0.0", "full")
    assert row["scores"] == {"joy": 0.5}


def test_a_post_without_text_or_sentiment_has_nulls() -> None:
    row = dict(zip(POST_COLUMNS, row_of(classified(7)), strict=True))
    assert [row[name] for name in ("text", "lang", "author", "url", "sentiment_label", "sentiment_score")] == [None] * 6


def test_the_row_of_a_window() -> None:
    row = dict(zip(WINDOW_COLUMNS, window_row(window(9)), strict=True))
    assert (row["keyword"], row["size_s"], row["start_at"], row["end_at"]) == (
        "tea",
        60,
        NOON,
        from_ms(NOON_MS + 60_000),
    )
    assert (row["posts"], row["mean_sentiment"], row["revision"], row["final"], row["late"]) == (2, 0.25, 9, False, 0)
    assert row["models"] == {"1.0.0": 2}


def test_the_rows_of_the_labels_of_a_window() -> None:
    (row,) = label_rows(window())
    assert dict(zip(LABEL_COLUMNS, row, strict=True)) == {
        "keyword": "tea",
        "size_s": 60,
        "start_at": NOON,
        "label": "joy",
        "posts": 2,
        "percent": 100.0,
        "mean_confidence": 0.75,
    }


def test_the_rows_of_the_sentiments_of_a_window() -> None:
    some = replace(window(), sentiment=SentimentStats(labels={"negative": 1, "positive": 2}, mean_sentiment=0.25))
    rows = [dict(zip(SENTIMENT_COLUMNS, row, strict=True)) for row in sentiment_rows(some)]
    assert [(row["label"], row["posts"], row["percent"]) for row in rows] == [
        ("negative", 1, 33.3333),
        ("positive", 2, 66.6667),
    ]
    assert {(row["keyword"], row["size_s"], row["start_at"]) for row in rows} == {("tea", 60, NOON)}
    assert sentiment_rows(replace(some, sentiment=None)) == []


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("posts", POST_COLUMNS),
        ("emotion_windows", WINDOW_COLUMNS),
        ("emotion_window_labels", LABEL_COLUMNS),
        ("emotion_window_sentiments", SENTIMENT_COLUMNS),
    ],
)
def test_the_tables_have_every_column(table: str, columns: Columns) -> None:
    ddl = "\n".join(path.read_text("utf-8") for path in sorted(INIT_DB.glob("*.sql")))
    bodies = re.findall(rf"CREATE TABLE (?:IF NOT EXISTS )?{table} \((.*?)\n\)", ddl, re.S)
    # The last definition counts: a migration may have created the table again.
    found = dict(line.split()[:2] for line in bodies[-1].splitlines() if line.strip())
    for old, new in re.findall(rf"ALTER TABLE {table} RENAME COLUMN (\w+) TO (\w+);", ddl):
        found[new] = found.pop(old)
    for more in re.findall(rf"ALTER TABLE {table}\n(.*?);", ddl, re.S):
        found |= dict(re.findall(r"ADD COLUMN (\w+) +(\w+)", more))
    types = {"integer": "int4", "bigint": "int8", "double": "float8", "boolean": "bool"}
    assert columns == {name: types.get(found[name].rstrip(","), found[name].rstrip(",")) for name in columns}


def test_each_window_is_written_once_in_its_highest_revision() -> None:
    windows = [window(3), window(1, keyword="rain"), window(5, posts=4), window(4)]
    assert [(kept.keyword, kept.revision, kept.count) for kept in latest_windows(windows)] == [
        ("tea", 5, 4),
        ("rain", 1, 2),
    ]


def test_each_post_is_written_once_in_its_first_delivery() -> None:
    posts = [classified(0, label="joy"), classified(1), classified(0, label="fear"), classified(0, partition=1)]
    kept = distinct_rows(map(row_of, posts))
    assert [(row.origin_partition, row.origin_offset, row.label) for row in kept] == [
        (0, 0, "joy"),
        (0, 1, "joy"),
        (1, 0, "joy"),
    ]
