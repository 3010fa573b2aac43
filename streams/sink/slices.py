"""The size of a slice: how many records the sink writes in one transaction, so that it takes the wanted time. Pure."""

from __future__ import annotations

FIRST_RECORDS = 1_000
"""Records of the first slice, before a transaction was timed."""

MIN_RECORDS = 50
"""Records that a slice has at least, if so many wait: each slice costs a commit."""

MAX_GROWTH = 2.0
"""A slice has at most this many times the records of the one before, whose time may have been short by chance."""


class SliceSize:
    """The number of records of the next slice, from the times that the transactions before took."""

    def __init__(self, target_s: float, max_records: int) -> None:
        """Begin with `FIRST_RECORDS`.

        Args:
            target_s: Seconds that a transaction should take.
            max_records: Most records of a slice.
        """
        self._target_s = target_s
        self._max_records = max_records
        self.records = min(FIRST_RECORDS, max_records)

    def observe(self, records: int, seconds: float) -> None:
        """Set the size of the next slice after a transaction of `records` that took `seconds`."""
        fitting = records * self._target_s / max(seconds, 1e-9)
        if seconds <= self._target_s:
            # A slice may have been small because few records waited: that is no reason for a smaller one.
            fitting = max(fitting, self.records)
        least = min(MIN_RECORDS, self._max_records)
        self.records = int(max(least, min(fitting, self.records * MAX_GROWTH, self._max_records)))
