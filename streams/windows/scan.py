"""Reads all windows of the window tables, a page at a time, and tells which windows the tables should have."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from connectors.errors import RejectedError
from connectors.redis import redis_errors
from streams.windows.reader import WindowReader, script

_PAGE = 250
"""Windows that a script reads. It takes some milliseconds, in which Redis serves no other client."""

_YIELDED = 1_000
"""Windows that are yielded together, at least. The more there are, the less time each of them takes."""

NamedHash = tuple[str, dict[str, int]]
"""The name of a window in its index, and its hash."""

_WINDOWS = msgspec.json.Decoder(list[NamedHash], strict=False)  # the values are integers in strings


@dataclass(frozen=True)
class TableBounds:
    """The bounds between which the tables have every window, in all shards.

    Attributes:
        complete_from: windows that start before this event time, in ms since 1970, may be missing or incomplete.
        expired_to: by size in seconds, windows that end at or before this event time may have been removed.
    """

    complete_from: int
    expired_to: dict[int, int]


class WindowScan(WindowReader):
    """Reads all windows of one generation."""

    _page: Any  # the script that reads a page

    @classmethod
    def of(cls, reader: WindowReader) -> Self:
        """Returns a scan of the reader's tables, over the reader's connection. Only the reader closes it."""
        scan = cls(reader._redis, prefix=reader._prefix, shards=reader.shards, sizes=reader.sizes)
        scan.generation = reader.generation
        scan._page = scan._redis.register_script(script("hashes"))
        return scan

    async def bounds(self) -> TableBounds:
        """Returns the bounds of the tables as they are now."""
        complete_from, expired_to = 0, dict.fromkeys(self.sizes, -1)
        for shard in range(self.shards):
            with redis_errors("reading the window tables"):
                state: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
            complete_from = max(complete_from, int(state.get("complete_from", 0)))
            for size in self.sizes:
                expired_to[size] = max(expired_to[size], int(state.get(f"expired_to:{size}", -1)))
        return TableBounds(complete_from, expired_to)

    async def hashes(self, shard: int, size: int) -> AsyncIterator[list[NamedHash]]:
        """Yields the windows of a size in a shard, some at a time and the latest first.

        A window that exists during the whole scan comes exactly once, if no window is created or removed meanwhile.

        Raises:
            ConnectorError: Redis did not answer or rejected the call, or a window has a field that is no whole number.
        """
        keys = self._index(shard, size), self._window_key(shard, "")
        found: list[NamedHash] = []
        for start in itertools.count(step=_PAGE):
            with redis_errors("reading windows"):
                answer: str = await self._page(keys=keys, args=(start, start + _PAGE - 1))
            try:
                page = _WINDOWS.decode(answer)
            except msgspec.MsgspecError as exc:
                raise RejectedError(f"a window in Redis has a field that is not a whole number ({exc})") from exc
            found += [(name, fields) for name, fields in page if fields]
            if found and (len(found) >= _YIELDED or len(page) < _PAGE):
                yield found
                found = []
            if len(page) < _PAGE:
                return
