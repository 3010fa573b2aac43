"""The emitter finalizes windows by the watermark and expires them by the slowest partition, until none is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.windows.store import ShardTimes
from tests.emitter_harness import Harness
from tests.helpers import NOON_MS

# The watermark: lateness 10 s, idle after 30 s.

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("times", "finalized_to", "expired_to"),
    [
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 1.0, 1: 29.9}, None), NOON_MS - 10_000, NOON_MS),
        # Partition 0 is idle. It no longer holds the watermark back, but its windows are kept for its next posts.
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 30.0, 1: 0.0}, None), NOON_MS - 5_000, NOON_MS),
        # It is active again. The watermark does not go back.
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 0.0, 1: 0.0}, NOON_MS - 5_000), NOON_MS - 5_000, NOON_MS),
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 99.0, 1: 99.0}, 0), NOON_MS - 5_000, NOON_MS),
    ],
)
async def test_windows_are_finalized_by_the_watermark_and_expired_by_the_slowest_partition(
    monkeypatch: pytest.MonkeyPatch, times: ShardTimes, finalized_to: int, expired_to: int
) -> None:
    harness = Harness(monkeypatch, shards=1, partitions=1, window_sizes="1m:2d,1h:30d")
    harness.emitter.own(frozenset({0}))
    # The earliest windows end exactly at the limits.
    due = {60: expired_to - 2 * DAY_MS, 3_600: expired_to - 30 * DAY_MS}
    harness.store.time = replace(times, first_open=finalized_to, first_kept=due)
    assert await harness.tick() == [
        ("open", "e-windows-0"),
        ("finalize", 0, finalized_to),
        ("expire", 0, 60, due[60]),
        ("expire", 0, 3_600, due[3_600]),
    ]
    # They end a millisecond later. Then, as most of the time, only the watermark is stored.
    stored = [] if times.watermark == finalized_to else [("watermark", 0, finalized_to)]
    harness.store.time = replace(times, first_open=finalized_to + 1, first_kept={60: due[60] + 1})
    assert await harness.tick() == stored
    harness.store.time = times
    assert await harness.tick() == stored


async def test_finalizing_and_expiring_go_on_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, shards=1, partitions=1)
    harness.emitter.own(frozenset({0}))
    harness.store.time = ShardTimes({}, {0: NOON_MS}, {0: 0.0}, None, first_open=0, first_kept={60: 0})
    harness.store.open, harness.store.old = 1_200, 501
    await harness.tick()
    assert (harness.store.open, harness.store.old) == (0, 0)


@pytest.mark.parametrize("step", ["finalize", "expire"])
async def test_a_stop_does_not_wait_until_all_windows_are_done(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """There may be a million of them, and the next owner goes on."""
    harness = Harness(monkeypatch)
    harness.emitter.own(frozenset({0}))
    harness.store.time = ShardTimes({0: 9}, {0: NOON_MS}, {0: 0.0}, None, first_open=0, first_kept={60: 0})
    harness.store.open, harness.store.old = (10**6, 0) if step == "finalize" else (0, 10**6)
    one_step = getattr(harness.store, step)

    async def release_meanwhile(*args: int) -> int:
        harness.emitter.own(frozenset())
        done: int = await one_step(*args)
        return done

    monkeypatch.setattr(harness.store, step, release_meanwhile)
    await harness.tick()
    assert harness.store.open + harness.store.old == 10**6 - 500
