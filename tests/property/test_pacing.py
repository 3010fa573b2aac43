"""How often windows of a size are published, for any sizes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.pacing import BEHIND, SLOWEST, due, rounds_between

SIZES = st.lists(st.integers(1, 400 * 86_400), min_size=1, max_size=6, unique=True)


@given(SIZES, st.integers(0, 1_000))
def test_each_size_has_its_turn_at_its_pace(sizes: list[int], first: int) -> None:
    turns = [due(sizes, first + number) for number in range(10 * SLOWEST)]
    for size in sizes:
        at = [number for number, sizes_due in enumerate(turns) if size in sizes_due]
        assert {later - earlier for earlier, later in pairwise(at)} == {rounds_between(size)}
        assert 1 <= rounds_between(size) <= SLOWEST


@given(SIZES, st.integers(0, 1_000))
def test_while_behind_each_size_has_its_turn_more_rarely(sizes: list[int], first: int) -> None:
    turns = [due(sizes, first + number, behind=True) for number in range(3 * BEHIND * SLOWEST)]
    for size in sizes:
        at = [number for number, sizes_due in enumerate(turns) if size in sizes_due]
        assert {later - earlier for earlier, later in pairwise(at)} == {BEHIND * rounds_between(size)}


@given(SIZES, st.lists(st.booleans(), max_size=3 * BEHIND * SLOWEST))
def test_no_window_waits_longer_however_often_a_worker_falls_behind(sizes: list[int], behind: list[bool]) -> None:
    last = dict.fromkeys(sizes, 0)
    for number, is_behind in enumerate(behind):
        for size in sizes:
            turn = size in due(sizes, number, behind=is_behind)
            waited = number - last[size]
            assert turn or waited < BEHIND * rounds_between(size)
            # Once it keeps up, no more than it would have waited all the time.
            caught_up = not any(behind[max(0, number - rounds_between(size) + 1) : number + 1])
            assert turn or not caught_up or waited < rounds_between(size)
            last[size] = number if turn else last[size]


@given(SIZES)
def test_all_have_a_turn_in_the_first_round(sizes: list[int]) -> None:
    assert due(sizes, 0) == tuple(sizes)


@given(st.integers(1, 400 * 86_400), st.integers(1, 400 * 86_400))
def test_a_longer_window_has_its_turn_no_sooner(one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    assert rounds_between(shorter) <= rounds_between(longer)


def test_up_to_a_minute_it_is_every_round() -> None:
    assert [rounds_between(size) for size in (1, 60, 119, 120, 240, 300, 599, 3_600, 86_400)] == [
        1,
        1,
        1,
        2,
        2,
        5,
        5,
        10,
        10,
    ]
