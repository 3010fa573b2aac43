"""A changed window is published when its size is due, and its mark stays until then."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import RejectedError, UnavailableError
from streams.pipeline import emitter as module
from streams.windows.store import ShardTimes
from tests.emitter_harness import Harness, harness_fixture  # noqa: F401 - a fixture
from tests.helpers import NOON_MS


async def test_nothing_changes_while_the_tables_are_sealed(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    harness.store.time = ShardTimes({}, {0: NOON_MS}, {0: 0.0}, None, sealed=True)
    assert {entry[0] for entry in await harness.tick()} == {"open"}
    harness.store.time = ShardTimes({}, {}, {}, None)
    harness.store.current = 3
    assert ("publish", "e-windows-0", 1) in await harness.tick()
    assert harness.metrics.registry.get_sample_value("emostream_window_generation") == 3


@pytest.mark.parametrize(
    ("refusal", "cause"), [(UnavailableError("away"), "unavailable"), (RejectedError("no rights"), "rejected")]
)
async def test_a_failure_to_read_the_generation_is_counted(harness: Harness, refusal: Exception, cause: str) -> None:
    harness.emitter.own(frozenset({0}))
    harness.store.refusal = refusal
    if cause == "rejected":
        with pytest.raises(RejectedError):
            await harness.tick()
    else:
        assert await harness.tick() == []
    assert harness.failures(cause) == 1
    assert harness.app.crashes == ([refusal] if cause == "rejected" else [])


async def test_windows_that_are_gone_are_cleared_and_not_published(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    harness.store.change(0, 2, gone=True)
    assert await harness.tick() == [("open", "e-windows-0"), ("clear", 0, 2), ("open", "e-windows-2")]


async def test_longer_windows_are_published_less_often(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    assert await harness.published(12) == [3, 1, 1, 1, 1, 2, 1, 1, 1, 1, 3, 1]
    harness.emitter.own(frozenset({0}))
    assert await harness.published(2) == [3, 1], "with a new assignment all sizes are due"


async def test_while_the_worker_is_behind_windows_are_published_ten_times_less_often(harness: Harness) -> None:
    harness.behind = True
    harness.emitter.own(frozenset({0}))
    published = await harness.published(102)
    assert {interval: windows for interval, windows in enumerate(published) if windows} == {
        0: 3,
        **dict.fromkeys(range(10, 100, 10), 1),
        50: 2,
        100: 3,
    }
    harness.behind = False
    assert await harness.published(4) == [1, 1, 1, 2]


async def test_more_than_one_transaction_in_an_interval(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISH_LIMIT", 2)
    harness.emitter.own(frozenset({0}))
    harness.store.change(0, 5)
    published = [entry[2] for entry in await harness.tick() if entry[0] == "publish"]
    assert published == [2, 2, 1]


async def test_a_shard_that_does_not_stop_changing_leaves_room_for_the_others(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUBLISH_LIMIT", 1)
    monkeypatch.setattr(module, "TRANSACTIONS_PER_SHARD", 3)
    harness.emitter.own(frozenset({0}))
    harness.store.change(0, 10)
    harness.store.change(2, 1)
    published = [entry[1] for entry in await harness.tick() if entry[0] == "publish"]
    assert published == ["e-windows-0"] * 3 + ["e-windows-2"]


async def test_marks_stay_until_the_windows_are_published(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    harness.fails["e-windows-0"] = [UnavailableError("aborted")]
    done = await harness.tick()
    assert ("close", "e-windows-0") in done
    assert not any(entry[0] in {"publish", "clear"} for entry in done)
    assert len(harness.store.waiting[0]) == 1
    assert harness.failures("unavailable") == 1
    assert await harness.tick() == [("open", "e-windows-0"), ("publish", "e-windows-0", 1), ("clear", 0, 1)]


async def test_a_refusal_stops_the_worker(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    refused = RejectedError("not authorized")
    harness.fails["e-windows-0"] = [refused]
    with pytest.raises(RejectedError):
        await harness.tick()
    assert harness.app.crashes == [refused]
    assert harness.failures("rejected") == 1


async def test_the_loop_runs_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, shards=1, partitions=1, emit_interval_ms=50)
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    await harness.emitter.start()
    async with asyncio.timeout(60):
        await harness.store.cleared.wait()
        await harness.emitter.stop()
    assert harness.log[-1] == ("close", "e-windows-0")


async def test_a_shard_that_was_set_back_is_reported_and_not_published(harness: Harness) -> None:
    """No partition has a new batch that would notice it."""
    harness.applied[0] = {0: 7, 1: 3}
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    for offsets, expected in (({0: 7, 1: 2}, [0]), ({0: 7}, [0, 0]), ({0: 7, 1: 3}, [0, 0]), ({0: 9, 1: 3}, [0, 0])):
        harness.store.time = ShardTimes(offsets, {}, {}, None)
        published = [entry for entry in await harness.tick() if entry[0] == "publish"]
        assert harness.set_back == expected
        assert published == ([("publish", "e-windows-0", 1)] if offsets == {0: 7, 1: 3} else [])
