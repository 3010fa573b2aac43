"""`reduce_entries` counts each distinct post once, whatever was delivered twice and wherever batches end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.records import ClassifiedPost, Sentiment
from streams.window_sizes import WindowSize
from streams.windows.deltas import Entry, Position, ShardDeltas, reduce_entries
from streams.windows.tumbling import WindowKey
from streams.windows.update import ShardUpdate
from tests.helpers import NOON_MS, classified, for_counting

SIZES = (WindowSize(60, 400), WindowSize(150, 300), WindowSize(300, 900))
Tables = dict[WindowKey, tuple[Counter[str], int, int]]


@dataclass
class Log:
    """One partition of the classified topic. Offsets may be missing, and posts may be repeated."""

    entries: list[Entry]
    end: int


@st.composite
def logs(draw: st.DrawFn, max_posts: int = 25) -> Log:
    """Origins appear in rising order, except for repetitions. Some are missing, because they are dead letters.

    A repetition may differ from the first record, because a newer model may have classified it.
    """
    times = draw(st.lists(st.integers(0, 1_200_000), max_size=max_posts))
    words = st.lists(st.sampled_from(["coffee", "tea", "a|b", "{0}"]), unique=True, max_size=3)
    fresh, origin = [], 0
    for time in times:
        origin += draw(st.integers(1, 3))
        fresh.append(
            classified(
                origin,
                at=NOON_MS + time,
                keywords=draw(words),
                label=draw(st.sampled_from(["joy", "anger", None])),
                lang=draw(st.sampled_from(["en", "de", "ceb", None])),
                confidence=draw(st.floats(0, 1)),
                sentiment=draw(st.none() | st.builds(Sentiment, label=st.just("positive"), score=st.floats(-1, 1))),
            )
        )
    posts: list[ClassifiedPost] = []
    for number, post in enumerate(fresh):
        posts.append(post)
        # A zombie, or a stage that starts again, delivers some of the posts again.
        if draw(st.integers(0, 3)) == 0:
            start = draw(st.integers(0, number))
            again = fresh[start : draw(st.integers(start, number)) + 1]
            posts += [replace(old, label="fear", confidence=0.5) for old in again]
    offset, entries = draw(st.integers(0, 5)), []
    for post in posts:
        entries.append(Entry(offset, for_counting(post)))
        offset += draw(st.sampled_from([1, 1, 1, 2, 5]))
    return Log(entries, offset)


def count_distinct(log: Log) -> tuple[Tables, Counter[int]]:
    """The expected result: every distinct origin counts once, in each window for which it is not too late."""
    seen: set[int] = set()
    tables: Tables = {}
    late: Counter[int] = Counter()
    time = -1
    for _, post, _ in log.entries:
        if post.origin.offset in seen:
            continue
        seen.add(post.origin.offset)
        at = post.event_ms
        for size, kept in SIZES:
            start = at // (size * 1_000) * size * 1_000
            if time - (start + size * 1_000) >= kept * 1_000:
                late[size] += 1
                continue
            for word in {"*", *post.keywords}:
                fields, first, last = tables.get(WindowKey(word, size, start), (Counter(), at, at))
                fields.update({"n": 1, f"s:{post.source}": 1})
                if post.lang is not None:
                    fields[f"g:{post.lang}"] += 1
                if post.label is None:
                    fields["u"] += 1
                else:
                    fields.update({f"l:{post.label}": 1, f"m:{post.version}": 1})
                    fields[f"c:{post.label}"] += post.confidence
                if post.sentiment is not None:
                    fields["t:positive"] += 1
                    fields["ts"] += post.score
                tables[WindowKey(word, size, start)] = fields, min(first, at), max(last, at)
        time = max(time, at)
    return tables, late


def reduce_one(log: Log, position: Position, end: int, shard: int, shards: int, *, start: int = 0) -> ShardDeltas:
    entries = [entry for entry in log.entries if start <= entry.offset < end]
    return reduce_entries(entries, positions=[position] * shards, end=end, sizes=SIZES)[shard]


def add(tables: Tables, deltas: ShardDeltas) -> None:
    """Adds deltas as `apply.lua` does."""
    for key, delta in deltas.windows.items():
        fields, first, last = tables.get(key, (Counter(), delta.first, delta.last))
        fields.update(delta.fields)
        tables[key] = fields, min(first, delta.first), max(last, delta.last)


def plain(tables: Tables) -> dict[WindowKey, tuple[dict[str, int], int, int]]:
    # For a Counter, a missing field is 0; for Redis it is not.
    return {key: (dict(fields), first, last) for key, (fields, first, last) in tables.items()}


@given(logs(), st.integers(1, 5))
def test_the_shards_together_count_every_distinct_post_once(log: Log, shards: int) -> None:
    expected, late = count_distinct(log)
    shard_deltas = [reduce_one(log, Position(), log.end, shard, shards) for shard in range(shards)]
    names = [key for deltas in shard_deltas for key in deltas.windows]
    assert len(names) == len(set(names)), "two shards hold the same window"
    found: Tables = {}
    for deltas in shard_deltas:
        add(found, deltas)
    assert plain(found) == plain(expected)
    assert Counter(post.window.size for deltas in shard_deltas for post in deltas.too_late) == late
    distinct = {entry.post.origin.offset for entry in log.entries}
    for deltas in shard_deltas:
        assert deltas.counted == len(distinct)
        assert deltas.repeated == len(log.entries) - len(distinct)
        assert deltas.position.offset == log.end
        assert deltas.position.fence == max(distinct, default=-1)
        assert deltas.position.latest_event_ms == max((post.event_ms for _, post, _ in log.entries), default=-1)


@given(logs(), st.integers(1, 3), st.data())
def test_batches_of_any_size_add_up_to_one(log: Log, shards: int, data: st.DataObject) -> None:
    bounds = sorted({0, log.end, *data.draw(st.lists(st.integers(0, log.end), max_size=6))})
    found: Tables = {}
    late: Counter[int] = Counter()
    positions = [Position()] * shards
    counted = repeated = 0
    for start, end in pairwise(bounds):
        # A batch may begin below a shard's position. The shard skips what it has.
        overlap = data.draw(st.integers(0, start))
        for shard in range(shards):
            deltas = reduce_one(log, positions[shard], end, shard, shards, start=start - overlap)
            add(found, deltas)
            late.update(post.window.size for post in deltas.too_late)
            positions[shard] = deltas.position
            counted += deltas.counted
            repeated += deltas.repeated
    distinct = len({entry.post.origin.offset for entry in log.entries})
    assert (counted, repeated) == (distinct * shards, (len(log.entries) - distinct) * shards)
    expected, expected_late = count_distinct(log)
    assert plain(found) == plain(expected)
    assert late == expected_late


@given(logs(), st.integers(2, 4), st.data())
def test_shards_with_different_positions_after_a_crash_reach_the_same_result(
    log: Log, shards: int, data: st.DataObject
) -> None:
    offsets = [data.draw(st.integers(0, log.end)) for _ in range(shards)]
    found: Tables = {}
    positions = []
    for shard, offset in enumerate(offsets):
        first = reduce_one(log, Position(), offset, shard, shards)
        add(found, first)
        positions.append(first.position)
    lowest = min(position.offset for position in positions)
    for shard in range(shards):
        add(found, reduce_one(log, positions[shard], log.end, shard, shards, start=lowest))
    assert plain(found) == plain(count_distinct(log)[0])


@given(st.lists(logs(max_posts=8), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_partitions_may_be_applied_in_any_order(parts: list[Log], random: object) -> None:
    shard_deltas = [reduce_one(log, Position(), log.end, 0, 1) for log in parts]
    forwards: Tables = {}
    for deltas in shard_deltas:
        add(forwards, deltas)
    random.shuffle(shard_deltas)  # type: ignore[attr-defined]
    shuffled: Tables = {}
    for deltas in shard_deltas:
        add(shuffled, deltas)
    assert plain(forwards) == plain(shuffled)
    assert all(isinstance(amount, int) for fields, _, _ in forwards.values() for amount in fields.values())


@given(st.lists(logs(max_posts=8), min_size=1, max_size=4))
def test_the_update_of_a_shard_is_the_sum_of_its_partitions(parts: list[Log]) -> None:
    shard_deltas = [reduce_one(log, Position(), log.end, 0, 1) for log in parts]
    before = [dict(deltas.windows) for deltas in shard_deltas]
    added: Tables = {}
    for deltas in shard_deltas:
        add(added, deltas)
    update = ShardUpdate.of({number: (Position(), deltas) for number, deltas in enumerate(shard_deltas)})
    assert {key: tuple(delta) for key, delta in update.windows.items()} == plain(added)
    assert [deltas.windows for deltas in shard_deltas] == before, "a delta was changed"
    assert {number: change.new for number, change in update.positions.items()} == {
        number: deltas.position for number, deltas in enumerate(shard_deltas)
    }
    assert update.too_late == Counter(post.window.size for deltas in shard_deltas for post in deltas.too_late)


def test_windows_with_the_same_posts_share_a_delta() -> None:
    ats = (NOON_MS, NOON_MS + 59_999, NOON_MS + 60_000)
    log = Log([Entry(offset, for_counting(classified(offset, at=at))) for offset, at in enumerate(ats)], len(ats))
    sizes = tuple(WindowSize(seconds, 86_400) for seconds in (60, 300, 3_600))
    deltas = reduce_entries(log.entries, positions=[Position()], end=log.end, sizes=sizes)[0]
    windows = ShardUpdate.of({partition: (Position(), deltas) for partition in range(3)}).windows
    counts = {(key.size, key.start - NOON_MS): delta.fields["n"] for key, delta in windows.items()}
    assert counts == {(60, 0): 6, (60, 60_000): 3, (300, 0): 9, (3_600, 0): 9}
    deltas = {id(delta) for delta in windows.values()}
    assert len(deltas) == 3


def test_a_post_too_late_for_one_size_still_counts_in_the_other() -> None:
    # size 60, kept 400 s     [0, 60) ends 400 s before the latest event: too late
    # size 150, kept 300 s    [0, 150) ends 310 s before it: too late
    # size 300, kept 900 s    [0, 300) ends 160 s before it: in time
    log = Log(
        [
            Entry(0, for_counting(classified(0, at=460_000))),
            Entry(1, for_counting(classified(1, at=59_999, keywords=["tea"]))),
        ],
        2,
    )
    deltas = reduce_one(log, Position(), 2, 0, 1)
    assert [(late.post.origin.offset, late.window, late.latest_event_ms) for late in deltas.too_late] == [
        (1, WindowKey("*", 60, 0), 460_000),
        (1, WindowKey("*", 150, 0), 460_000),
    ]
    assert {WindowKey("tea", 60, 0), WindowKey("tea", 150, 0)}.isdisjoint(deltas.windows)
    assert deltas.windows[WindowKey("tea", 300, 0)].fields["n"] == 1
    assert deltas.counted == 2


def test_a_post_one_millisecond_earlier_is_in_time() -> None:
    log = Log([Entry(0, for_counting(classified(0, at=449_999))), Entry(1, for_counting(classified(1, at=59_999)))], 2)
    assert reduce_one(log, Position(), 2, 0, 1).too_late == []


def test_a_post_with_several_keywords_counts_once_among_all_posts() -> None:
    log = Log([Entry(0, for_counting(classified(0, at=0, keywords=["a", "b"])))], 1)
    deltas = reduce_one(log, Position(), 1, 0, 1)
    counts = {key.keyword: delta.fields["n"] for key, delta in deltas.windows.items() if key.size == 60}
    assert counts == {"*": 1, "a": 1, "b": 1}
