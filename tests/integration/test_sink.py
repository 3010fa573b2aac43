"""Postgres has every record exactly once: after kills, with two sinks, and after a restored backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from connectors.errors import PositionMismatchError, RejectedError
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.ops.demo.processes import Role
from streams.records import (
    ClassifiedPost,
    DeadPost,
    EmotionWindow,
    LabelStats,
    ModelRef,
    Origin,
    Sentiment,
    SentimentStats,
    from_ms,
)
from streams.settings import Settings
from streams.sink import offsets_sql
from streams.sink.history import History
from streams.sink.ledger import Span
from streams.sink.targets import WINDOWS, posts_of
from tests.helpers import row_of
from tests.integration.support import ledger_breaks, wait_for

POSTS = posts_of("posts.raw")
START = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1_000)


def classified(offset: int, partition: int = 0, **fields: object) -> ClassifiedPost:
    values = {
        "id": f"{partition}-{offset}",
        "source": "test",
        "keywords": ("coffee", "rain, wind", 'quoted "one"'),
        "created_at": from_ms(START + offset),
        "text": "tab\there, newline\nhere, backslash \\N, emoji ☕",
        "label": "joy",
        "confidence": 0.75,
        "scores": {"joy": 0.75, "fear": 0.25},
        "sentiment": Sentiment(label="positive", score=0.5),
        "model": ModelRef(name="m", version="1.0.0"),
        "origin": Origin(topic="raw", partition=partition, offset=offset),
        "classified_at": from_ms(START),
        **fields,
    }
    return ClassifiedPost(**values)


def window(revision: int, labels: dict[str, int], keyword: str = "coffee") -> EmotionWindow:
    total = sum(labels.values())
    return EmotionWindow(
        keyword=keyword,
        size=60,
        start=from_ms(START),
        end=from_ms(START) + timedelta(minutes=1),
        count=total,
        labels={
            label: LabelStats(count=count, pct=100 * count / total, mean_confidence=0.5)
            for label, count in labels.items()
        },
        sentiment=SentimentStats(labels={"positive": total}, mean_sentiment=0.25),
        models={"1.0.0": total},
        sources={"test": total},
        first_event=from_ms(START),
        last_event=from_ms(START),
        revision=revision,
        final=False,
        late=0,
    )


def query(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def history(settings: Settings) -> Iterator[History]:
    opened = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    yield opened
    opened.close()


def test_rows_offsets_and_ledger_are_one_transaction(settings: Settings, history: History) -> None:
    assert history.start_offsets("t", {0: (0, 9), 1: (5, 9)}) == ({0: 0, 1: 5}, [])
    post = classified(0)

    history.write("t", POSTS, [*map(row_of, [post, classified(1), post])], [Span(0, 0, 3, 3)])

    rows = query(settings, "SELECT id, keywords, text, scores, sentiment_score, created_at FROM posts ORDER BY 1")
    assert rows[0] == ("0-0", list(post.keywords), post.text, {"joy": 0.75, "fear": 0.25}, 0.5, post.created_at)
    assert len(rows) == 2, "an origin that was delivered twice is one row"
    assert query(settings, "SELECT partition, next_offset FROM sink_offsets ORDER BY 1") == [(0, 3), (1, 5)]
    assert query(settings, "SELECT first_offset, next_offset, records FROM sink_ledger") == [(0, 3, 3)]


def test_a_write_from_another_offset_changes_nothing(settings: Settings, history: History) -> None:
    """A second sink took over, or the database was restored from a backup: compare-and-set in Postgres too."""
    history.start_offsets("t", {0: (0, 9)})
    history.write("t", POSTS, [*map(row_of, [classified(0)])], [Span(0, 0, 1, 1)])

    for span in (Span(0, 0, 1, 1), Span(0, 4, 5, 1), Span(3, 0, 1, 1)):
        with pytest.raises(PositionMismatchError):
            history.write("t", POSTS, [row_of(classified(7))], [span])

    assert query(settings, "SELECT count(*) FROM posts") == [(1,)]
    history.write("t", POSTS, [*map(row_of, [classified(1)])], [Span(0, 1, 2, 1)])
    assert query(settings, "SELECT count(*) FROM posts") == [(2,)]


def test_a_range_that_kafka_deleted_is_recorded(settings: Settings, history: History) -> None:
    history.start_offsets("t", {0: (0, 9)})
    history.write("t", POSTS, [*map(row_of, [classified(0)])], [Span(0, 0, 3, 1)])

    assert history.start_offsets("t", {0: (7, 9)}) == ({0: 7}, [Span(0, 3, 7, 0)])

    assert query(settings, "SELECT topic, partition, first_offset, next_offset FROM sink_gaps") == [("t", 0, 3, 7)]
    assert history.start_offsets("t", {0: (7, 9)}) == ({0: 7}, [])


def test_the_highest_revision_of_a_window_wins_with_its_labels(settings: Settings, history: History) -> None:
    history.start_offsets("w", {0: (0, 9)})
    history.write(
        "w",
        WINDOWS,
        [window(5, {"joy": 1}), window(7, {"joy": 2, "fear": 1}), window(6, {"joy": 9})],
        [Span(0, 0, 3, 3)],
    )
    labels = "SELECT label, posts, round(percent::numeric, 2)::text FROM emotion_window_labels ORDER BY 1"
    assert query(settings, labels) == [("fear", 1, "33.33"), ("joy", 2, "66.67")]

    history.write("w", WINDOWS, [window(6, {"anger": 9}), window(1, {"joy": 1}, "rain")], [Span(0, 3, 5, 2)])
    assert query(settings, "SELECT keyword, posts, revision FROM emotion_windows ORDER BY 1") == [
        ("coffee", 3, 7),
        ("rain", 1, 1),
    ]
    assert query(settings, "SELECT count(*) FROM emotion_window_labels WHERE keyword = 'coffee'") == [(2,)]
    sentiments = "SELECT keyword, label, posts, percent FROM emotion_window_sentiments ORDER BY 1, 2"
    assert query(settings, sentiments) == [("coffee", "positive", 3, 100.0), ("rain", "positive", 1, 100.0)]

    # A rebuilt window may have fewer labels than before.
    history.write("w", WINDOWS, [window(8, {"joy": 2})], [Span(0, 5, 6, 1)])
    assert query(settings, "SELECT label, posts FROM emotion_window_labels WHERE keyword = 'coffee'") == [("joy", 2)]
    plain = replace(window(9, {"joy": 3}), sentiment=None)
    history.write("w", WINDOWS, [plain], [Span(0, 6, 7, 1)])
    assert query(settings, sentiments) == [("rain", "positive", 1, 100.0)], "or no sentiment"


def test_a_database_without_a_schema_is_an_error_of_one_line(env: dict[str, str]) -> None:
    with pytest.raises(RejectedError, match="has no schema yet; run `emostream init`"):
        History(env["EMOSTREAM_POSTGRES_DSN"], application_name="test").check()


def record_of(settings: Settings, post: ClassifiedPost) -> Outgoing:
    """Returns the record of a post as a worker writes it: its origin is in the raw topic of the test."""
    written = replace(post, origin=replace(post.origin, topic=settings.topic_raw))
    return Outgoing(settings.topic_classified, written.to_json(), partition=post.origin.partition)


def feed(producer: ConfirmedProducer, settings: Settings, first: int, count: int) -> None:
    """Write classified posts to all four partitions, and a tenth of them a second time."""
    posts = [classified(first + i // 4, i % 4) for i in range(count)]
    posts += posts[: count // 10]
    producer.submit([record_of(settings, post) for post in posts]).result(120)


def rows(settings: Settings) -> int:
    return int(str(query(settings, "SELECT count(*) FROM posts")[0][0]))


def test_a_sink_that_is_killed_again_and_again_writes_each_post_once(
    settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    for round_number in range(2):
        feed(producer, settings, round_number * 1_000, 4_000)
        sink = start("sink", EMOSTREAM_SINK_BATCH="250")
        seen = rows(settings)
        wait_for(lambda seen=seen: rows(settings) > seen, what="the sink writes nothing")
        sink.kill()
    sink = start("sink", EMOSTREAM_SINK_BATCH="250")

    ledger = f"SELECT coalesce(sum(records), 0) FROM sink_ledger WHERE topic = '{settings.topic_classified}'"
    wait_for(lambda: query(settings, ledger) == [(8_800,)], what="the sink does not finish")

    assert query(settings, "SELECT count(*), count(DISTINCT (origin_partition, origin_offset)) FROM posts") == [
        (8_000, 8_000)
    ]
    assert query(settings, ledger_breaks(settings.topic_classified)) == [(0,)]


def test_two_sinks_share_the_work_and_one_takes_over(
    settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    """The first is paused beyond its session timeout, and resumes as a zombie with a slice that it has not written."""
    first, _second = start("sink", EMOSTREAM_SINK_BATCH="100"), start("sink", EMOSTREAM_SINK_BATCH="100")
    feed(producer, settings, 0, 4_000)
    wait_for(lambda: rows(settings) > 200, what="the sinks write nothing")
    first.pause()
    feed(producer, settings, 1_000, 4_000)
    wait_for(lambda: rows(settings) == 8_000, what="the second sink does not take over")
    first.resume()
    feed(producer, settings, 2_000, 4_000)
    wait_for(lambda: rows(settings) == 12_000, what="the sinks do not finish")
    first.check()


def test_a_sink_that_is_paused_between_two_statements_loses_its_locks(settings: Settings) -> None:
    """In a pipeline of statements the server would see a busy session, and would never end its transaction."""
    dsn, topic = settings.postgres_dsn.get_secret_value(), settings.topic_classified
    with psycopg.connect(dsn) as paused, psycopg.connect(dsn) as successor:
        offsets_sql.initialise(paused, topic, {0: 0, 1: 0})
        paused.execute("SET idle_in_transaction_session_timeout = 500")
        paused.commit()

        class Offsets(dict[int, int]):
            def items(self) -> Any:
                yield 0, 5
                assert offsets_sql.lock(successor, topic, [0, 1]) == {0: 0, 1: 0}
                yield 1, 5

        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            offsets_sql.update(paused, topic, Offsets())


def test_two_sessions_that_need_a_new_day_create_it_once(settings: Settings) -> None:
    dsn, day = settings.postgres_dsn.get_secret_value(), date(2031, 5, 17)
    make = "SELECT make_post_days(ARRAY[%s]::date[])"
    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second, ThreadPoolExecutor(1) as pool:
        assert first.execute(make, (day,)).fetchone() == (1,)
        waiting = pool.submit(lambda: second.execute(make, (day,)).fetchone())
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND pid = %s"
        wait_for(
            lambda: query(settings, blocked.replace("%s", str(second.info.backend_pid))) == [(1,)],
            what="the second does not wait",
        )
        first.commit()
        assert waiting.result(120) == (0,)


def test_after_a_restored_backup_the_rows_are_written_again(
    settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    sink = start("sink")
    feed(producer, settings, 0, 400)
    wait_for(lambda: rows(settings) == 400, what="the sink writes nothing")
    query(settings, "TRUNCATE posts; UPDATE sink_offsets SET next_offset = 0; TRUNCATE sink_ledger")
    feed(producer, settings, 100, 4)
    wait_for(lambda: rows(settings) == 404, what="the sink does not go back")
    sink.check()


def test_a_value_that_is_no_record_is_dead_lettered_and_the_rest_is_written(
    settings: Settings, producer: ConfirmedProducer, start: Callable[..., Role]
) -> None:
    start("sink")
    producer.submit([Outgoing(settings.topic_windows, b"{broken", b"key")]).result(120)
    good = window(1, {"joy": 1})
    producer.submit([Outgoing(settings.topic_windows, good.to_json(), good.key.encode())]).result(120)
    wait_for(
        lambda: query(settings, "SELECT count(*) FROM emotion_windows") == [(1,)],
        what="the window is not written",
    )
    scan = TopicScan(kafka_config(settings), settings.topic_dead, group=scan_group(settings))
    letters = [DeadPost.from_json(message.value() or b"") for message in scan.messages()]
    scan.close()
    assert [(letter.reason, letter.origin.topic) for letter in letters] == [("invalid_record", settings.topic_windows)]
