"""Which final windows are ready to be decided, and which positions may be committed."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.engine.measure import Reading
from streams.alerts.evaluation.held import HeldWindows, Place, Provisional, Span

HOLD = 1_000
MINUTE = 60_000


def reading(keyword: str, minute: int, *, size: int = 60, count: int = 1, final: bool = True) -> Reading:
    return Reading(keyword, size, minute * size * 1_000, count, 0, {}, {}, final)


def place(partition: int, offset: int, *, published: int = 0, read: int = 0) -> Place:
    return Place(partition, offset, published, read)


def shown(spans: list[Span]) -> list[tuple[int, int, list[str]]]:
    return [(span.size, span.end, sorted(span.readings)) for span in spans]


def test_a_span_waits_for_its_window_of_all_posts_and_then_for_the_others() -> None:
    held = HeldWindows(HOLD)
    held.add(reading("rain", 0), place(0, 5))
    assert held.ready(10**9) == []
    held.add(reading("*", 0), place(1, 7, read=5_000))
    assert held.ready(5_999) == []
    held.add(reading("coffee", 0), place(2, 1, read=5_500))
    assert shown(held.ready(6_000)) == [(60, MINUTE, ["*", "coffee", "rain"])]
    [span] = held.ready(6_000)
    assert span.complete
    held.done(span)
    assert held.ready(6_000) == []
    assert len(held) == 0


def test_spans_come_in_the_order_of_their_ends_for_each_size() -> None:
    held = HeldWindows(HOLD)
    for minute in (2, 0, 1):
        held.add(reading("*", minute), place(0, minute))
    held.add(reading("*", 0, size=120), place(1, 0))
    found = [(span.size, span.end) for span in held.ready(HOLD)]
    assert [end for size, end in found if size == 60] == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert (120, 2 * MINUTE) in found


def test_a_span_without_all_posts_is_ready_with_a_later_one_and_is_not_complete() -> None:
    held = HeldWindows(HOLD)
    held.add(reading("rain", 0), place(0, 0))
    held.add(reading("rain", 2), place(0, 1))
    held.add(reading("*", 1), place(1, 0))
    first, second = held.ready(HOLD)
    assert (first.end, first.complete) == (MINUTE, False)
    assert (second.end, second.complete) == (2 * MINUTE, True)


def test_while_the_reader_is_behind_the_times_of_publication_count() -> None:
    held = HeldWindows(HOLD)
    held.add(reading("*", 0), place(0, 0, published=10_000, read=10**12))
    assert held.ready(10**13, until_ms=10_999) == []
    assert len(held.ready(10**12, until_ms=11_000)) == 1
    assert held.oldest_ms() == 10_000


def test_a_later_record_of_a_window_replaces_it_and_the_first_one_keeps_its_place() -> None:
    held = HeldWindows(HOLD)
    held.add(reading("*", 0, count=3), place(0, 4))
    held.add(reading("*", 0, count=4), place(0, 9, read=900))
    [span] = held.ready(HOLD)
    assert span.readings["*"].count == 4
    assert held.positions({0: 10}) == {0: 4}


def test_provisional_windows_are_kept_until_they_are_final_or_decided() -> None:
    kept = Provisional()
    kept.add(reading("rain", 1, count=1, final=False))
    kept.add(reading("rain", 1, count=2, final=False))
    kept.add(reading("rain", 0, final=False))
    kept.add(reading("coffee", 1, final=False))
    kept.add(reading("coffee", 1))
    assert [(one.keyword, one.start, one.count) for one in kept.current({})] == [("rain", 0, 1), ("rain", MINUTE, 2)]
    assert [one.start for one in kept.current({60: MINUTE})] == [MINUTE]
    assert kept.current({60: 2 * MINUTE}) == []


RECORDS = st.lists(
    st.tuples(st.sampled_from(["*", "coffee", "rain"]), st.integers(0, 5), st.integers(0, 2), st.integers(0, 3_000)),
    max_size=40,
)


@given(RECORDS, st.integers(0, 5_000))
def test_no_position_passes_a_window_that_was_not_decided(
    records: list[tuple[str, int, int, int]], now_ms: int
) -> None:
    held = HeldWindows(HOLD)
    reached: dict[int, int] = {}
    of_span: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for keyword, minute, partition, read_ms in records:
        one, offset = reading(keyword, minute), reached.get(partition, 0)
        held.add(one, place(partition, offset, read=read_ms))
        of_span.setdefault((one.size, one.end), []).append((partition, offset))
        reached[partition] = offset + 1
    ends: list[int] = []
    for span in held.ready(now_ms):
        ends.append(span.end)
        held.done(span)
        del of_span[span.size, span.end]
        positions = held.positions(reached)
        assert_none_is_passed(positions, of_span)
    assert ends == sorted(ends)
    assert len(held) == 0 or held.positions(reached) != {}
    assert_none_is_passed(held.positions(reached), of_span)


def assert_none_is_passed(
    positions: Mapping[int, int], waiting: Mapping[tuple[int, int], list[tuple[int, int]]]
) -> None:
    assert all(positions[partition] <= offset for places in waiting.values() for partition, offset in places)
