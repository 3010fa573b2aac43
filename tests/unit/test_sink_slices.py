"""The size of slices follows the time that transactions take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.sink.slices import FIRST_RECORDS, MAX_GROWTH, MIN_RECORDS, SliceSize


def test_it_grows_to_what_fits_into_the_time() -> None:
    size = SliceSize(0.2, 20_000)
    sizes = []
    for _ in range(8):
        sizes.append(size.records)
        size.observe(size.records, size.records / 30_000)
    assert sizes[:4] == [FIRST_RECORDS, FIRST_RECORDS * MAX_GROWTH, FIRST_RECORDS * MAX_GROWTH**2, 6_000]
    assert sizes[-1] == 6_000


def test_a_slow_slice_is_followed_by_a_smaller_one() -> None:
    size = SliceSize(0.2, 20_000)
    size.observe(1_000, 2.0)
    assert size.records == 100
    size.observe(100, 60.0)
    assert size.records == MIN_RECORDS


def test_a_small_slice_does_not_shrink_the_next_one() -> None:
    size = SliceSize(0.2, 20_000)
    size.observe(3, 0.19)
    assert size.records == FIRST_RECORDS


@given(st.integers(1, 100_000), st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 1e4)), max_size=30))
def test_it_stays_within_its_bounds(most: int, slices: list[tuple[int, float]]) -> None:
    size = SliceSize(0.2, most)
    for records, seconds in slices:
        before = size.records
        size.observe(records, seconds)
        assert min(MIN_RECORDS, most) <= size.records <= most
        assert size.records <= max(before * MAX_GROWTH, MIN_RECORDS)
