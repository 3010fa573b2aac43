"""What this worker has classified and will soon count. Pure.

A worker mostly counts what it has classified itself: its groups are given the same partitions of both topics. To read
such a record again, which comes back from Kafka byte by byte as it was written, would cost more than all else that
counting it does. So what the windows need of it is kept for a while; a record that is not here is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from streams.windows.counted import CountedPost

LIMIT = 16_384
"""Posts that are kept: some seconds' work, and 25 MB with their records."""


class OwnResult(NamedTuple):
    """A classified post: its record's key and value, and what the windows need of it."""

    key: bytes
    value: bytes
    post: CountedPost


class OwnResults:
    """The latest ones, each until it is taken. Thread-safe."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Keep up to `limit` of them, above which the oldest go."""
        self._limit = limit
        self._lock = threading.Lock()
        self._by_key: dict[bytes, OwnResult] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, results: Iterable[OwnResult]) -> None:
        """Keep results; one with the key of another takes its place."""
        with self._lock:
            for result in results:
                self._by_key[result.key] = result
            for key in list(self._by_key)[: max(0, len(self._by_key) - self._limit)]:
                del self._by_key[key]

    def take(self, key: bytes | None, value: bytes) -> CountedPost | None:
        """What the windows need of a record; None unless it is one of these, to the byte."""
        if key is None:
            return None
        with self._lock:
            found = self._by_key.pop(key, None)
        return found.post if found is not None and found.value == value else None
