"""The fingerprints by which the audit compares windows, and the choice of the windows that it names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ops.audit import counted as counted_module
from streams.ops.audit import differences as differences_module
from streams.ops.audit.batches import WindowBatch, add_batch, weights_of
from streams.ops.audit.counted import ClassifiedRecord, CountedWindows
from streams.ops.audit.differences import Difference, Differences, Kind, Store, Windows, ranges_to_name
from streams.ops.audit.fingerprints import (
    DAY_MS,
    NO_SENTIMENT,
    Key,
    Layout,
    Range,
    Sums,
    factor,
    field_sums,
    hash_of,
    jsonb_text,
    published_sum,
    weight_of,
)
from streams.ops.audit.redis_batch import RedisBatches
from streams.sink.rows import WINDOW_COLUMNS, label_rows, sentiment_rows, window_row
from streams.window_sizes import parse_sizes
from streams.windows.codec import UNIT, to_window
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS, classified, for_counting, make_settings

SETTINGS = make_settings()
LAYOUT = Layout.of(tuple(SETTINGS.window_sizes), {})


def records(count: int, words: int = 3) -> list[ClassifiedRecord]:
    posts = [
        classified(
            i,
            at=NOON_MS + i * 700,
            keywords=[f"word {(i * words + word) % 700}" for word in range(words)],
            label=("joy", "fear")[i % 2],
        )
        for i in range(count)
    ]
    return [ClassifiedRecord(i, post.id.encode(), NOON_MS, for_counting(post)) for i, post in enumerate(posts)]


def count(found: list[ClassifiedRecord], since_ms: int = 0) -> dict[Key, Sums]:
    windows = CountedWindows(SETTINGS, LAYOUT, since_ms)
    for record in found:
        windows.add(0, record)
    windows.flush()
    return windows.groups


def fingerprints(groups: dict[Key, Sums]) -> dict[Key, tuple[int, int, int, int]]:
    return {key: (sums.posts, sums.of_all, sums.counts, sums.sums) for key, sums in groups.items()}


def test_posts_that_are_counted_in_parts_have_the_fingerprint_of_their_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    posts = records(500)
    entries = [Entry(record.offset, record.post) for record in posts]
    (deltas,) = reduce_entries(entries, positions=[Position()], end=500, sizes=SETTINGS.window_sizes)
    wanted: dict[Key, Sums] = {}
    for window, delta in deltas.windows.items():
        number, weight = delta.fields["n"], weight_of(window)
        counts, sums = field_sums(delta.fields)
        of_all = number if window.keyword == "*" else 0
        group = Range(window.size, window.start, weight % LAYOUT.buckets[window.size])
        wanted.setdefault(group, Sums()).add(Sums(1, number, of_all, weight * counts, weight * sums))
    for chunk in (1, 50, 20_000):
        monkeypatch.setattr(counted_module, "_CHUNK", chunk)
        assert fingerprints(count(posts)) == fingerprints(wanted)


def test_another_label_keyword_or_minute_gives_another_fingerprint() -> None:
    posts = records(100)
    post = posts[17].post
    for changed in (
        post._replace(label="anger"),
        post._replace(keywords=("word 1", *post.keywords[1:])),
        post._replace(event_ms=post.event_ms + 60_000),
        post._replace(confidence=post.confidence + 1),
        post._replace(source="another"),
    ):
        others = [*posts[:17], posts[17]._replace(post=changed), *posts[18:]]
        assert fingerprints(count(others)) != fingerprints(count(posts))


def test_windows_of_which_kafka_no_longer_holds_all_posts_are_left_out() -> None:
    posts = records(500)
    assert {key.start for key in count(posts, since_ms=NOON_MS + 60_000)} == {
        key.start for key in count(posts) if key.start >= NOON_MS + 60_000
    }


@pytest.mark.parametrize("sizes", ["1m:2d,5m:7d,1h:30d,1d:400d", "1m:60d", "1s:365d", "1d:1d"])
def test_the_number_of_ranges_does_not_depend_on_the_number_of_windows(sizes: str) -> None:
    layout = Layout.of(tuple(parse_sizes(sizes)), {})
    for size in parse_sizes(sizes):
        starts = 1 + size.kept_s // size.seconds
        assert 1 <= layout.buckets[size.seconds] <= 64
        assert starts * layout.buckets[size.seconds] <= max(starts, 16_384)
        groups = grouped([WindowKey(f"word {i}", size.seconds, NOON_MS) for i in range(1_000)], layout)
        assert len(groups) == layout.buckets[size.seconds]


def grouped(windows: list[WindowKey], layout: Layout, wanted: set[Range] | None = None) -> dict[Key, Sums]:
    """Returns the groups of some windows of one size with one post each."""
    ones = np.ones(len(windows), np.uint64)
    batch = WindowBatch(
        windows[0].size,
        [window.keyword for window in windows],
        np.array([window.start for window in windows]),
        weights_of(window.member() for window in windows),
        ones.astype(np.int64),
        *(ones, ones, ones),
    )
    groups: dict[Key, Sums] = {}
    add_batch(groups, batch, layout, wanted)
    return groups


def test_windows_that_have_left_redis_are_a_range_for_each_day() -> None:
    layout = Layout({60: NOON_MS}, {60: 1})
    last_gone, first_kept = WindowKey("*", 60, NOON_MS - 60_000), WindowKey("*", 60, NOON_MS)
    assert list(grouped([last_gone, first_kept], layout)) == [
        Range(60, NOON_MS - NOON_MS % DAY_MS, 0),
        Range(60, NOON_MS, 0),
    ]
    assert grouped([WindowKey("*", 120, NOON_MS)], layout) == {}, "a size that the settings do not have"


def test_the_windows_of_the_wanted_ranges_are_groups_of_their_own() -> None:
    keys = [WindowKey(word, 60, NOON_MS) for word in ("*", "tea", "coffee", "milk")]
    layout = Layout({60: -1}, {60: 64})
    wanted = {Range(60, NOON_MS, weight_of(key) % 64) for key in keys[:2]}
    weights = [weight_of(key) for key in keys]
    assert grouped(keys, layout, wanted) == {
        key: Sums(1, 1, int(key.keyword == "*"), weight, weight, weight)
        for key, weight in zip(keys[:2], weights[:2], strict=True)
    }


def test_a_jsonb_has_short_names_first() -> None:
    assert jsonb_text({"bb": 1, "a": 2, "é": 3, 'q"': 4, "\n": 5}) == '{"\\n": 5, "a": 2, "bb": 1, "q\\"": 4, "é": 3}'


@given(
    st.dictionaries(st.sampled_from(["joy", "anger", "fear"]), st.tuples(st.integers(1, 500), st.integers(0, 10**6))),
    st.dictionaries(st.sampled_from(["negative", "positive"]), st.integers(1, 500)),
    st.integers(-(10**6), 10**6),
    st.dictionaries(st.text(max_size=3), st.integers(1, 9), max_size=130),
    st.dictionaries(st.from_regex(r"[a-z]{2}", fullmatch=True), st.integers(1, 9), max_size=40),
    st.integers(0, 3),
)
def test_the_published_values_are_those_of_the_rows_that_the_sink_writes(
    labels: dict[str, tuple[int, int]],
    sentiments: dict[str, int],
    score: int,
    sources: dict[str, int],
    languages: dict[str, int],
    unsupported: int,
) -> None:
    key, count = WindowKey("coffee", 300, NOON_MS), sum(posts for posts, _ in labels.values())
    row = {
        "n": count + unsupported,
        "u": unsupported,
        "first": NOON_MS + 5,
        "last": NOON_MS + 90,
        "rev": 1,
        "late": 2,
        "m:1.0.0": count,
    }
    for label, (posts, confidence) in labels.items():
        row |= {f"l:{label}": posts, f"c:{label}": posts * confidence}
    row |= {f"t:{label}": posts for label, posts in sentiments.items()}
    row |= {"ts": score * sum(sentiments.values())} if sentiments else {}
    row |= {f"s:{source}": posts for source, posts in sources.items()}
    row |= {f"g:{code}": posts for code, posts in languages.items()}
    fields = {name: str(value) for name, value in row.items()}

    window = to_window(key, fields)
    values: dict[str, float] = {"end": 300_000, "first": 5, "last": 90, "late": 2}
    mean = window_row(window)[list(WINDOW_COLUMNS).index("mean_sentiment")]
    values["mean_sentiment"] = NO_SENTIMENT if mean is None else round(float(str(mean)) * UNIT)
    values["names"] = hash_of("".join(map(jsonb_text, (window.models, window.sources, window.languages))))
    for *_, label, _, percent, confidence in label_rows(window):
        values[f"label percent:{label}"] = round(float(str(percent)) * UNIT)
        values[f"label confidence:{label}"] = round(float(str(confidence)) * UNIT)
    for *_, label, _, percent in sentiment_rows(window):
        values[f"sentiment percent:{label}"] = round(float(str(percent)) * UNIT)
    assert published_sum(key, row) == sum(factor(name) * int(value) for name, value in values.items())


def hashes(count: st.SearchStrategy[int], total: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    """Hashes with these numbers of posts, and with these sums."""
    return st.fixed_dictionaries(
        {"n": count, "rev": st.integers(1, 10**13)},
        optional={
            "u": count,
            "ts": total,
            "late": count,
            "final": st.just(1),
            "first": st.integers(NOON_MS, NOON_MS + 300_000),
            "last": st.integers(NOON_MS, NOON_MS + 300_000),
            **{f"{kind}:{label}": count for kind in "lt" for label in ("joy", "fear", "")},
            **{f"c:{label}": total for label in ("joy", "fear", "love")},
            **{f"{kind}:{name}": st.integers(1, 3) for kind in "msg" for name in ("1", "é:", "")},
        },
    )


HASH = hashes(st.integers(0, 5), st.integers(-(10**7), 10**7))
LARGE = hashes(st.integers(-(2**33), 2**33), st.integers(-(10**15), 10**15))
"""Some of these numbers are beyond the bounds within which arrays of 64 bits are exact."""


@given(st.lists(HASH, min_size=1, max_size=4) | st.lists(HASH | LARGE, min_size=1, max_size=4))
def test_the_fingerprints_of_a_page_are_those_of_its_windows(rows: list[dict[str, int]]) -> None:
    keys = [WindowKey("*" if i == 1 else f"wo|rd {i}", 300, NOON_MS + 300_000 * i) for i in range(len(rows))]
    page = [(key.member(), row) for key, row in zip(keys, rows, strict=True)]
    batches = RedisBatches()
    batches.batch(300, page[:1])  # the table of fields grows
    batch = batches.batch(300, page)
    with_posts = [(key, row) for key, row in zip(keys, rows, strict=True) if row["n"]]
    assert list(batch.keywords) == [key.keyword for key, _ in with_posts]
    wanted = []
    for key, row in with_posts:
        totals = [total % 2**64 for total in (*field_sums(row), published_sum(key, row))]
        wanted.append((key.start, weight_of(key), row["n"], *totals))
    assert list(zip(*(array.tolist() for array in batch[2:]), strict=True)) == wanted


def test_a_window_with_impossible_numbers_has_a_fingerprint_too() -> None:
    row = {"n": 3, "l:joy": 0, "t:positive": 0, "first": 0, "last": -5, "rev": 1}
    assert published_sum(WindowKey("coffee", 300, NOON_MS), row) != 0


def windows(redis: dict[Key, Sums]) -> Windows:
    return Windows(LAYOUT, 0, 0, dict.fromkeys(LAYOUT.buckets, -1), {}, redis, {})


def test_few_windows_are_named_first_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small, middle = (Range(60, NOON_MS + at * 60_000, 0) for at in range(3))
    found = windows(
        {
            large: Sums(windows=900, posts=900, counts=1),
            small: Sums(windows=2, posts=2, counts=1),
            middle: Sums(windows=98, posts=98, counts=1),
        }
    )
    assert found.differing(Store.REDIS) == [large, small, middle]
    assert ranges_to_name(found) == ([small, middle, large], True)
    monkeypatch.setattr(differences_module, "MOST_WINDOWS", 100)
    assert ranges_to_name(found) == ([small, middle], False)
    monkeypatch.setattr(differences_module, "MOST_WINDOWS", 1)
    assert ranges_to_name(found) == ([small], False)


def test_a_note_names_the_first_windows_of_each_kind() -> None:
    def difference(kind: Kind, keyword: str, **posts: Any) -> Difference:
        return Difference(kind, WindowKey(keyword, 60, NOON_MS), posts.get("found", 0), posts.get("wanted", 3))

    found = [
        difference(Kind.CHANGED, "coffee", found=1),
        difference(Kind.CHANGED, "tea", found=3),
        *(difference(Kind.MISSING, f"word {i}") for i in range(5)),
    ]
    at = "2026-03-01T12:00:00.000Z"
    missing = f"5 missing: word 0 {at}, word 1 {at}, word 2 {at}, …"
    changed = f"2 changed: coffee {at} (1 post, not 3), tea {at}"
    assert str(Differences(found)) == f"{missing}; {changed}"
    assert str(Differences(found, complete=False)) == f"{missing}; {changed}; more windows differ"
    assert str(Differences(complete=False)) == "windows differ"
    assert Differences().none
    assert not Differences(complete=False).none
