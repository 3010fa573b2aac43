"""Finds duplicates: posts of a partition whose id came before, within a horizon. Pure.

The horizon is the time for which ids are remembered, on the broker's clock. Posts of sources
(`streams.records.source_ids`) have a horizon of their own. Whether one of them is a duplicate depends on the posts of
sources alone, so the other records of a partition need not be known.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from streams.records import is_from_source
from streams.settings import Settings

MOST_SOURCE_IDS = 400_000
"""Most ids that are remembered by default, in all partitions together: those of 900 s at 440 posts/s. They take up to
130 MB. If more come within the horizon, the oldest are forgotten."""


class RecentIds:
    """The latest ids of a partition.

    Whether an id is known depends only on the ids that were added in the `horizon_ms` before it. So a replay decides as
    the first run did, if it first adds the ids of that time.

    Attributes:
        forgotten: how many ids were forgotten within the horizon, because there were more than `most`.
    """

    def __init__(self, horizon_ms: int, most: int | None = None) -> None:
        """Start without ids. At most the latest `most` are remembered; None for no limit."""
        self.forgotten = 0
        self._horizon_ms = horizon_ms
        self._most = most
        self._clock = 0
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, key: bytes, appended_ms: int) -> bool:
        """Add the id of the next record.

        Args:
            key: the id.
            appended_ms: when the broker appended the record. If its clock is set back, the highest time so far counts.

        Returns:
            Whether the id came at most `horizon_ms` before, and is among the latest `most`.
        """
        self._clock = max(self._clock, appended_ms)
        while self._seen and next(iter(self._seen.values())) < self._clock - self._horizon_ms:
            self._seen.popitem(last=False)
        known = key in self._seen
        self._seen[key] = self._clock
        self._seen.move_to_end(key)
        if self._most is not None and len(self._seen) > self._most:
            self._seen.popitem(last=False)
            self.forgotten += 1
        return known


class Horizons(NamedTuple):
    """How long ids are remembered, in milliseconds on the broker's clock; 0 for not at all.

    Attributes:
        sources: the horizon of posts of sources.
        others: the horizon of all other posts; at most as long as `sources`.
        most: the most ids of posts of sources that are remembered for one partition; None for no limit.
    """

    sources: int
    others: int
    most: int | None

    @classmethod
    def of(cls, settings: Settings) -> Horizons:
        """Returns the horizons of the settings.

        `deduplication_s` is about all posts, so it is the shortest horizon of posts of sources too. If it is set, there
        is no limit to the number of ids, as its description says.
        """
        others = int(settings.deduplication_s * 1_000)
        sources = max(others, int(settings.source_deduplication_s * 1_000))
        return cls(sources, others, None if others else MOST_SOURCE_IDS // settings.partitions)

    def begin(self, offset: int = 0) -> RecentPosts | None:
        """Returns the recent posts of a partition that is read from an offset on; None if no ids are remembered."""
        return RecentPosts(self, offset) if self.sources else None


class RecentPosts:
    """Finds the duplicates among the records of a partition.

    Attributes:
        offset: the offset of the next record. If only the ids of posts of sources are remembered, other records need
            not be added; the owner then sets the offset to the one after them.
    """

    def __init__(self, horizons: Horizons, offset: int = 0) -> None:
        """Start without ids. `offset` is the offset of the first record that will be added."""
        self.offset = offset
        self._sources = RecentIds(horizons.sources, horizons.most)
        self._others = RecentIds(horizons.others) if horizons.others else None

    def __len__(self) -> int:
        """Returns the number of ids that are remembered."""
        return len(self._sources) + (0 if self._others is None else len(self._others))

    @property
    def forgotten(self) -> int:
        """How many ids of posts of sources were forgotten within their horizon, because there were too many."""
        return self._sources.forgotten

    def remembers(self, key: bytes | None) -> bool:
        """Returns whether `add` remembers the id of a record with this key."""
        return key is not None and (self._others is not None or is_from_source(key))

    def add(self, offset: int, key: bytes | None, appended_ms: int) -> bool:
        """Add a classified post of the partition.

        A record that is no classified post must not be added. It counts nowhere, so a post with its id is no copy.

        Args:
            offset: the record's offset in the classified topic.
            key: the post's id. A record without a key is never a duplicate.
            appended_ms: when the broker appended the record.

        Returns:
            Whether a post with the same key came within its horizon before.
        """
        self.offset = offset + 1
        ids = self._sources if is_from_source(key) else self._others
        return ids is not None and key is not None and ids.add(key, appended_ms)
