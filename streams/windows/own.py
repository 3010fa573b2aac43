"""What this worker has classified and will soon count. Pure.

A worker mostly counts what it has classified itself: its groups are given the same partitions of both topics. To read
such a record again, which comes back from Kafka byte by byte as it was written, would cost more than all else that
counting it does. So what the windows need of it is kept for a while; a record that is not here is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from streams.windows.counted import CountedPost

LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Some seconds' work. While Redis is away nothing is taken, and this is what it comes to."""

_OBJECTS_BYTES: Final = 1_024
"""Of a result, beside its record: about what Python's objects take."""


class OwnResult(NamedTuple):
    """A classified post: its record's key and value, and what the windows need of it."""

    key: bytes
    value: bytes
    post: CountedPost


class OwnResults:
    """The latest ones, each until it is taken. Thread-safe."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        """Keep up to `limit_bytes` of them, above which the oldest go."""
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._by_key: OrderedDict[bytes, OwnResult] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, results: Iterable[OwnResult]) -> None:
        """Keep results; one with the key of another takes its place."""
        with self._lock:
            for result in results:
                self._remove(result.key)
                self._by_key[result.key] = result
                self._bytes += len(result.value) + _OBJECTS_BYTES
            while self._bytes > self._limit:
                self._remove(next(iter(self._by_key)))

    def take(self, key: bytes | None, value: bytes) -> CountedPost | None:
        """What the windows need of a record; None unless it is one of these, to the byte."""
        if key is None:
            return None
        with self._lock:
            found = self._remove(key)
        return found.post if found is not None and found.value == value else None

    def _remove(self, key: bytes) -> OwnResult | None:
        found = self._by_key.pop(key, None)
        if found is not None:
            self._bytes -= len(found.value) + _OBJECTS_BYTES
        return found
