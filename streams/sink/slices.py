"""How many records to write in one transaction, so that it takes about as long as it may. Pure."""

from __future__ import annotations

FIRST_RECORDS = 1_000
"""Records of the first slice, before any was timed."""

MIN_RECORDS = 50
"""A slice is never smaller: each costs a commit, however few its records."""

MAX_GROWTH = 2.0
"""By at most this factor a slice is larger than the one before: one that was quick by chance says little."""


class SliceSize:
    """The number of records in the next slice, from the time that the last one took."""

    def __init__(self, target_s: float, most: int) -> None:
        """Begin with a small one.

        Args:
            target_s: how long a slice may take, in seconds.
            most: no slice has more records.
        """
        self._target_s = target_s
        self._most = most
        self.records = min(FIRST_RECORDS, most)

    def observe(self, records: int, seconds: float) -> None:
        """Note that a slice of `records` took so long."""
        fits = records * self._target_s / max(seconds, 1e-9)
        if seconds <= self._target_s:
            # It says nothing against larger ones if there was not more to write.
            fits = max(fits, self.records)
        self.records = int(max(min(MIN_RECORDS, self._most), min(fits, self.records * MAX_GROWTH, self._most)))
