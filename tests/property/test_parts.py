"""`divide` divides a batch into parts that count the same, and whose updates are small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from streams.window_sizes import WindowSize
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.parts import WINDOW_CHANGES, Part, divide
from streams.windows.tumbling import WindowKey
from streams.windows.update import ShardUpdate, shard_updates
from tests.helpers import NOON_MS, classified, for_counting

SIZES = (WindowSize(60, 10**6), WindowSize(150, 10**6), WindowSize(3_600, 10**6))
Counts = dict[WindowKey, Counter[str]]


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """The entries of a partition. Some offsets are missing."""
    words = st.lists(st.integers(0, 30).map("word {}".format), unique=True, max_size=8)
    kinds = st.tuples(st.integers(0, 9).map("source {}".format), st.sampled_from(["joy", "anger"]))
    posts = draw(st.lists(st.tuples(st.integers(0, 600), words, kinds, st.integers(1, 3)), max_size=25))
    offset, entries = draw(st.integers(0, 5)), []
    for number, (second, keywords, (source, label), step) in enumerate(posts):
        post = classified(number, at=NOON_MS + 1_000 * second, keywords=keywords, source=source, label=label)
        entries.append(Entry(offset, for_counting(post)))
        offset += step
    return entries


def changes(update: ShardUpdate) -> int:
    return sum(WINDOW_CHANGES + len(delta.fields) for delta in update.windows.values())


def count(parts: Sequence[Mapping[int, Part]], shards: int) -> tuple[Counts, dict[int, list[Position]], list[int]]:
    """Apply parts one after the other. Returns the windows, the positions, and the largest update of each part."""
    positions = {partition: [Position()] * shards for part in parts for partition in part}
    counts: Counts = {}
    largest = []
    for part in parts:
        updates = shard_updates(
            positions,
            {
                partition: reduce_entries(one.entries, positions=positions[partition], end=one.end, sizes=SIZES)
                for partition, one in part.items()
            },
        )
        for shard, update in updates.items():
            for key, delta in update.windows.items():
                counts.setdefault(key, Counter()).update(delta.fields)
            for partition, change in update.positions.items():
                assert change.expected == positions[partition][shard]
                positions[partition] = [
                    change.new if at == shard else old for at, old in enumerate(positions[partition])
                ]
        largest.append(max(map(changes, updates.values()), default=0))
    return counts, positions, largest


@given(st.lists(logs(), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 3), st.integers(1, 500))
def test_the_parts_count_what_the_whole_counts(
    by_partition: list[list[Entry]], shards: int, behind: int, max_changes: int
) -> None:
    entries = dict(enumerate(by_partition))
    ends = {partition: (of[-1].offset + 1 if of else 0) + behind for partition, of in entries.items()}
    parts = divide(entries, ends, sizes=SIZES, shards=shards, max_changes=max_changes)
    whole = divide(entries, ends, sizes=SIZES, shards=shards, max_changes=10**9)
    assert len(whole) == 1
    counts, positions, largest = count(parts, shards)
    assert (counts, positions) == count(whole, shards)[:2]
    assert {partition: [one.offset for one in of] for partition, of in positions.items()} == {
        partition: [end] * shards for partition, end in ends.items()
    }
    for part, size in zip(parts, largest, strict=True):
        assert size <= max_changes or sum(len(one.entries) for one in part.values()) == 1


def test_posts_that_change_the_same_windows_stay_together() -> None:
    """The number of posts does not matter: thousands of them may change the same few windows."""
    entries = [Entry(offset, for_counting(classified(offset, keywords=["tea"]))) for offset in range(5_000)]
    assert len(divide({0: entries}, {0: 5_000}, sizes=SIZES, shards=4)) == 1


def test_posts_that_change_many_windows_are_divided() -> None:
    entries = [
        Entry(offset, for_counting(classified(offset, keywords=[f"{offset} {word}" for word in range(64)])))
        for offset in range(100)
    ]
    parts = divide({0: entries}, {0: 100}, sizes=SIZES, shards=4)
    assert 10 < len(parts) < 50
    assert sum(len(part[0].entries) for part in parts) == 100


def test_a_source_of_its_own_for_each_post_is_a_change_too() -> None:
    """All posts change the same windows, but each one increments a field that no other increments."""
    entries = [Entry(offset, for_counting(classified(offset, source=f"source {offset}"))) for offset in range(10_000)]
    assert len(divide({0: entries}, {0: 10_000}, sizes=SIZES, shards=4)) > 1


def test_a_window_counts_once_however_many_of_its_minutes_have_posts() -> None:
    entries = [
        Entry(offset, for_counting(classified(offset, at=NOON_MS + 60_000 * offset, keywords=["tea"])))
        for offset in range(300)
    ]
    (changes_of_all,) = count(divide({0: entries}, {0: 300}, sizes=SIZES, shards=1, max_changes=10**9), 1)[2]
    limit = changes_of_all * 5 // 4  # the names of keywords count a little, too
    assert len(divide({0: entries}, {0: 300}, sizes=SIZES, shards=1, max_changes=limit)) == 1
