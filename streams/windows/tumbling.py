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
    """Identifies a window: its keyword (`*` for all posts), size in seconds, start in milliseconds."""

    keyword: str
    size: int
    start: int

    @property
    def end(self) -> int:
        """Exclusive end in milliseconds."""
        return self.start + self.size * 1_000

    def member(self) -> str:
        """The window's name in Redis. Inverse of `parse`; the keyword comes last because it may hold any character."""
        return f"{self.size}|{self.start}|{self.keyword}"

    @classmethod
    def parse(cls, member: str) -> WindowKey:
        """The window that `member` names."""
        size, start, keyword = member.split("|", 2)
        return cls(keyword, int(size), int(start))


def window_start(event_ms: int, size: int) -> int:
    """Start in milliseconds of the window of `size` seconds that holds an event."""
    return event_ms - event_ms % (size * 1_000)


def shard_of(keyword: str, shards: int) -> int:
    """The shard that holds a keyword's windows: CRC-32 of its UTF-8 bytes, modulo the number of shards."""
    return zlib.crc32(keyword.encode("utf-8")) % shards


def is_too_late(end_ms: int, latest_event_ms: int, kept_ms: int) -> bool:
    """Whether a window that is kept for `kept_ms` after its end has left the retention, seen from one partition.

    `latest_event_ms` is the latest event time among the posts that came before in the same partition. It depends on
    the partition's records alone, so that a replay decides every post as the first run did.
    """
    return end_ms + kept_ms <= latest_event_ms


def watermark(times: Mapping[int, int], live: Iterable[int], allowed_lateness_ms: int) -> int | None:
    """The event time up to which windows are complete, in milliseconds; None while nothing is known.

    Args:
        times: latest event time of each partition that has shown a post.
        live: partitions that still hold the watermark back; the others are idle. If all are idle, none does, and the
            latest of them counts.
        allowed_lateness_ms: how far the watermark stays behind.
    """
    if not times:
        return None
    holding = [times[partition] for partition in live if partition in times]
    return (min(holding) if holding else max(times.values())) - allowed_lateness_ms
