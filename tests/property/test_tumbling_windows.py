"""Windows divide time without gaps, names can be parsed, shards are in range, and the watermark never falls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.tumbling import WindowKey, shard_of, watermark, window_start

SIZES = st.integers(1, 31 * 86_400)
TIMES = st.integers(0, 253_402_300_799_999)  # to the end of the year 9999
# A post may hold any character except NUL and surrogates.
KEYWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
BY_PARTITION = st.dictionaries(st.integers(0, 8), TIMES, min_size=1)


@given(TIMES, SIZES)
def test_a_window_holds_its_event_and_is_aligned(event_ms: int, size: int) -> None:
    start = window_start(event_ms, size)
    assert start <= event_ms < WindowKey("*", size, start).end
    assert start % (size * 1_000) == 0
    assert start >= 0


@given(TIMES, SIZES)
def test_windows_follow_each_other_without_gaps(event_ms: int, size: int) -> None:
    key = WindowKey("*", size, window_start(event_ms, size))
    assert window_start(key.start, size) == key.start
    assert window_start(key.end - 1, size) == key.start
    assert window_start(key.end, size) == key.end
    if key.start:
        assert window_start(key.start - 1, size) == key.start - size * 1_000


@given(KEYWORDS | st.sampled_from(["", "|", "60|0|*", "{0}", "a\nb", "*"]), SIZES, TIMES)
def test_a_name_is_parsed_to_its_window(keyword: str, size: int, start: int) -> None:
    key = WindowKey(keyword, size, start)
    assert WindowKey.parse(key.member()) == key


@given(st.lists(st.tuples(KEYWORDS, st.integers(1, 3), st.integers(0, 99)), unique=True, min_size=2))
def test_no_two_windows_share_a_name(keys: list[tuple[str, int, int]]) -> None:
    assert len({WindowKey(*key).member() for key in keys}) == len(keys)


@given(KEYWORDS, st.integers(1, 1_024))
def test_a_shard_is_in_range(keyword: str, shards: int) -> None:
    assert 0 <= shard_of(keyword, shards) < shards


@given(BY_PARTITION, st.sets(st.integers(0, 8)), st.integers(0, 100_000))
def test_the_watermark_is_not_ahead_of_any_live_partition(times: dict[int, int], live: set[int], lateness: int) -> None:
    mark = watermark(times, live, lateness)
    assert mark is not None
    assert all(mark <= times[partition] - lateness for partition in live & times.keys())
    assert mark + lateness in times.values()


@given(BY_PARTITION, st.sets(st.integers(0, 8)), st.data())
def test_the_watermark_never_falls_when_a_partition_goes_on(
    times: dict[int, int], live: set[int], data: st.DataObject
) -> None:
    partition = data.draw(st.sampled_from(sorted(times)))
    later = {**times, partition: times[partition] + data.draw(st.integers(0, 10_000))}
    before, after = watermark(times, live, 0), watermark(later, live, 0)
    assert before is not None
    assert after is not None
    assert after >= before
