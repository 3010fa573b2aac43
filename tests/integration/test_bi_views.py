"""The views of the schema `bi` show the figures that are computed by hand, and each view and column has a comment."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.bi_support import (
    ALL,
    DAY,
    FIVE,
    HOUR,
    MINUTE,
    NOON,
    VIEWS,
    Connection,
    Labels,
    add_an_hour,
    add_post,
    add_window,
    connection,
    database,
    dsn,
    rows,
)

__all__ = ["connection", "database", "dsn"]  # fixtures


def test_emotion_share(connection: Connection) -> None:
    add_an_hour(connection)
    assert rows(connection, "SELECT * FROM bi.emotion_share ORDER BY 1, 3") == [
        ("rain", NOON, "joy", 1, 25.0, 0.6),
        ("rain", NOON, "sadness", 3, 75.0, 0.8),
        ("tea", NOON, "anger", 3, 50.0, 0.5),
        ("tea", NOON, "joy", 3, 50.0, 0.9),
    ]
    assert rows(connection, "SELECT * FROM bi.emotion_share_all ORDER BY emotion") == [
        ("all posts", NOON, "anger", 3, 33.3333, 0.5),
        ("all posts", NOON, "joy", 4, 44.4444, 0.8),
        ("all posts", NOON, "sadness", 2, 22.2222, 0.7),
    ]


def test_each_post_counts_once_in_a_view(connection: Connection) -> None:
    add_an_hour(connection, sizes=(MINUTE, FIVE, HOUR, DAY))
    for view, posts in (
        ("emotion_share_all", 9),
        ("emotion_share", 10),
        ("emotion_trend_all", 9),
        ("emotion_trend", 10),
    ):
        assert rows(connection, f"SELECT sum(posts) FROM bi.{view}") == [(posts,)], view
    assert rows(connection, "SELECT sum(posts) FROM bi.keyword_frequency") == [(10,)]
    assert rows(connection, "SELECT sum(posts) FROM bi.confidence_scatter") == [(10,)]


@pytest.mark.parametrize("sizes", [(HOUR,), (FIVE,)], ids=["hours", "added-up"])
def test_percent_adds_up_to_a_hundred(connection: Connection, sizes: tuple[int, ...]) -> None:
    thirds: Labels = {"joy": (1, 0.5), "anger": (1, 0.5), "fear": (1, 0.5)}
    for size in sizes:
        for keyword in ("tea", "*"):
            for hours in range(3):
                add_window(connection, keyword, size, NOON + timedelta(hours=hours), thirds)
    for view in ("emotion_share", "emotion_share_all"):
        sums = rows(connection, f"SELECT sum(percent) FROM bi.{view} GROUP BY keyword, hour")
        assert len(sums) == 3
        assert [float(percent) for (percent,) in sums] == [pytest.approx(100, abs=0.01)] * 3


def test_hours_are_summed_if_there_are_no_windows_of_an_hour(connection: Connection) -> None:
    for minutes in (0, 5, 60):
        start = NOON + timedelta(minutes=minutes)
        labels: Labels = {"joy": (1, 0.5), "fear": (1, 0.7)} if minutes else {"joy": (3, 0.9)}
        for keyword in ("tea", "*"):
            add_window(
                connection, keyword, FIVE, start, labels, sentiments={"positive": 2, "negative": 1}, sentiment_score=0.5
            )
            for minute in range(5):  # windows of a minute with the same posts, which must not be counted again
                add_window(connection, keyword, MINUTE, start + timedelta(minutes=minute), labels)
            add_window(connection, keyword, 420, start, labels)  # 7 minutes, which do not divide an hour
    later = NOON + timedelta(hours=1)
    assert rows(connection, "SELECT * FROM bi.emotion_share ORDER BY hour, emotion") == [
        ("tea", NOON, "fear", 1, 20.0, 0.7),
        ("tea", NOON, "joy", 4, 80.0, pytest.approx((3 * 0.9 + 0.5) / 4)),
        ("tea", later, "fear", 1, 50.0, 0.7),
        ("tea", later, "joy", 1, 50.0, 0.5),
    ]
    assert rows(connection, "SELECT * FROM bi.keyword_frequency ORDER BY hour") == [
        ("tea", NOON, 5, 100.0, 0),
        ("tea", later, 2, 100.0, 0),
    ]
    assert rows(
        connection, "SELECT hour, sentiment, posts, percent, mean_sentiment FROM bi.sentiment_trend ORDER BY 1, 2"
    ) == [
        (NOON, "negative", 2, pytest.approx(100 / 3), 0.5),
        (NOON, "positive", 4, pytest.approx(200 / 3), 0.5),
        (later, "negative", 1, pytest.approx(100 / 3), 0.5),
        (later, "positive", 2, pytest.approx(200 / 3), 0.5),
    ]


def test_a_window_weighs_as_much_as_it_has_posts_with_a_sentiment(connection: Connection) -> None:
    """Models with and without sentiment serve side by side, so a window may have few posts with one."""
    later, earlier = NOON + timedelta(minutes=5), NOON - timedelta(hours=1)
    for keyword in ("tea", "*"):
        full: Labels = {"joy": (3, 0.9)}
        add_window(connection, keyword, FIVE, NOON, full, sentiments={"positive": 3}, sentiment_score=0.5)
        few: Labels = {"joy": (9, 0.9)}
        add_window(connection, keyword, FIVE, later, few, sentiments={"negative": 1}, sentiment_score=-1.0)
        add_window(connection, keyword, FIVE, later + timedelta(minutes=5), {"joy": (100, 0.9)})
        # Windows of an early version have a mean, and no rows of their sentiments.
        add_window(connection, keyword, FIVE, earlier, {"joy": (2, 0.9)}, sentiment_score=0.2)
    mean = (3 * 0.5 - 1) / 4
    for view, keyword in (("sentiment_trend", "tea"), ("sentiment_trend_all", "all posts")):
        assert rows(connection, f"SELECT keyword, sentiment, posts, mean_sentiment FROM bi.{view} ORDER BY 2") == [
            (keyword, "negative", 1, mean),
            (keyword, "positive", 3, mean),
        ], view
    assert rows(
        connection, "SELECT hour, posts, mean_sentiment FROM hourly_windows WHERE keyword = '*' ORDER BY 1"
    ) == [
        (earlier, 2, 0.2),
        (NOON, 112, mean),
    ]


def test_hours_before_the_first_window_of_an_hour_are_summed(connection: Connection) -> None:
    later = NOON + timedelta(hours=1)
    for keyword in ("tea", "*"):
        for start in (NOON, NOON + timedelta(minutes=5), later):
            add_window(connection, keyword, FIVE, start, {"joy": (2, 0.9)})
        add_window(connection, keyword, HOUR, later, {"joy": (7, 0.8)})
    assert rows(connection, "SELECT hour, posts FROM bi.emotion_share ORDER BY hour") == [(NOON, 4), (later, 7)]
    assert rows(connection, "SELECT hour, posts FROM bi.keyword_frequency ORDER BY hour") == [(NOON, 4), (later, 7)]


def test_sizes_that_do_not_divide_an_hour_leave_the_hourly_views_empty(connection: Connection) -> None:
    add_an_hour(connection, sizes=(420, DAY))
    assert rows(connection, "SELECT count(*) FROM bi.emotion_share") == [(0,)]
    assert rows(connection, "SELECT sum(posts) FROM bi.emotion_trend") == [(10,)]


def test_emotion_trend_has_a_row_for_an_emotion_without_posts(connection: Connection) -> None:
    add_an_hour(connection)
    assert rows(connection, "SELECT * FROM bi.emotion_trend ORDER BY keyword, emotion") == [
        ("rain", NOON, 1.0, "anger", 0, 0.0, None, 4),
        ("rain", NOON, 1.0, "joy", 1, 25.0, 0.6, 4),
        ("rain", NOON, 1.0, "sadness", 3, 75.0, 0.8, 4),
        ("tea", NOON, 1.0, "anger", 3, 50.0, 0.5, 6),
        ("tea", NOON, 1.0, "joy", 3, 50.0, 0.9, 6),
        ("tea", NOON, 1.0, "sadness", 0, 0.0, None, 6),
    ]


def test_emotion_trend_takes_the_shortest_size_that_is_still_written(connection: Connection) -> None:
    yesterday = NOON - timedelta(days=1)
    add_window(connection, "*", MINUTE, yesterday, ALL)
    for start in (yesterday, NOON):
        add_window(connection, "*", FIVE, start, ALL)
        add_window(connection, "*", DAY, start.replace(hour=0), ALL)
    found = rows(connection, 'SELECT "time", minutes, sum(posts) FROM bi.emotion_trend_all GROUP BY 1, 2 ORDER BY 1')
    assert found == [(yesterday, 5.0, 9), (NOON, 5.0, 9)]


def test_confidence_scatter_marks_outliers(connection: Connection) -> None:
    confidences = {"a": 0.80, "b": 0.81, "c": 0.82, "d": 0.83, "e": 0.84, "odd": 0.30, "rare": 0.10}
    for keyword, confidence in confidences.items():
        joy = 29 if keyword == "rare" else 40
        add_window(connection, keyword, HOUR, NOON, {"joy": (joy, confidence), "fear": (100 - joy, 0.5)})
    add_window(connection, "a", HOUR, NOON - timedelta(days=8), {"joy": (1000, 0.1)})
    add_window(connection, "*", HOUR, NOON, {"joy": (270, 0.7)})
    found = {
        keyword: (posts, confidence, usual, score, outlier)
        for keyword, posts, confidence, usual, score, outlier in rows(
            connection,
            "SELECT keyword, posts, mean_confidence, usual_confidence, confidence_score, is_outlier "
            "FROM bi.confidence_scatter WHERE emotion = 'joy'",
        )
    }
    judged = [value for keyword, value in confidences.items() if keyword != "rare"]
    median = statistics.median(judged)
    deviation = statistics.median(abs(value - median) for value in judged)
    for keyword, confidence in confidences.items():
        score = None if keyword == "rare" else pytest.approx(0.6745 * (confidence - median) / deviation)
        posts = 29 if keyword == "rare" else 40
        expected = (posts, pytest.approx(confidence), pytest.approx(median), score, keyword == "odd")
        assert found[keyword] == expected
    # The confidence of fear is the same everywhere, so it has no outlier.
    assert rows(connection, "SELECT count(*) FROM bi.confidence_scatter WHERE emotion = 'fear' AND is_outlier") == [
        (0,)
    ]


def test_keyword_frequency_is_a_share_of_all_posts(connection: Connection) -> None:
    add_an_hour(connection)
    found = rows(connection, "SELECT * FROM bi.keyword_frequency ORDER BY keyword")
    assert found == [("rain", NOON, 4, pytest.approx(400 / 9), 0), ("tea", NOON, 6, pytest.approx(600 / 9), 0)]


@pytest.mark.parametrize("sizes", [(HOUR,), (FIVE,)], ids=["hours", "added-up"])
def test_posts_in_other_languages_are_shown_apart(connection: Connection, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        for keyword in ("tea", "*"):
            add_window(
                connection,
                keyword,
                size,
                NOON,
                {"joy": (3, 0.9)},
                unsupported=5,
                languages={"en": 3, "es": 4, "mis": 1},
            )
        add_window(connection, "te", size, NOON, {}, unsupported=2, languages={"es": 2})
    assert rows(connection, "SELECT * FROM bi.keyword_frequency ORDER BY keyword") == [
        ("te", NOON, 2, 25.0, 2),
        ("tea", NOON, 8, 100.0, 5),
    ]
    assert rows(connection, "SELECT * FROM bi.keyword_frequency_all") == [("all posts", NOON, 8, 5)]
    assert rows(connection, "SELECT * FROM bi.language_share WHERE keyword = 'tea' ORDER BY language") == [
        ("tea", NOON, "en", 3, 37.5),
        ("tea", NOON, "es", 4, 50.0),
        ("tea", NOON, "mis", 1, 12.5),
    ]
    assert rows(connection, "SELECT language, posts FROM bi.language_share_all ORDER BY 1") == [
        ("en", 3), ("es", 4), ("mis", 1),
    ]  # fmt: skip
    assert rows(connection, "SELECT emotion, posts, percent FROM bi.emotion_share") == [("joy", 3, 100.0)]


def test_an_hour_of_unsupported_posts_alone(connection: Connection) -> None:
    for keyword in ("te", "*"):
        add_window(connection, keyword, HOUR, NOON, {}, unsupported=2, languages={"es": 2})
        add_window(connection, keyword, FIVE, NOON - timedelta(hours=2), {}, unsupported=1)
    assert rows(connection, "SELECT posts, percent_of_all, unsupported_posts FROM bi.keyword_frequency ORDER BY 1") == [
        (1, 100.0, 1), (2, 100.0, 2),
    ]  # fmt: skip
    for view in ("emotion_share", "emotion_trend", "sentiment_trend", "confidence_scatter"):
        assert rows(connection, f"SELECT * FROM bi.{view}") == []


def test_recent_posts(connection: Connection) -> None:
    now = datetime.now(UTC)
    add_post(connection, 1, now - timedelta(days=8))
    add_post(
        connection, 2, now, keywords=["tea", "rain"], url="https://example.org/2", sentiment_label="positive",
        sentiment_score=0.7, lang="en", lang_confidence=0.8, author="someone",
    )  # fmt: skip
    add_post(connection, 3, now - timedelta(days=6), keywords=[], text=None, label=None, confidence=None)
    assert rows(connection, "SELECT * FROM bi.recent_posts ORDER BY created_at DESC") == [
        (now, "what a lovely day", "joy", 0.9, "positive", 0.7, "mastodon", "tea, rain", "en", "someone",
            "https://example.org/2", "emotion 1.0.0", "id-2", 0.8),
        (now - timedelta(days=6), None, None, None, None, None, "mastodon", "", None, None, None,
            "emotion 1.0.0", "id-3", None),
    ]  # fmt: skip


def test_freshness(connection: Connection) -> None:
    assert rows(connection, "SELECT * FROM bi.freshness") == [(None, None, None)]
    add_an_hour(
        connection, datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2), sizes=(HOUR,)
    )
    ((newest, hour, behind),) = rows(connection, "SELECT * FROM bi.freshness")
    assert newest - hour == timedelta(minutes=59, seconds=59)
    assert behind == pytest.approx((datetime.now(UTC) - newest).total_seconds() / 60, abs=0.5)


def test_every_view_and_column_has_a_comment(connection: Connection) -> None:
    views = rows(
        connection, "SELECT relname, obj_description(oid) FROM pg_class WHERE relnamespace = 'bi'::regnamespace"
    )
    assert sorted(name for name, _ in views) == sorted(VIEWS)
    assert [name for name, comment in views if not comment] == []
    bare = rows(
        connection,
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
        "WHERE relnamespace = 'bi'::regnamespace AND col_description(attrelid, attnum) IS NULL",
    )
    assert bare == []
