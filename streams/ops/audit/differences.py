"""Compares the windows in Redis and in Postgres with those that were counted again. Pure.

The counted windows are the truth for Redis. They are the truth for Postgres too, as far as it holds numbers of posts.
Percentages, means, and the first and last event of a window are compared with the same window in Redis, if Redis has
the window as it was counted. Windows that Kafka no longer holds in full cannot be counted; they are compared between
Redis and Postgres.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from streams.ops.audit.fingerprints import NOTHING, Key, Layout, Range, Sums
from streams.records import ALL_KEYWORDS, from_ms
from streams.windows.tumbling import WindowKey
from streams.wording import counted

EXAMPLES = 3
"""The most windows of a kind that a note names."""

MOST_WINDOWS = 200_000
"""The most windows that are compared by name, so that memory is bounded."""


class Store(StrEnum):
    """Where windows are stored."""

    REDIS = "Redis"
    POSTGRES = "Postgres"


@dataclass(frozen=True)
class Windows:
    """The windows as they were counted and as each store has them.

    Attributes:
        layout: how windows are grouped to ranges.
        counted_from: windows that start before this time (in ms) were not counted.
        complete_from: windows that start before this time (in ms) may be incomplete in Redis.
        expired_to: by size, windows that end at or before this time (in ms) may have left Redis.
        counted: the counted windows, by group.
        redis: the windows in Redis.
        postgres: the windows in Postgres.
    """

    layout: Layout
    counted_from: int
    complete_from: int
    expired_to: Mapping[int, int]
    counted: Mapping[Key, Sums]
    redis: Mapping[Key, Sums]
    postgres: Mapping[Key, Sums]

    def is_counted(self, key: Key) -> bool:
        """Returns whether the group was counted, and late posts were added to its windows."""
        return key.start >= self.counted_from and key.start >= self.complete_from

    def is_in_redis(self, key: Key) -> bool:
        """Returns whether Redis must have the windows of the group."""
        return (
            key.start >= self.layout.fine_from[key.size]
            and key.end > self.expired_to[key.size]
            and key.start >= self.complete_from
        )

    def differs(self, store: Store, key: Key) -> bool:
        """Returns whether a store does not have the group as it should be."""
        counted, redis, postgres = (of.get(key, NOTHING) for of in (self.counted, self.redis, self.postgres))
        is_counted, is_in_redis = self.is_counted(key), self.is_in_redis(key)
        redis_differs = is_counted and is_in_redis and (counted.counts, counted.sums) != (redis.counts, redis.sums)
        if store is Store.REDIS:
            return redis_differs
        if is_counted and counted.counts != postgres.counts:
            return True
        return (
            is_in_redis
            and not redis_differs
            and (redis.counts, redis.published) != (postgres.counts, postgres.published)
        )

    def differing(self, store: Store) -> list[Key]:
        """Returns the groups that a store does not have as they should be."""
        keys = self.counted.keys() | self.redis.keys() | self.postgres.keys()
        return sorted((key for key in keys if self.differs(store, key)), key=_in_order)

    def wanted(self, store: Store, key: Key) -> Sums:
        """Returns what a store should have of a group."""
        return (self.counted if self.is_counted(key) or store is Store.REDIS else self.redis).get(key, NOTHING)

    def has(self, store: Store, key: Key) -> Sums:
        """Returns what a store has of a group."""
        return (self.redis if store is Store.REDIS else self.postgres).get(key, NOTHING)

    def posts_of_all(self, store: Store, size: int) -> tuple[int, int]:
        """Returns the posts in windows of all posts that a store should have and has, of those that were counted."""
        keys = (
            key
            for key in self.counted.keys() | self.redis.keys() | self.postgres.keys()
            if key.size == size and self.is_counted(key) and (store is Store.POSTGRES or self.is_in_redis(key))
        )
        pairs = [(self.wanted(store, key).of_all, self.has(store, key).of_all) for key in keys]
        return sum(wanted for wanted, _ in pairs), sum(found for _, found in pairs)


def _in_order(key: Key) -> tuple[int, int, str]:
    """Returns a sort key: by size and start, and `*` before keywords."""
    return key.size, key.start, key.keyword if isinstance(key, WindowKey) else str(key.bucket)


def ranges_to_name(windows: Windows, stores: Iterable[Store] = Store) -> tuple[list[Range], bool]:
    """Returns the differing ranges whose windows are compared by name, and whether these are all.

    Ranges with few windows come first. There is at least one, if any range differs.
    """
    found = {key for store in stores for key in windows.differing(store) if isinstance(key, Range)}
    sizes = {
        key: max(of.get(key, NOTHING).windows for of in (windows.counted, windows.redis, windows.postgres))
        for key in found
    }
    chosen: list[Range] = []
    total = 0
    for key in sorted(found, key=lambda key: (sizes[key], key)):
        if chosen and total + sizes[key] > MOST_WINDOWS:
            return chosen, False
        chosen.append(key)
        total += sizes[key]
    return chosen, True


class Kind(StrEnum):
    """How a window differs."""

    MISSING = "missing"  # the store lacks the window
    EXTRA = "extra"  # no post is in the window
    CHANGED = "changed"  # the window has other contents


class Difference(NamedTuple):
    """A window that a store does not have as it should be, and its number of posts there and as it should be."""

    kind: Kind
    window: WindowKey
    found: int
    wanted: int

    def __str__(self) -> str:
        start = from_ms(self.window.start).rfc3339()
        posts = f" ({counted(self.found, 'post')}, not {self.wanted:,})" if self.found != self.wanted else ""
        return f"{self.window.keyword} {start}{posts if self.kind is Kind.CHANGED else ''}"


@dataclass(frozen=True)
class Differences:
    """The windows of one size that a store does not have as they should be.

    Attributes:
        found: the windows that were named.
        complete: whether these are all.
    """

    found: Sequence[Difference] = ()
    complete: bool = True

    @property
    def none(self) -> bool:
        """Whether every window is as it should be."""
        return self.complete and not self.found

    def __str__(self) -> str:
        parts = []
        for kind in Kind:
            of_kind = [one for one in self.found if one.kind is kind]
            if of_kind:
                more = ", …" if len(of_kind) > EXAMPLES else ""
                parts.append(f"{len(of_kind)} {kind}: {', '.join(map(str, of_kind[:EXAMPLES]))}{more}")
        if not self.complete:
            parts.append("more windows differ" if parts else "windows differ")
        return "; ".join(parts)


def name_differences(windows: Windows, store: Store) -> dict[int, list[Difference]]:
    """Returns the differing windows of a store, by size. The groups must be windows."""
    found: dict[int, list[Difference]] = {}
    for key in windows.differing(store):
        if not isinstance(key, WindowKey):
            continue
        wanted, has = windows.wanted(store, key), windows.has(store, key)
        kind = Kind.EXTRA if wanted.windows == 0 else Kind.MISSING if has.windows == 0 else Kind.CHANGED
        found.setdefault(key.size, []).append(Difference(kind, key, has.posts, wanted.posts))
    return found


def without_late(differences: list[Difference], windows: Windows, late: int) -> list[Difference]:
    """Leave out the windows in Postgres that lack only posts which came after the window had left Redis.

    Such a post is counted in the shard's counter `late:SIZE`, and in no window. It is in no window of a keyword either,
    so a keyword's window lacks at most as many posts as the window of all posts with the same start.

    Args:
        differences: the differing windows of one size in Postgres.
        windows: the windows, with windows as groups.
        late: the most posts that can be missing in windows of all posts.
    """
    lacking: Counter[int] = Counter()
    for one in differences:
        if one.window.keyword == ALL_KEYWORDS and _may_lack(one, windows):
            lacking[one.window.start] += one.wanted - one.found
    if not 0 < lacking.total() <= late:
        return differences
    return [
        one
        for one in differences
        if not (_may_lack(one, windows) and one.wanted - one.found <= lacking[one.window.start])
    ]


def _may_lack(one: Difference, windows: Windows) -> bool:
    return one.found < one.wanted and windows.is_counted(one.window) and not windows.is_in_redis(one.window)
