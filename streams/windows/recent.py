"""Which posts of a partition a producer has sent before: by id, within a horizon on the broker's clock. Pure."""

from __future__ import annotations

from collections import OrderedDict


class RecentIds:
    """The ids of a partition's latest records.

    The answer for a record depends on the records before it and on nothing else, so that a replay decides every post as
    the first run did, provided it begins with `horizon_ms` of records before the first that it decides.

    Attributes:
        offset: the offset after the last record that was taken in.
    """

    def __init__(self, horizon_ms: int, offset: int = 0) -> None:
        self.offset = offset
        self._horizon_ms = horizon_ms
        self._clock = 0
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, offset: int, key: bytes | None, appended_ms: int) -> bool:
        """Take the partition's next record in.

        Args:
            offset: of the record, in the classified topic.
            key: the id; a record without one repeats no other.
            appended_ms: when the broker appended it. Its clock may be set back; ours is not.

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
