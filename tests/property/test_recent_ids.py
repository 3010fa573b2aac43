"""`RecentIds` finds the same duplicates as a search through all earlier records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.recent import RecentIds

HORIZON_MS = 10
RECORDS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", None]), st.integers(-2, 8)), max_size=40)


def appended(records: list[tuple[bytes | None, int]]) -> list[tuple[bytes | None, int]]:
    """Keys and times of records. The broker's clock goes forwards, with small steps back."""
    clock, found = 100, []
    for key, step in records:
        clock += step
        found.append((key, clock))
    return found


@given(RECORDS)
def test_a_record_is_a_duplicate_if_its_key_came_within_the_horizon(records: list[tuple[bytes | None, int]]) -> None:
    ids, log = RecentIds(HORIZON_MS), appended(records)
    for offset, (key, time) in enumerate(log):
        now = max(at for _, at in log[: offset + 1])
        earlier = [max(at for _, at in log[: i + 1]) for i, (other, _) in enumerate(log[:offset]) if other == key]
        expected = key is not None and any(at >= now - HORIZON_MS for at in earlier)
        assert ids.add(offset, key, time) is expected
        assert ids.offset == offset + 1
        assert len(ids) <= len({other for other, _ in log[: offset + 1]})


@given(RECORDS, st.integers(0, 40))
def test_records_before_the_horizon_need_not_be_read(records: list[tuple[bytes | None, int]], start: int) -> None:
    log = [(key, max(time for _, time in appended(records)[: i + 1])) for i, (key, _) in enumerate(appended(records))]
    start = min(start, len(log))
    all_ids, later = RecentIds(HORIZON_MS), RecentIds(HORIZON_MS)
    since = log[start - 1][1] - HORIZON_MS if start else 0
    for offset, (key, time) in enumerate(log[:start]):
        all_ids.add(offset, key, time)
        if time >= since:
            later.add(offset, key, time)
    for offset, (key, time) in enumerate(log[start:], start):
        assert all_ids.add(offset, key, time) == later.add(offset, key, time)
