"""Reads the fingerprints of the windows in Redis."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from streams.ops.audit.fingerprints import Grouping, Key, Sums, field_sums, published_sum, weight_of
from streams.records import ALL_KEYWORDS
from streams.windows.scan import TableBounds, WindowScan
from streams.windows.store import WindowStore


@dataclass
class StoredWindows:
    """The windows that a store has.

    Attributes:
        groups: the fingerprints of the windows, by group.
        posts: posts in the windows of all posts, by size in seconds.
    """

    groups: dict[Key, Sums] = field(default_factory=dict)
    posts: Counter[int] = field(default_factory=Counter)


async def read_redis(store: WindowStore, grouping: Grouping) -> tuple[StoredWindows, TableBounds]:
    """Returns the fingerprints of the windows in Redis, and the bounds of the tables after they were read.

    A window that a rebuild has emptied counts as no window.

    Raises:
        ConnectorError: Redis did not answer, or rejected the call.
    """
    scan, found = WindowScan.of(store), StoredWindows()
    for size in scan.sizes:
        async for page in scan.rows(size):
            for key, row in page:
                posts = int(row.get("n", 0))
                if key.keyword == ALL_KEYWORDS:
                    found.posts[size] += posts
                weight = weight_of(key)
                group = grouping(key, weight)
                if group is None or posts == 0:
                    continue
                sums = found.groups.get(group)
                if sums is None:
                    sums = found.groups[group] = Sums()
                published = published_sum(key, row)
                sums.add(key.keyword, weight, posts, *field_sums(row), published=published)
    # Windows leave Redis while it is read, so the bounds are those at the end.
    return found, await scan.bounds()
