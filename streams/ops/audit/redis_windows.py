"""Reads the fingerprints of the windows in Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from streams.ops.audit.batches import add_batch
from streams.ops.audit.fingerprints import Key, Layout, Range, Sums
from streams.ops.audit.redis_batch import RedisBatches
from streams.windows.scan import TableBounds, WindowScan
from streams.windows.store import WindowStore

_READERS = 2
"""Readers, each of some shards. While one computes, Redis works for another."""


@dataclass
class StoredWindows:
    """The windows that a store has.

    Attributes:
        groups: the fingerprints of the windows, by group.
        posts: posts in the windows of all posts, by size in seconds.
    """

    groups: dict[Key, Sums] = field(default_factory=dict)
    posts: Counter[int] = field(default_factory=Counter)


async def read_redis(
    store: WindowStore, layout: Layout, wanted: Set[Range] | None = None
) -> tuple[StoredWindows, TableBounds]:
    """Returns the fingerprints of the windows in Redis, and the bounds of the tables after they were read.

    A window that a rebuild has emptied counts as no window.

    Args:
        store: the windows.
        layout: how the windows are grouped to ranges.
        wanted: if given, the groups are the windows in these ranges.

    Raises:
        ConnectorError: Redis did not answer, or rejected the call.
    """
    scan, found, batches = WindowScan.of(store), StoredWindows(), RedisBatches()

    async def read(shards: Iterable[int]) -> None:
        for shard in shards:
            for size in scan.sizes:
                async for page in scan.hashes(shard, size):
                    batch = batches.batch(size, page)
                    found.posts[size] += int(batch.posts[batch.of_all()].sum())
                    add_batch(found.groups, batch, layout, wanted)

    readers = [asyncio.ensure_future(read(range(number, scan.shards, _READERS))) for number in range(_READERS)]
    try:
        await asyncio.gather(*readers)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    # Windows leave Redis while it is read, so the bounds are those at the end.
    return found, await scan.bounds()
