"""Window arithmetic. Pure; times are whole milliseconds since 1970, sizes whole seconds.

A tumbling window of `size` seconds starts at a multiple of its size and holds [start, end):

    size 60      |-- 12:00 --|-- 12:01 --|-- 12:02 --|
    12:00:59.999           ^ |
    12:01:00.000             |^
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class WindowKey(NamedTuple):
    """Identifies a window: its keyword (`*` for all posts), its size in seconds, its start in milliseconds."""

    keyword: str
    size: int
    start: int

    @property
    def end(self) -> int:
        """Exclusive end in milliseconds."""
        return self.start + self.size * 1_000

    def member(self) -> str:
        """Returns the window's name in Redis. The keyword comes last, because it may hold any character."""
        return f"{self.size}|{self.start}|{self.keyword}"

    @classmethod
    def parse(cls, member: str) -> WindowKey:
        """Returns the window of a name; the inverse of `member`."""
        size, start, keyword = member.split("|", 2)
        return cls(keyword, int(size), int(start))


def window_start(event_ms: int, size: int) -> int:
    """Returns the start, in milliseconds, of the window of `size` seconds that holds an event."""
    return event_ms - event_ms % (size * 1_000)


def shard_of(keyword: str, shards: int) -> int:
    """Returns the shard that holds a keyword's windows: CRC-32 of its UTF-8 bytes, modulo the number of shards."""
    return zlib.crc32(keyword.encode("utf-8")) % shards


def is_too_late(end_ms: int, latest_event_ms: int, kept_ms: int) -> bool:
    """Returns whether a post is too late for a window, which is kept for `kept_ms` after its end.

    `latest_event_ms` is the latest event time among the earlier posts of the same partition. It depends only on the
    records of the partition, so that a replay decides every post as the first run did.
    """
    return end_ms + kept_ms <= latest_event_ms


def watermark(times: Mapping[int, int], live: Iterable[int], allowed_lateness_ms: int) -> int | None:
    """Returns the event time, in milliseconds, up to which windows are taken to be complete; None if there is no post.

    Args:
        times: the latest event time of each partition that has had a post.
        live: the partitions that are not idle. The slowest of them holds the watermark back. If all are idle, the
            latest event time of all partitions counts.
        allowed_lateness_ms: how far the watermark stays behind, in milliseconds.
    """
    if not times:
        return None
    holding = [times[partition] for partition in live if partition in times]
    return (min(holding) if holding else max(times.values())) - allowed_lateness_ms
