"""How much a keyword rises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.query.rising import rise

COUNTS = st.lists(st.integers(0, 10**6), min_size=2, max_size=20)


def test_the_same_number_of_posts_is_no_rise() -> None:
    assert rise([9, 9, 9]) == 1


def test_ten_times_as_many_posts_rise_ten_times() -> None:
    assert rise([9, 9, 99]) == 10


def test_a_first_post_rises_less_than_many_posts_that_double() -> None:
    assert rise([0, 0, 1]) < rise([0, 0, 5])
    assert rise([0, 0, 1]) == 2


@given(COUNTS, st.integers(1, 1_000))
def test_more_posts_in_the_latest_window_rise_more(posts: list[int], more: int) -> None:
    assert rise([*posts[:-1], posts[-1] + more]) > rise(posts) > 0
