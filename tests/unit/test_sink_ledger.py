"""The arithmetic of the ledger: spans of records, and the ranges to store after a write."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streams.sink.ledger import (
    RANGE_RECORDS,
    Fence,
    Figures,
    LedgerRange,
    PositionMismatchError,
    Span,
    check_offsets,
    range_to_store,
    spans_of,
    uncovered,
)
from tests.helpers import NOON

LATER = NOON + timedelta(hours=1)


def figures(first: int, last: int, checksum: int = 1) -> Figures:
    return Figures(last - first + 1, checksum, first, last, NOON, LATER)


def test_spans_include_the_offsets_without_a_record_before_their_records() -> None:
    records = [(1, 12), (0, 5), (0, 7), (1, 13)]
    assert spans_of(records, {0: 3, 1: 12, 2: 9}) == [Span(0, 3, 8, 2), Span(1, 12, 14, 2)]
    assert spans_of([], {0: 3}) == []


def test_the_first_range_of_a_partition_is_its_span() -> None:
    span = Span(0, 10, 20, 10)
    assert range_to_store(None, span, "raw", figures(3, 12)) == LedgerRange(span, Fence("raw", 12), figures(3, 12))
    assert range_to_store(None, span, None, None) == LedgerRange(span), "windows have no figures"


def test_a_range_is_extended_until_it_is_full() -> None:
    last = LedgerRange(Span(0, 0, 10, 10), Fence("raw", 9), figures(0, 9, 0b0110))
    extended = range_to_store(last, Span(0, 10, 15, 5), "raw", figures(10, 13, 0b0011))
    assert extended == LedgerRange(Span(0, 0, 15, 15), Fence("raw", 13), Figures(14, 0b0101, 0, 13, NOON, LATER))
    span = Span(0, 10, 10 + RANGE_RECORDS, RANGE_RECORDS)
    assert range_to_store(last, span, "raw", figures(10, 13)) == LedgerRange(span, Fence("raw", 13), figures(10, 13))


def test_a_range_of_repeated_posts_keeps_the_fence() -> None:
    last = LedgerRange(Span(0, 0, 10, 10), Fence("raw", 9), figures(0, 9))
    assert range_to_store(last, Span(0, 10, 12, 2), "raw", None) == LedgerRange(
        Span(0, 0, 12, 12), Fence("raw", 9), figures(0, 9)
    )


def test_posts_of_another_raw_topic_begin_a_new_range() -> None:
    last = LedgerRange(Span(0, 0, 10, 10), Fence("raw", 9), figures(0, 9))
    assert range_to_store(last, Span(0, 10, 12, 2), "raw.2", figures(0, 1)) == LedgerRange(
        Span(0, 10, 12, 2), Fence("raw.2", 1), figures(0, 1)
    )


def test_offsets_that_the_ledger_covers_are_not_stored_again() -> None:
    """After the database was restored, the sink writes records again that the ledger may cover."""
    last = LedgerRange(Span(0, 0, 10, RANGE_RECORDS), Fence("raw", 9), figures(0, 9))
    assert range_to_store(last, Span(0, 3, 10, 7), "raw", None) is None
    assert range_to_store(last, Span(0, 3, 14, 11), "raw", figures(10, 13)) == LedgerRange(
        Span(0, 10, 14, 11), Fence("raw", 13), figures(10, 13)
    )


@pytest.mark.parametrize(
    ("ranges", "holes"),
    [
        ([], [(10, 20)]),
        ([(10, 20)], []),
        ([(0, 30)], []),
        ([(10, 12), (12, 20)], []),
        ([(15, 20), (10, 12)], [(12, 15)]),
        ([(12, 14), (13, 15)], [(10, 12), (15, 20)]),
        ([(0, 5), (25, 30)], [(10, 20)]),
        ([(5, 11), (19, 25)], [(11, 19)]),
    ],
)
def test_the_parts_that_no_range_covers(ranges: list[tuple[int, int]], holes: list[tuple[int, int]]) -> None:
    assert uncovered(10, 20, ranges) == holes
    assert uncovered(10, 10, ranges) == []


def test_spans_that_start_at_the_stored_offsets_pass() -> None:
    check_offsets("t", {0: 5, 1: 0, 2: 9}, [Span(0, 5, 8, 3), Span(1, 0, 1, 1)])


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({0: 5, 1: 1}, r"t\[1\] is at offset 1 in PostgreSQL, not at 0"),
        ({0: 4, 1: 0}, r"t\[0\] is at offset 4 in PostgreSQL, not at 5"),
        ({0: 5}, r"t\[1\] is at offset None"),
    ],
)
def test_a_span_that_starts_at_another_offset_is_refused(stored: dict[int, int], message: str) -> None:
    with pytest.raises(PositionMismatchError, match=message):
        check_offsets("t", stored, [Span(0, 5, 8, 3), Span(1, 0, 1, 1)])
