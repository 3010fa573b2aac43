"""Duplicates are those that a search through all earlier records finds, and a replay of the horizon finds the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.records import is_from_source
from streams.windows.recent import Horizons, RecentIds, RecentPosts

HORIZON_MS = 10
MOST = 3
Log = list[tuple[bytes, int]]
RECORDS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.integers(-2, 8)), max_size=40)


def appended(records: Log) -> Log:
    """Keys and times of records. The broker's clock goes forwards, with small steps back."""
    clock, found = 100, []
    for key, step in records:
        clock += step
        found.append((key, clock))
    return found


@given(RECORDS)
def test_an_id_is_known_if_it_came_within_the_horizon(records: Log) -> None:
    ids, log = RecentIds(HORIZON_MS), appended(records)
    for number, (key, time) in enumerate(log):
        now = max(at for _, at in log[: number + 1])
        earlier = [max(at for _, at in log[: i + 1]) for i, (other, _) in enumerate(log[:number]) if other == key]
        assert ids.add(key, time) is any(at >= now - HORIZON_MS for at in earlier)
        assert len(ids) <= len({other for other, _ in log[: number + 1]})
    assert ids.forgotten == 0


@given(RECORDS)
def test_only_the_latest_ids_are_known(records: Log) -> None:
    ids, unlimited, log = RecentIds(HORIZON_MS, MOST), RecentIds(HORIZON_MS), appended(records)
    for number, (key, time) in enumerate(log):
        latest = list(dict.fromkeys(other for other, _ in log[:number][::-1]))[:MOST]
        assert ids.add(key, time) is (unlimited.add(key, time) and key in latest)
        assert len(ids) <= MOST
    assert (ids.forgotten > 0) >= (len(unlimited) > MOST)


@given(RECORDS, st.integers(0, 40), st.sampled_from([None, MOST]))
def test_ids_before_the_horizon_need_not_be_added(records: Log, start: int, most: int | None) -> None:
    log = [(key, max(time for _, time in appended(records)[: i + 1])) for i, (key, _) in enumerate(appended(records))]
    start = min(start, len(log))
    all_ids, later = RecentIds(HORIZON_MS, most), RecentIds(HORIZON_MS, most)
    since = log[start - 1][1] - HORIZON_MS if start else 0
    for key, time in log[:start]:
        all_ids.add(key, time)
        if time >= since:
            later.add(key, time)
    for key, time in log[start:]:
        assert all_ids.add(key, time) == later.add(key, time)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"rss:a", b"x:a", b"a", b"rss", b"y:a", None]), st.integers(-2, 8)), max_size=40
    ),
    st.sampled_from([(HORIZON_MS, 0), (HORIZON_MS, HORIZON_MS), (HORIZON_MS, 4)]),
)
def test_posts_of_sources_are_found_without_the_other_records(
    records: list[tuple[bytes | None, int]], horizons_ms: tuple[int, int]
) -> None:
    sources, others = horizons_ms
    recent, alone = RecentPosts(Horizons(sources, others, None)), RecentPosts(Horizons(sources, 0, None))
    of_others, clock = RecentIds(others), 100
    for offset, (key, step) in enumerate(records):
        clock += step
        found = recent.add(offset, key, clock)
        assert recent.offset == offset + 1
        if is_from_source(key):
            assert found is alone.add(offset, key, clock)
        else:
            assert found is (others > 0 and key is not None and of_others.add(key, clock))
