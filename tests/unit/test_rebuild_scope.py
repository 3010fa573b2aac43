"""Which windows a rebuild recounts, and what a rebuilt shard takes over from the old one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.windows.rebuild.scope import Action, Scope, final_state, next_end, target_of
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS

MINUTE = 60_000


def key(minutes: float, size: int = 60, word: str = "*") -> WindowKey:
    return WindowKey(word, size, NOON_MS + round(minutes * MINUTE))


def scope(complete_from: int = 0, since: float | None = None, until: float | None = None, expired: int = -1) -> Scope:
    start, end = (None if at is None else NOON_MS + round(at * MINUTE) for at in (since, until))
    return Scope(complete_from, start, end, {60: expired})


@pytest.mark.parametrize(
    ("minutes", "size", "action"),
    [
        (9, 60, Action.KEEP),  # ends at the start of the range
        (9, 300, Action.COUNT),  # overlaps the range
        (10, 60, Action.COUNT),
        (19, 60, Action.COUNT),
        (20, 60, Action.KEEP),  # starts at the end of the range
        (0, 3_600, Action.COUNT),  # contains the range
    ],
)
def test_windows_that_overlap_a_range_are_recounted(minutes: float, size: int, action: Action) -> None:
    assert scope(since=10, until=20).action_for(key(minutes, size)) is action


def test_a_window_that_cannot_be_complete_is_kept() -> None:
    complete_from = scope(complete_from=NOON_MS + 1)
    assert complete_from.action_for(key(0)) is Action.KEEP
    assert complete_from.action_for(key(1)) is Action.COUNT


def test_a_window_out_of_the_retention_is_expired_unless_it_is_still_there() -> None:
    found = Scope(0, None, None, {60: NOON_MS + MINUTE}, frozenset([key(0, word="tea")]))
    assert (found.action_for(key(0)), found.action_for(key(0, word="tea"))) == (Action.EXPIRED, Action.COUNT)
    assert (found.action_for(key(1)), found.action_for(key(0, 300))) == (Action.COUNT, Action.COUNT)


OLD = {
    "complete_from": "5",
    "p:0": "40",
    "f:0": "44",
    "t:0": "7",
    "a:0": "90",
    "a:1": "80",
    "watermark": "6",
    "late:60": "1",
    "expired:60": "2",
    "unbuilt:60": "3",
    "duplicates": "4",
    "expired_to:60": "30",
    "sealed_by": "me",
    "sealed_until": "999",
    "rebuilt_at": "50",
    "top_end": "60",
    "top_filling": "1",
}
NEW = {"complete_from": "0", "p:0": "40", "f:0": "44", "t:0": "8", "a:0": "100", "late:60": "9"}


def test_after_a_complete_rebuild_a_shard_has_its_own_counters() -> None:
    set_ = final_state(scope(expired=20), OLD, NEW, expired={60: 12}, unbuilt={300: 5}, rebuilt_at=100)
    assert {**NEW, **set_} == {
        "complete_from": "0",
        "p:0": "40",
        "f:0": "44",
        "t:0": "8",
        "a:0": "90",
        "watermark": "6",
        "late:60": "9",
        "expired:60": "12",
        "unbuilt:300": "5",
        "expired_to:60": "30",
        "rebuilt_at": "100",
    }


def test_after_a_rebuild_of_a_range_a_shard_keeps_the_old_counters() -> None:
    set_ = final_state(scope(since=1), OLD, NEW, expired={60: 12}, unbuilt={60: 5}, rebuilt_at=100)
    assert {**NEW, **set_} == {
        **{name: value for name, value in OLD.items() if not name.startswith(("sealed", "top"))},
        "rebuilt_at": "100",
    }


def test_a_shard_that_was_emptied_is_counted_to_the_end() -> None:
    assert [
        target_of(40, 99, initialised=True),
        target_of(-1, 99, initialised=True),
        target_of(-1, 99, initialised=False),
    ] == [
        40,
        -1,
        99,
    ]


@given(st.lists(st.integers(-1, 20), min_size=1, max_size=4), st.integers(0, 10))
def test_every_shard_is_read_up_to_its_own_target(targets: list[int], low: int) -> None:
    positions = [-1] * len(targets)
    ends = []
    while (end := next_end(positions, targets, low)) is not None:
        ends.append(end)
        positions = [max(at, end) if to >= end else at for at, to in zip(positions, targets, strict=True)]
    assert ends == sorted({to for to in targets if to > low})
    assert positions == [to if to > low else -1 for to in targets]
