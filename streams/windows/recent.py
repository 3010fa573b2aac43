"""Finds duplicates: posts of a partition whose id came before, within a horizon on the broker's clock. Pure."""

from __future__ import annotations

from collections import OrderedDict


class RecentIds:
    """The ids of the latest records of a partition.

    Whether a record is a duplicate depends only on the records in the `horizon_ms` before it. So a replay decides as
    the first run did, if it first adds the records of that time.

    Attributes:
        offset: the offset after the last record that was added.
    """

    def __init__(self, horizon_ms: int, offset: int = 0) -> None:
        """Start without ids. `offset` is the offset of the first record that will be added."""
        self.offset = offset
        self._horizon_ms = horizon_ms
        self._clock = 0
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, offset: int, key: bytes | None, appended_ms: int) -> bool:
        """Add the next record of the partition.

        Args:
            offset: the record's offset in the classified topic.
            key: the post's id. A record without a key is never a duplicate.
            appended_ms: when the broker appended the record. If its clock is set back, the highest time so far counts.

        Returns:
            Whether a record with the same key came at most `horizon_ms` before.
        """
        self.offset = offset + 1
        self._clock = max(self._clock, appended_ms)
        while self._seen and next(iter(self._seen.values())) < self._clock - self._horizon_ms:
            self._seen.popitem(last=False)
        if key is None:
            return False
        known = key in self._seen
        self._seen[key] = self._clock
        self._seen.move_to_end(key)
        return known
