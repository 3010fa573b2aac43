"""The complete pipeline with real servers and processes: its output, and that it survives crashes."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from msgspec.structs import replace
from redis import Redis

from streams.ops.demo.processes import Role
from streams.records import ClassifiedPost, DeadPost, EmotionTotals, EmotionWindow, rfc3339
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.flow import Flow
from tests.integration.rebuild_support import rebuilt
from tests.integration.support import (
    KEYWORDS,
    TEXTS,
    TIMEOUT_S,
    balanced,
    failures,
    good_posts,
    offsets,
    post,
    produce,
    records,
    wait_for,
)

Start = Callable[..., Role]


async def test_bad_input_becomes_dead_letters_and_the_rest_is_classified(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    in_an_hour = rfc3339(datetime.now(UTC) + timedelta(hours=1))
    bad: dict[str, list[bytes | None]] = {
        "empty_message": [None, b""],
        "invalid_json": [b"not json", b'{"id": "1", "text": ', b"\xff\xfe"],
        "invalid_record": [
            b"[]",
            b'{"id": "1"}',
            post("naive time", created_at="2026-01-01T00:00:00"),
            post("a number for a time", created_at=1_700_000_000),
            json.dumps({"id": 7, "text": "wrong type", "created_at": "2026-01-01T00:00:00Z", "source": "s"}).encode(),
            post("a reserved keyword", keywords=["*"]),
        ],
        "empty_text": [post(""), post(" \t\n ")],
        "text_too_long": [post("x" * 5_001)],
        "future_timestamp": [post("from the future", created_at=in_an_hour)],
    }
    good = [
        *good_posts(200),
        post("x" * 5_000),
        post("очень вкусный кофе ☕ \u200d🙂"),
        post("no keywords", keywords=None),
        post("nul \0 inside"),
        post("half an emoji \ud83d", keywords=["a\0"]),
    ]
    worker, sink = start("worker"), start("sink")
    mixed: list[bytes | None] = [*good]
    for step, value in enumerate(value for values in bad.values() for value in values):
        mixed.insert(step * 7, value)
    produce(settings, mixed, keys=[b"\xff%d" % number for number in range(len(mixed))])

    checks = await balanced(settings, store, [worker, sink])

    assert failures(checks) == []
    dead = [(key, DeadPost.from_json(value)) for _, key, value in records(settings, settings.topic_dead)]
    assert Counter(letter.reason for _, letter in dead) == {reason: len(values) for reason, values in bad.items()}
    raw = records(settings, settings.topic_raw)
    refused = {value or b"" for values in bad.values() for value in values}
    sent = Counter((key, value) for _, key, value in raw if value in refused)
    assert Counter((key, base64.b64decode(letter.raw)) for key, letter in dead) == sent
    assert all(letter.key_bytes() == key for key, letter in dead)
    classified_texts = set()
    for partition, key, value in records(settings, settings.topic_classified):
        classified = ClassifiedPost.from_json(value)
        assert classified.origin.partition == partition
        assert key == classified.id.encode()
        classified_texts.add(classified.text)
        if classified.label is None:
            assert (classified.confidence, classified.scores) == (None, {})
            continue
        assert classified.confidence == classified.scores[classified.label] == max(classified.scores.values())
        assert sum(classified.scores.values()) == pytest.approx(1, abs=0.001)
    assert {"nul \ufffd inside", "half an emoji \ufffd"} <= classified_texts
    assert len(raw) == len(mixed)


async def test_windows_and_totals_are_the_same_in_redis_kafka_and_postgres(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    """The windows count the posts, by keyword and for all posts, and Kafka and Postgres agree with Redis."""
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(240))

    assert failures(await balanced(settings, store, [worker, sink])) == []

    posts = [ClassifiedPost.from_json(value) for _, _, value in records(settings, settings.topic_classified)]
    by_text = {item.text: item.label for item in posts}
    assert [by_text[text] for text in TEXTS] == ["joy", "sadness", "anger", "fear", "love", "surprise"]
    expected: Counter[tuple[str, datetime, str]] = Counter()
    for item in posts:
        start_at = item.created_at.replace(second=0, microsecond=0)
        for keyword in ("*", *item.keywords):
            expected[keyword, start_at, item.label] += 1
    windows = await store.read(size=60)
    found = {(w.keyword, w.start, label): s.count for w in windows for label, s in w.labels.items()}
    assert found == expected

    def published() -> dict[str, EmotionWindow]:
        every = records(settings, settings.topic_windows)
        return {window.key: window for window in (EmotionWindow.from_json(value) for _, _, value in every)}

    in_redis = {window.key: window for window in await store.read()}
    wait_for(lambda: published() == in_redis, what="the windows topic does not reach Redis's state")
    # Five minutes of posts, so at least four windows have passed the watermark.
    assert sum(window.final for window in in_redis.values() if (window.keyword, window.size) == ("*", 60)) >= 4
    by_size = Counter({size.seconds: 0 for size in settings.window_sizes})
    for window in in_redis.values():
        by_size[window.size] += window.count * (window.keyword == "*")
    assert set(by_size.values()) == {len(posts)}, "every size holds every post"

    latest = max(window.start for window in in_redis.values() if window.size == 86_400)
    of_the_day = {w.keyword: w.count for w in in_redis.values() if (w.size, w.start) == (86_400, latest)}

    def totals() -> dict[str, int]:
        written = [EmotionTotals.from_json(value) for _, _, value in records(settings, settings.topic_totals)]
        return {word: each.count for word, each in written[-1].keywords.items()} if written else {}

    wait_for(lambda: totals() == of_the_day, what="the totals are not those of the day")
    revisions: dict[str, int] = {}
    for _, _, value in records(settings, settings.topic_windows):
        window = EmotionWindow.from_json(value)
        assert window.revision >= revisions.get(window.key, 0), "revisions only rise in the log"
        revisions[window.key] = window.revision


async def test_posts_in_other_languages_are_counted_apart(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start
) -> None:
    """The audit, which counts every window again, agrees, and so does a rebuild."""
    worker, sink = start("worker"), start("sink")
    at = rfc3339(datetime.now(UTC) - timedelta(seconds=30))
    spanish = [post("me encanta mi nuevo teléfono", keywords=["tea"], created_at=at) for _ in range(30)]
    hindi = [post("yaar kya bakwas phone hai", lang="en", keywords=["chai"], created_at=at) for _ in range(10)]
    produce(settings, [*good_posts(60), *spanish, *hindi])

    assert failures(await balanced(settings, store, [worker, sink])) == []

    days = await store.read(keyword="*", size=86_400)  # two, if the test runs at midnight
    assert (sum(day.count for day in days), sum(day.unsupported for day in days)) == (60, 40)
    languages = sum((Counter(day.languages) for day in days), Counter[str]())
    assert (languages["es"], languages["hi"], languages.total()) == (30, 10, 100)
    for day in days:
        assert sum(day.sources.values()) == day.count + day.unsupported
        assert sum(stats.count for stats in day.labels.values()) == sum(day.models.values()) == day.count
        assert sum(stats.pct for stats in day.labels.values()) == pytest.approx(100, abs=0.01)
    (chai,) = await store.read(keyword="chai", size=86_400)
    assert (chai.count, chai.unsupported, chai.labels) == (0, 10, {})
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        found = connection.execute(
            "SELECT lang, lang_confidence > 0, count(*), count(confidence) FROM posts WHERE label IS NULL GROUP BY 1, 2"
        ).fetchall()
        assert sorted(found) == [("es", True, 30, 0), ("hi", True, 10, 0)]
        (row,) = connection.execute(
            "SELECT posts, unsupported, languages FROM emotion_windows WHERE keyword = 'chai' AND size_s = 86400"
        ).fetchall()
        assert row == (0, 10, {"hi": 10})

    def totals() -> tuple[int, int]:
        written = [EmotionTotals.from_json(value) for _, _, value in records(settings, settings.topic_totals)]
        every = written[-1].keywords["*"] if written else None
        return (every.count, every.unsupported) if every else (0, 0)

    wait_for(lambda: totals() == (days[0].count, days[0].unsupported), what="the totals are not those of the day")
    before = await counts(store)
    assert rebuilt(env)["changed"] == 0
    await store.refresh()
    assert await counts(store) == before
    assert failures(await balanced(settings, store, [worker, sink])) == []


async def counts(store: WindowStore) -> dict[str, EmotionWindow]:
    """Returns the windows without what changes when time passes: they become final."""
    return {window.key: replace(window, final=True, revision=0) for window in await store.read()}


def flow_post(number: int) -> bytes:
    """One of posts that are spread over the last five minutes; every five hundredth is broken."""
    if number % 500 == 0:
        return b"broken"
    at = datetime.now(UTC) - timedelta(seconds=max(0.0, 300 - number / 25))
    text, keyword = TEXTS[number % len(TEXTS)], KEYWORDS[number % len(KEYWORDS)]
    return post(text, keywords=[keyword], created_at=rfc3339(at))


async def test_the_worker_is_killed_twice_while_posts_flow(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    worker, sink = start("worker"), start("sink")
    with Flow(settings, flow_post, ahead=2_000) as flow:
        for _ in range(2):
            wait_for_more(settings, 2_000)
            worker.kill()
            worker = start("worker")
        wait_for_more(settings, 500)
        await asyncio.to_thread(flow.finish)

    checks = await balanced(settings, store, [worker, sink])

    assert failures(checks) == []
    assert checks[0].expected == flow.sent


def wait_for_more(settings: Settings, results: int) -> None:
    """Wait for so many more results."""
    until = offsets(settings, settings.topic_classified) + results
    wait_for(lambda: offsets(settings, settings.topic_classified) >= until, what="the worker does not get on")


async def test_redis_is_emptied_and_the_windows_are_rebuilt(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(600))
    assert failures(await balanced(settings, store, [worker, sink])) == []
    before = {window.key: window.count for window in await store.read()}

    client = Redis.from_url(settings.redis_url.get_secret_value())
    for key in client.scan_iter(f"{settings.redis_prefix}:*"):
        client.delete(key)
    client.close()
    # No post follows. The worker has to notice by itself.

    checks = await balanced(settings, store, [worker, sink])
    assert failures(checks) == []
    after = {window.key: window.count for window in await store.read()}
    assert all(after[key] >= count for key, count in before.items())


async def test_a_paused_worker_that_resumes_counts_nothing_twice(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    """The pause is longer than the session timeout: another worker takes over, and then the first one goes on.

    The posts that both classified are in the log twice. Without the fence, the windows counted 512 posts too many.
    """
    first, sink = start("worker"), start("sink")
    with Flow(settings, flow_post, ahead=2_000) as flow:
        wait_for_more(settings, 300)
        first.pause()
        second = start("worker")
        wait_for_more(settings, 1_000)
        first.resume()
        await asyncio.to_thread(flow.finish)

    checks = await balanced(settings, store, [first, second, sink])

    assert failures(checks) == []


async def test_a_worker_stops_cleanly_on_sigterm(settings: Settings, store: WindowStore, start: Start) -> None:
    worker = start("worker", EMOSTREAM_LOG_LEVEL="INFO")
    produce(settings, good_posts(50))
    wait_for(lambda: offsets(settings, settings.topic_classified) == 50, what="the worker does not start")

    assert worker.stop() == 0

    log = await asyncio.to_thread(worker.log.read_text)
    assert "worker is stopping" in log
    assert "Traceback" not in log


async def test_posts_that_were_sent_twice_count_once_across_a_restart(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    """The second worker reads the ids before its start again. It has not seen the first half of the posts."""
    posts = good_posts(60)
    ids = [json.loads(value)["id"].encode() for value in posts]
    on = {"EMOSTREAM_DEDUPLICATION_S": "600"}
    settings = settings.model_copy(update={"deduplication_s": 600.0})  # for the audit
    worker, sink = start("worker", **on), start("sink")
    produce(settings, posts, keys=ids)
    assert failures(await balanced(settings, store, [worker, sink])) == []
    assert await asyncio.to_thread(worker.stop) == 0

    successor = start("worker", **on)
    produce(settings, [*posts, *good_posts(20), *posts[:5]], keys=[*ids, *map(b"new-%d".__mod__, range(20)), *ids[:5]])
    assert failures(await balanced(settings, store, [successor, sink])) == []

    assert (await store.counters()).duplicates == 65
    assert sum(window.count for window in await store.read(keyword="*", size=60)) == 80
    assert len(records(settings, settings.topic_classified)) == 145, "duplicates are classified too"


async def test_posts_of_last_year_are_counted_and_their_windows_become_final(
    settings: Settings, store: WindowStore, start: Start
) -> None:
    """Windows depend only on event time. When a replay ends, its idle partitions do not hold the watermark back."""
    worker, sink = start("worker", EMOSTREAM_IDLE_PARTITION_S="2"), start("sink")
    # The last post lies 15 s after the start of its minute, which is more than the allowed lateness.
    begin = (datetime.now(UTC) - timedelta(days=365)).replace(second=0, microsecond=0)
    produce(
        settings,
        [post("i am so happy", created_at=rfc3339(begin + timedelta(seconds=45 * number))) for number in range(240)],
        partition=1,
    )
    assert failures(await balanced(settings, store, [worker, sink])) == []
    assert await store.counters() == ({}, {}, {}, 0)

    async def open_windows() -> set[int]:
        latest = max(window.end for window in await store.read(keyword="*", size=60))
        return {window.size for window in await store.read(keyword="*") if not window.final and window.end < latest}

    deadline = time.monotonic() + TIMEOUT_S
    while await open_windows():
        assert time.monotonic() < deadline, "windows that the replay has passed stay open"
        await asyncio.sleep(0.2)
    by_size = {size: sum(w.count for w in await store.read(keyword="*", size=size)) for size in store.sizes}
    assert set(by_size.values()) == {240}
