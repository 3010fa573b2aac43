"""Which posts are of sources, and how long their ids and those of others are remembered."""

from __future__ import annotations

import pytest

from streams.ingest.sources.kinds import KINDS
from streams.ingest.sources.posts import post_id
from streams.records import SOURCE_KINDS, is_from_source
from streams.windows.recent import MOST_SOURCE_IDS, Horizons
from tests.helpers import make_settings


def test_every_kind_of_source_is_known() -> None:
    assert KINDS.keys() <= SOURCE_KINDS


@pytest.mark.parametrize("kind", sorted(SOURCE_KINDS))
def test_ids_of_sources_are_recognised(kind: str) -> None:
    for network_id in ("at://did:plc:1/app.bsky.feed.post/2", "m.example/7", "", "x" * 10_000):
        assert is_from_source(post_id(kind, network_id).encode())


@pytest.mark.parametrize(
    "key", [None, b"", b"1", b":rss", b"rss", b"RSS:1", b" rss:1", b"rss2:1", b"6f1a-12", b"bench-7", b"\xff:1"]
)
def test_other_ids_are_not(key: bytes | None) -> None:
    assert not is_from_source(key)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Horizons(900_000, 0, MOST_SOURCE_IDS // 4)),
        ({"partitions": 100}, Horizons(900_000, 0, MOST_SOURCE_IDS // 100)),
        ({"deduplication_s": 60}, Horizons(900_000, 60_000, None)),
        ({"deduplication_s": 3_600}, Horizons(3_600_000, 3_600_000, None)),
        ({"source_deduplication_s": 0, "deduplication_s": 0.5}, Horizons(500, 500, None)),
        ({"source_deduplication_s": 0}, Horizons(0, 0, MOST_SOURCE_IDS // 4)),
    ],
)
def test_horizons(settings: dict[str, float], expected: Horizons) -> None:
    assert Horizons.of(make_settings(**settings)) == expected


def test_nothing_is_remembered_if_both_are_off() -> None:
    assert Horizons(0, 0, None).begin(7) is None
    begun = Horizons(1, 0, None).begin(7)
    assert begun is not None
    assert (begun.offset, len(begun)) == (7, 0)


def test_ids_that_are_forgotten_early_are_counted() -> None:
    recent = Horizons(1_000, 1_000, 2).begin()
    assert recent is not None
    for offset in range(5):
        assert not recent.add(offset, b"rss:%d" % offset, 1)
        assert not recent.add(offset, b"%d" % offset, 1)
    assert (recent.forgotten, len(recent)) == (3, 7)
    assert not recent.add(10, b"rss:0", 1)
    assert recent.add(11, b"rss:4", 1)
    assert recent.add(12, b"0", 1)
