"""The outbox of fetches: posts are sent once, and kept while a server does not answer, up to a limit."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from connectors.errors import RejectedError, UnavailableError
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.sources.backoff import BackoffLimits
from streams.query import fetch_outbox
from streams.query.fetch_metrics import FetchMetrics
from streams.query.fetch_outbox import BATCH, Outbox
from streams.query.fetch_posts import FoundPost
from streams.records import Keywords, Post, Timestamp
from tests.fetch_support import RawTopic, metric

AT = Timestamp.parse("2026-03-01T12:00:00Z")


def found(*numbers: int, text: str = "coffee") -> list[FoundPost]:
    return [
        FoundPost(Post(id=f"x:{number}", text=text, created_at=AT, source="x", keywords=Keywords(("coffee",))))
        for number in numbers
    ]


def ids(*numbers: int) -> list[str]:
    return [f"x:{number}" for number in numbers]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_outbox, "_WAITS", BackoffLimits(first_s=0.001, most_s=0.01))


@pytest.fixture
async def raw() -> RawTopic:
    return RawTopic()


@pytest.fixture
async def metrics() -> FetchMetrics:
    return FetchMetrics(CollectorRegistry())


@pytest.fixture
async def outbox(raw: RawTopic, metrics: FetchMetrics) -> AsyncIterator[Outbox]:
    opened = Outbox(
        open_producer=raw.open, topic="raw", sent=raw, metrics=metrics, most_posts=1_000, most_bytes=10_000_000
    )
    opened.start()
    yield opened
    await opened.close(0.0)


async def test_posts_are_sent_and_noted(outbox: Outbox, raw: RawTopic, metrics: FetchMetrics) -> None:
    outbox.put(found(1, 2))
    await raw.until(lambda: raw.marked == ids(1, 2))
    assert raw.ids == ids(1, 2)
    outbox.put(found(2, 3))
    await raw.until(lambda: raw.marked == ids(1, 2, 3))
    assert raw.ids == ids(1, 2, 3)
    assert outbox.report() == (0, 3, 1, 0, None)
    assert metric(metrics, "_posts_sent_total") == 3
    assert metric(metrics, "_posts_known_total", by="redis") == 1
    assert raw.opened == 1


async def test_more_posts_than_a_batch(outbox: Outbox, raw: RawTopic) -> None:
    outbox.put(found(*range(BATCH + 100)))
    await raw.until(lambda: len(raw.marked) == BATCH + 100)
    assert raw.ids == ids(*range(BATCH + 100))


@pytest.mark.parametrize(("method", "step"), [("known", "look_up"), ("deliver", "write"), ("mark", "note")])
async def test_a_step_that_fails_is_repeated(
    outbox: Outbox, raw: RawTopic, metrics: FetchMetrics, method: str, step: str
) -> None:
    raw.failures[method] = [UnavailableError("it does not answer"), RejectedError("no right")]
    outbox.put(found(1, 2))
    await raw.until(lambda: raw.marked == ids(1, 2))
    # What Kafka has confirmed is not written again, although noting it has failed.
    assert raw.ids == ids(1, 2)
    assert metric(metrics, "_send_failures_total", step=step) == 2
    await raw.until(lambda: outbox.report().problem is None)
    # A producer that has failed is not used again.
    assert raw.opened == (3 if method == "deliver" else 1)


async def test_posts_are_noted_only_when_kafka_has_confirmed_them(
    outbox: Outbox, raw: RawTopic, metrics: FetchMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_outbox, "SLOW_S", 0.0)
    raw.gate.clear()
    outbox.put(found(1))
    await raw.until(lambda: (outbox.report().problem or "").startswith("Kafka has not confirmed posts for"))
    assert (raw.marked, outbox.report().kept, metric(metrics, "_posts_kept")) == ([], 1, 1)
    raw.gate.set()
    await raw.until(lambda: raw.marked == ids(1))
    assert (outbox.report().kept, metric(metrics, "_posts_kept"), metric(metrics, "_kept_bytes")) == (0, 0, 0)


async def test_posts_wait_for_the_live_keywords(outbox: Outbox, raw: RawTopic) -> None:
    live: list[Matcher] = []
    waiting = found(1, text="coffee and rain")[0]._replace(others=lambda: live[0] if live else None)
    outbox.put([waiting])
    await raw.until(lambda: "keywords are not known" in (outbox.report().problem or ""))
    # A post that has all its keywords does not wait for the others.
    outbox.put(found(2))
    await raw.until(lambda: raw.marked == ids(2))
    live.append(Matcher(["rain"]))
    await raw.until(lambda: raw.marked == ids(2, 1))
    assert [tuple(post.keywords) for post in raw.posts] == [("coffee",), ("coffee", "rain")]


@pytest.mark.parametrize(("posts", "text", "kept"), [(1_200, "coffee", 1_000), (200, "é" * 25_000, 98)])
async def test_it_keeps_no_more_than_it_may(
    outbox: Outbox,
    raw: RawTopic,
    metrics: FetchMetrics,
    caplog: pytest.LogCaptureFixture,
    posts: int,
    text: str,
    kept: int,
) -> None:
    raw.gate.clear()
    outbox.put(found(*range(posts), text=text))
    assert (outbox.report().kept, outbox.report().lost) == (kept, posts - kept)
    assert metric(metrics, "_posts_lost_total", cause="full") == posts - kept
    assert metric(metrics, "_kept_bytes") <= 10_000_000
    (line,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith(f"{posts - kept} posts of fetches are lost: ")
    raw.gate.set()
    await raw.until(lambda: raw.marked == ids(*range(kept)))


async def test_what_it_cannot_send_until_the_end_is_reported(
    outbox: Outbox, raw: RawTopic, metrics: FetchMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    raw.failures["known"] = [UnavailableError("Redis did not answer")] * 1_000_000
    outbox.put(found(1, 2))
    await raw.until(lambda: outbox.report().problem == "Redis did not answer")
    assert await outbox.close(0.02) == 2
    assert metric(metrics, "_posts_lost_total", cause="stopped") == 2
    assert caplog.records[-1].message == (
        "2 posts of fetches are lost, because this process stops: Redis did not answer. A later fetch may find them "
        "again"
    )


async def test_it_sends_at_the_end_what_it_can(outbox: Outbox, raw: RawTopic) -> None:
    raw.gate.clear()
    outbox.put(found(1))
    closing = asyncio.create_task(outbox.close(30.0))
    await asyncio.sleep(0)
    raw.gate.set()
    assert await closing == 0
    assert raw.ids == ids(1)


async def test_a_defect_is_not_hidden(raw: RawTopic, metrics: FetchMetrics) -> None:
    def broken() -> RawTopic:
        raise ZeroDivisionError

    outbox = Outbox(open_producer=broken, topic="raw", sent=raw, metrics=metrics)
    outbox.start()
    outbox.put(found(1))
    await raw.until(lambda: "defect" in (outbox.report().problem or ""))
    with pytest.raises(ZeroDivisionError):
        await outbox.close(1.0)
