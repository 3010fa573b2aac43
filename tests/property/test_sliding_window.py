"""No minute has more requests than the limit, wherever it begins, also if requests are taken together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.access.sliding_window import LEASE_S, PARTS, WINDOW_S, SlidingWindow

gaps = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(0, 1.5), st.floats(0, 130)),  # seconds since the one before
        st.integers(1, 12),  # requests that are wanted
        st.floats(0, LEASE_S, exclude_max=True),  # seconds until they are sent
    ),
    max_size=80,
)


@given(gaps, st.integers(1, 20), st.floats(0, 1e9))
def test_no_minute_has_more_than_the_limit(steps: list[tuple[float, int, float]], limit: int, now: float) -> None:
    window, sent = SlidingWindow(), []
    for gap, wanted, delay in steps:
        now += gap
        taken = window.take(wanted, limit, now)
        assert 0 <= taken.given <= wanted
        sent += [now + delay] * taken.given
    for begin in sent:
        assert len([at for at in sent if begin <= at <= begin + WINDOW_S]) <= limit


@given(gaps, st.integers(1, 20))
def test_who_waits_as_long_as_told_is_served(steps: list[tuple[float, int, float]], limit: int) -> None:
    window, now = SlidingWindow(), 0.0
    for gap, wanted, _ in steps:
        now += gap
        taken = window.take(wanted, limit, now)
        if taken.remaining:
            assert taken.given == wanted
            assert taken.retry_after_s == 0
        else:
            assert 0 < taken.retry_after_s <= PARTS
            now += taken.retry_after_s
            assert window.take(1, limit, now).given == 1


@given(st.integers(1, 600), st.floats(0, 1))
def test_an_even_client_is_served_at_60_of_62_parts_of_its_limit(limit: int, begin: float) -> None:
    window = SlidingWindow()
    for number in range(3 * limit):
        assert window.take(1, limit, begin + number * PARTS / limit * (1 + 1e-9)).given == 1


def test_after_a_pause_the_whole_limit_is_free() -> None:
    window = SlidingWindow()
    assert window.take(100, 100, 0.0).given == 100
    assert window.take(1, 100, PARTS - 0.001).given == 0
    assert window.take(200, 100, PARTS).given == 100


def test_a_clock_that_was_set_back_does_not_lock_anybody_out_for_longer_than_the_window() -> None:
    window = SlidingWindow()
    assert window.take(9, 10, 10_000.0).given == 9
    assert window.take(9, 10, 9_990.0).given == 1
    assert window.take(9, 10, 5_000.0).given == 9
    assert window.take(9, 10, 5_000.0 + PARTS).given == 9


def test_what_others_have_allowed_counts() -> None:
    window = SlidingWindow()
    window.add(8, 0.0)
    assert window.take(5, 10, 30.0).given == 2
    assert window.take(5, 4, 31.0).given == 0  # the limit was lowered
