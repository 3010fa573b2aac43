"""How often windows of a size are published, for any sizes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.pacing import SLOWEST, WHILE_BEHIND, due, is_served, rounds_between

SIZES = st.lists(st.integers(1, 400 * 86_400), min_size=1, max_size=6, unique=True)


@given(SIZES, st.integers(0, 1_000))
def test_each_size_has_its_turn_at_its_pace(sizes: list[int], first: int) -> None:
    turns = [due(sizes, first + number) for number in range(10 * SLOWEST)]
    for size in sizes:
        at = [number for number, sizes_due in enumerate(turns) if size in sizes_due]
        assert {later - earlier for earlier, later in pairwise(at)} == {rounds_between(size)}
        assert 1 <= rounds_between(size) <= SLOWEST


@given(SIZES, st.integers(0, 1_000))
def test_while_behind_fewer_rounds_are_served_and_still_none_waits_longer_than_the_slowest(
    sizes: list[int], first: int
) -> None:
    numbers = [first + number for number in range(10 * SLOWEST)]
    served = {number: due(sizes, number, behind=True) for number in numbers if is_served(number, behind=True)}
    assert len(served) == len(numbers) / WHILE_BEHIND
    for size in sizes:
        at = [number for number, sizes_due in served.items() if size in sizes_due]
        gaps = {later - earlier for earlier, later in pairwise(at)}
        assert gaps == {WHILE_BEHIND if rounds_between(size) <= WHILE_BEHIND else SLOWEST}
    assert all(is_served(number, behind=False) for number in numbers)


@given(SIZES)
def test_all_have_a_turn_in_the_first_round(sizes: list[int]) -> None:
    assert due(sizes, 0) == tuple(sizes)


@given(st.integers(1, 400 * 86_400), st.integers(1, 400 * 86_400))
def test_a_longer_window_has_its_turn_no_sooner(one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    assert rounds_between(shorter) <= rounds_between(longer)


def test_up_to_a_minute_it_is_every_round() -> None:
    assert [rounds_between(size) for size in (1, 60, 119, 120, 300, 3_600, 86_400)] == [1, 1, 1, 2, 5, 10, 10]
