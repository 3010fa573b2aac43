"""The windows of an answer cover the span that is asked for once, and divide it between the tables and the history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.query.span import MOST_WINDOWS, choose_span, first_held
from streams.window_sizes import MAX_KEPT_S, MAX_SIZE_S, WindowSize

NOW = st.integers(0, 4_102_444_800_000)


@st.composite
def any_sizes(draw: st.DrawFn) -> list[WindowSize]:
    seconds = draw(st.lists(st.integers(1, MAX_SIZE_S), min_size=1, max_size=5, unique=True))
    return [WindowSize(size, draw(st.integers(size, MAX_KEPT_S))) for size in seconds]


@given(any_sizes(), NOW, st.data())
def test_the_windows_cover_the_span_exactly_once(sizes: list[WindowSize], now: int, data: st.DataObject) -> None:
    since = data.draw(st.integers(0, now))
    span = choose_span(sizes, since_ms=since, now_ms=now)
    length = span.size * 1_000
    assert span.size in {size.seconds for size in sizes}
    # Every moment of the span is in one window, and the first and the last window are needed.
    assert span.start <= since < span.start + length
    assert span.end - length <= now < span.end
    assert span.start % length == span.end % length == 0
    starts = span.starts
    assert len(starts) * length == span.end - span.start
    assert starts[0] == span.start
    assert starts[-1] + length == span.end


@given(any_sizes(), NOW, st.data())
def test_the_windows_are_few_and_the_tables_have_them_if_any_size_allows_it(
    sizes: list[WindowSize], now: int, data: st.DataObject
) -> None:
    since = data.draw(st.integers(0, now))
    span = choose_span(sizes, since_ms=since, now_ms=now)

    def reaches_back(size: WindowSize) -> bool:
        length = size.seconds * 1_000
        return since // length * length + length + size.kept_ms > now

    def windows(size: WindowSize) -> int:
        length = size.seconds * 1_000
        return now // length - since // length + 1

    chosen = next(size for size in sizes if size.seconds == span.size)
    assert len(span.starts) == windows(chosen)
    reaching = [size for size in sizes if reaches_back(size)]
    assert reaches_back(chosen) or not reaching
    if any(windows(size) <= MOST_WINDOWS for size in reaching):
        assert len(span.starts) <= MOST_WINDOWS


@given(any_sizes(), NOW)
def test_a_question_without_a_start_is_about_the_last_day(sizes: list[WindowSize], now: int) -> None:
    assert choose_span(sizes, since_ms=None, now_ms=now) == choose_span(
        sizes, since_ms=max(0, now - 86_400_000), now_ms=now
    )


@given(st.integers(1, MAX_SIZE_S), NOW, st.integers(-1, 4_102_444_800_000))
def test_the_tables_hold_each_window_from_the_first_that_is_neither_removed_nor_incomplete(
    size: int, complete_from: int, expired_to: int
) -> None:
    length = size * 1_000
    first = first_held(size, complete_from=complete_from, expired_to=expired_to)
    assert first >= 0
    assert first % length == 0

    def held(start: int) -> bool:
        return start >= complete_from and start + length > expired_to

    assert held(first)
    assert first == 0 or not held(first - length)
