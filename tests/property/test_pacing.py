"""In which emission intervals each window size is published, for any sizes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.pacing import BEHIND_FACTOR, MAX_INTERVALS, due, intervals_between

SIZES = st.lists(st.integers(1, 400 * 86_400), min_size=1, max_size=6, unique=True)


def steps(published: list[tuple[int, ...]], size: int) -> set[int]:
    """The numbers of intervals between two publications of a size."""
    intervals = [interval for interval, sizes in enumerate(published) if size in sizes]
    return {later - earlier for earlier, later in pairwise(intervals)}


@given(SIZES, st.integers(0, 1_000))
def test_each_size_is_published_every_nth_interval(sizes: list[int], first: int) -> None:
    published = [due(sizes, first + number) for number in range(10 * MAX_INTERVALS)]
    for size in sizes:
        assert steps(published, size) == {intervals_between(size)}
        assert 1 <= intervals_between(size) <= MAX_INTERVALS


@given(SIZES, st.integers(0, 1_000))
def test_while_the_worker_is_behind_each_size_is_published_less_often(sizes: list[int], first: int) -> None:
    published = [due(sizes, first + number, behind=True) for number in range(3 * BEHIND_FACTOR * MAX_INTERVALS)]
    for size in sizes:
        assert steps(published, size) == {BEHIND_FACTOR * intervals_between(size)}


@given(SIZES, st.lists(st.booleans(), max_size=3 * BEHIND_FACTOR * MAX_INTERVALS))
def test_no_window_waits_longer_however_often_a_worker_falls_behind(sizes: list[int], behind: list[bool]) -> None:
    last = dict.fromkeys(sizes, 0)
    for interval, is_behind in enumerate(behind):
        for size in sizes:
            is_due = size in due(sizes, interval, behind=is_behind)
            waited = interval - last[size]
            assert is_due or waited < BEHIND_FACTOR * intervals_between(size)
            # A worker that has caught up waits no longer than one that was never behind.
            caught_up = not any(behind[max(0, interval - intervals_between(size) + 1) : interval + 1])
            assert is_due or not caught_up or waited < intervals_between(size)
            last[size] = interval if is_due else last[size]


@given(SIZES)
def test_all_sizes_are_published_in_the_first_interval(sizes: list[int]) -> None:
    assert due(sizes, 0) == tuple(sizes)


@given(st.integers(1, 400 * 86_400), st.integers(1, 400 * 86_400))
def test_a_longer_window_is_published_no_more_often(one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    assert intervals_between(shorter) <= intervals_between(longer)


def test_windows_up_to_a_minute_are_published_in_every_interval() -> None:
    assert [intervals_between(size) for size in (1, 60, 119, 120, 240, 300, 599, 3_600, 86_400)] == [
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
