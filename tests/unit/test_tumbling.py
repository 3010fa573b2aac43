from __future__ import annotations

import pytest

from streams.windows.tumbling import WindowKey, is_too_late, shard_of, watermark, window_start
from tests.helpers import NOON_MS


@pytest.mark.parametrize(
    ("event_ms", "size", "start"),
    [
        # size 60     |-- 12:00 --|-- 12:01 --|
        # 12:00:59.999          ^ |
        # 12:01:00.000            |^
        (NOON_MS, 60, NOON_MS),
        (NOON_MS + 59_999, 60, NOON_MS),
        (NOON_MS + 60_000, 60, NOON_MS + 60_000),
        (NOON_MS + 999, 1, NOON_MS),
        (NOON_MS + 1_000, 1, NOON_MS + 1_000),
        (0, 3_600, 0),
        (3_599_999, 3_600, 0),
        # Windows of a week start on Thursdays, as 1970-01-01 was one. 2026-03-01 is a Sunday.
        (NOON_MS, 7 * 86_400, NOON_MS - (3 * 24 + 12) * 3_600_000),
    ],
)
def test_window_start(event_ms: int, size: int, start: int) -> None:
    assert window_start(event_ms, size) == start


def test_a_windows_name_in_redis() -> None:
    # Redis holds these names: with another form, existing windows would not be found.
    key = WindowKey("a|b", 60, NOON_MS)
    assert key.member() == f"60|{NOON_MS}|a|b"
    assert key.end == NOON_MS + 60_000


@pytest.mark.parametrize(
    ("keyword", "shard_of_4", "shard_of_7", "shard_of_1024"),
    [
        # CRC-32 as in zlib, gzip and PNG. With another one, a keyword would have windows in two shards.
        ("*", 3, 6, 603),
        ("coffee", 3, 6, 435),
        ("brasília", 0, 5, 1000),
        ("日本", 0, 0, 460),
        ("", 0, 0, 0),
    ],
)
def test_shards_are_stable(keyword: str, shard_of_4: int, shard_of_7: int, shard_of_1024: int) -> None:
    assert [shard_of(keyword, n) for n in (1, 4, 7, 1024)] == [0, shard_of_4, shard_of_7, shard_of_1024]


def test_shards_follow_the_standard_check_value_of_crc_32() -> None:
    assert shard_of("123456789", 2**32) == 0xCBF43926


@pytest.mark.parametrize(("time", "late"), [(1_059_999, False), (1_060_000, True), (1_060_001, True), (-1, False)])
def test_a_post_is_too_late_once_its_window_has_left_the_retention(time: int, late: bool) -> None:
    assert is_too_late(60_000, time, 1_000_000) is late


TIMES = {0: 100_000, 1: 60_000, 2: 90_000}


@pytest.mark.parametrize(
    ("times", "live", "expected"),
    [
        ({}, [], None),
        ({}, [0, 1], None),
        (TIMES, [0, 1, 2], 50_000),
        (TIMES, [0, 2], 80_000),  # the slowest is idle
        (TIMES, [1], 50_000),
        (TIMES, [], 90_000),  # all are idle, so the latest decides
        (TIMES, [3], 90_000),  # a live partition without a post holds nothing back
        (TIMES, [3, 2], 80_000),
        ({5: 4_000}, [5], -6_000),
    ],
)
def test_watermark(times: dict[int, int], live: list[int], expected: int | None) -> None:
    assert watermark(times, live, 10_000) == expected


def test_without_allowed_lateness_the_watermark_is_the_slowest_event_time() -> None:
    assert watermark(TIMES, TIMES, 0) == 60_000
