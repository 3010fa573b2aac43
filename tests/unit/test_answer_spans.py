from __future__ import annotations

import pytest

from streams.query.errors import QuestionError
from streams.query.span import Span, choose_span, first_held
from streams.window_sizes import parse_sizes
from tests.helpers import NOON_MS

SIZES = parse_sizes("1m:2d,5m:7d,1h:30d,1d:400d")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("ago", "size", "windows"),
    [
        (0, 60, 1),
        (10 * MINUTE, 60, 11),
        (HOUR, 60, 61),
        (2 * HOUR, 300, 25),
        (23 * HOUR, 300, 277),
        (DAY, 3_600, 25),
        (7 * DAY, 3_600, 169),
        (17 * DAY, 86_400, 18),  # there are more than 400 hours, and days reach back
        (29 * DAY, 86_400, 30),
        (31 * DAY, 86_400, 32),
        (399 * DAY, 86_400, 400),
        (1_000 * DAY, 86_400, 1_001),  # no size reaches back so far, and days reach back furthest
    ],
)
def test_the_window_size_of_a_span(ago: int, size: int, windows: int) -> None:
    span = choose_span(SIZES, since_ms=NOON_MS - ago, now_ms=NOON_MS)
    assert (span.size, len(span.starts)) == (size, windows)


def test_a_span_begins_with_the_window_that_holds_its_start_and_ends_with_the_present_one() -> None:
    # size 3600   |-- 11:00 --|-- 12:00 --|-- … --|-- 12:00 --|
    # since, now    ^ 11:59:59.999                    ^ 12:00:00.001
    span = choose_span(SIZES, since_ms=NOON_MS - DAY - 1, now_ms=NOON_MS + 1)
    assert span == Span(3_600, NOON_MS - DAY - HOUR, NOON_MS + HOUR)
    assert (span.starts[0], span.starts[-1]) == (NOON_MS - DAY - HOUR, NOON_MS)


def test_a_size_whose_retention_does_not_reach_back_is_not_chosen() -> None:
    sizes = parse_sizes("1m:1h,1h:2h,1d:3d")
    # An hour after its end, the window of a minute is removed.
    assert choose_span(sizes, since_ms=NOON_MS - HOUR, now_ms=NOON_MS).size == 60
    assert choose_span(sizes, since_ms=NOON_MS - HOUR - 1, now_ms=NOON_MS).size == 3_600
    assert choose_span(sizes, since_ms=None, now_ms=NOON_MS).size == 86_400


def test_many_windows_are_read_if_there_is_no_longer_size() -> None:
    span = choose_span(parse_sizes("1m:2d"), since_ms=None, now_ms=NOON_MS)
    assert (span.size, len(span.starts)) == (60, 1_441)


def test_a_start_in_the_future_is_refused_unless_clocks_explain_it() -> None:
    assert choose_span(SIZES, since_ms=NOON_MS + 5_000, now_ms=NOON_MS).starts == range(NOON_MS, NOON_MS + 1, MINUTE)
    with pytest.raises(QuestionError, match="since: lies in the future") as refused:
        choose_span(SIZES, since_ms=NOON_MS + HOUR, now_ms=NOON_MS)
    assert refused.value.field == "since"


@pytest.mark.parametrize(
    ("complete_from", "expired_to", "first"),
    [
        # size 60     |-- 12:00 --|-- 12:01 --|
        (0, -1, 0),
        (NOON_MS, -1, NOON_MS),
        (NOON_MS + 1, -1, NOON_MS + MINUTE),
        (0, NOON_MS, NOON_MS),  # the window that ends at 12:00 was removed
        (0, NOON_MS + MINUTE - 1, NOON_MS),
        (0, NOON_MS + MINUTE, NOON_MS + MINUTE),
        (NOON_MS, NOON_MS + MINUTE, NOON_MS + MINUTE),
        (NOON_MS + 1, NOON_MS, NOON_MS + MINUTE),
    ],
)
def test_the_first_window_that_the_tables_hold(complete_from: int, expired_to: int, first: int) -> None:
    assert first_held(60, complete_from=complete_from, expired_to=expired_to) == first
