from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from connectors.errors import RejectedError, UnavailableError
from streams.metrics import Metrics
from streams.pipeline.totals import MAX_KEYWORDS, TotalsFeed
from streams.records import EmotionTotals
from streams.windows.reader import Row
from streams.windows.tumbling import WindowKey, shard_of
from tests.helpers import NOON_MS, FakeApp, RecordingDeliverer, make_settings

DAY = 86_400
START = NOON_MS - NOON_MS % (DAY * 1_000)
SETTINGS = make_settings()
MINE = shard_of("*", SETTINGS.shards)


def window(keyword: str, **fields: int) -> Row:
    row = {"first": NOON_MS, "last": NOON_MS, "rev": 1, **fields}
    return WindowKey(keyword, DAY, START), {name.replace("_", ":"): str(value) for name, value in row.items()}


class FakeTop:
    def __init__(self, *rows: Row, error: Exception | None = None) -> None:
        self.rows = list(rows)
        self.error = error
        self.asked: list[int] = []

    async def read(self, limit: int) -> list[Row]:
        self.asked.append(limit)
        if self.error is not None:
            raise self.error
        return self.rows


def make(
    top: FakeTop,
    out: RecordingDeliverer,
    owned: set[int],
    behind: Callable[[], bool] = lambda: False,
    offsets: Callable[[], dict[int, int]] | None = None,
) -> tuple[Any, FakeApp, Metrics]:
    app, metrics, posts = FakeApp(), Metrics(), count()
    feed: Any = TotalsFeed(
        app,  # type: ignore[arg-type]
        SETTINGS,
        top,  # type: ignore[arg-type]
        out,
        metrics,
        owned=lambda: frozenset(owned),
        offsets=lambda shard: {0: next(posts)} if offsets is None else offsets(),
        behind=behind,
    )
    return feed, app, metrics


async def test_a_record_has_every_keyword_of_the_latest_window_of_the_longest_size() -> None:
    top = FakeTop(window("*", n=3, l_joy=2, l_fear=1, t_positive=3, ts=1_500_000), window("tea", n=1, l_joy=1))
    out = RecordingDeliverer()
    feed, _, _ = make(top, out, {MINE})
    await feed.run_interval()
    (record,) = out.to("emotions.totals")
    totals = EmotionTotals.from_json(record.value)
    assert record.key == b"*"
    assert (totals.size, (totals.end - totals.start).total_seconds()) == (DAY, DAY)
    assert list(totals.keywords) == ["*", "tea"]
    every = totals.keywords["*"]
    assert (every.count, every.labels, every.mean_sentiment) == (3, {"fear": 1, "joy": 2}, 0.5)
    assert totals.keywords["tea"].mean_sentiment is None
    assert top.asked == [1 + MAX_KEYWORDS]


async def test_while_the_worker_is_behind_every_tenth_record_is_written() -> None:
    top, out, late = FakeTop(window("*", n=1, l_joy=1)), RecordingDeliverer(), False
    feed, _, _ = make(top, out, {MINE}, lambda: late)
    written = []
    for second in range(33):
        before, late = len(out.calls), 3 <= second < 32
        await feed.run_interval()
        written += [second] * (len(out.calls) - before)
    assert written == [0, 1, 2, 10, 20, 30, 32]
    assert len(top.asked) == len(out.calls)


async def test_while_no_posts_are_counted_every_tenth_record_is_written() -> None:
    top, out, offset = FakeTop(window("*", n=1, l_joy=1)), RecordingDeliverer(), 0
    feed, _, _ = make(top, out, {MINE}, offsets=lambda: {0: offset})
    written = []
    for second in range(50):
        before, offset = len(out.calls), 1 if second < 25 else 2
        await feed.run_interval()
        written += [second] * (len(out.calls) - before)
    # The other shards are counted after this one, so it goes on for some seconds after the last post.
    assert written == [*range(11), 20, *range(25, 35), 40]
    assert len(top.asked) == len(out.calls)


async def test_only_the_owner_of_the_shard_of_all_posts_writes() -> None:
    top, out = FakeTop(window("*", n=1, l_joy=1)), RecordingDeliverer()
    feed, _, _ = make(top, out, set(range(SETTINGS.shards)) - {MINE})
    await feed.run_interval()
    assert (out.calls, top.asked) == ([], [])


async def test_nothing_is_written_of_empty_tables() -> None:
    out = RecordingDeliverer()
    feed, _, _ = make(FakeTop(), out, {MINE})
    await feed.run_interval()
    assert out.calls == []


@pytest.mark.parametrize("where", ["redis", "kafka"])
async def test_a_record_is_skipped_when_a_server_does_not_answer(where: str) -> None:
    away = UnavailableError("no answer")
    top = FakeTop(window("*", n=1, l_joy=1), error=away if where == "redis" else None)
    out = RecordingDeliverer(fails_on="emotions.totals" if where == "kafka" else None, error=away)
    feed, app, metrics = make(top, out, {MINE})
    await feed.run_interval()
    assert metrics.registry.get_sample_value("emostream_totals_failures_total") == 1
    assert app.crashes == []


async def test_a_refusal_stops_the_worker() -> None:
    refused = RejectedError("not authorized")
    feed, app, _ = make(FakeTop(error=refused), RecordingDeliverer(), {MINE})
    with pytest.raises(RejectedError):
        await feed.run_interval()
    assert app.crashes == [refused]
