"""Decides in which emission intervals the windows of each size are published. Pure.

The emitter works in intervals of `EMOSTREAM_EMIT_INTERVAL_MS` and numbers them from 0. It publishes a window size every
n-th interval: n is about the size in minutes, at least 1 and at most `MAX_INTERVALS`. A window of an hour changes as
often as a window of a minute, but each change adds less news, and publishing is what costs most. With four sizes from a
minute to a day, a third as many records are written as without pacing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_INTERVALS: Final = 10
"""The most emission intervals between two publications of a changed window, while the worker keeps up."""

BEHIND_FACTOR: Final = 10
"""While the worker is behind, each size is published this many times less often.

A worker is behind while more than a batch of posts waits to be classified. Its windows are late anyway, and to publish
a window once for many posts costs no more than for one post. The time that this saves goes to classifying, so the
worker catches up sooner. It is a whole number: so when a worker falls behind or catches up, no window waits longer than
it would at the slower of the two paces."""

BEHIND_WAIT_FACTOR: Final = 30
"""While the worker is behind, filling a batch of the aggregate stage may take this many times as long.

The reason is the same: to apply many posts at once costs little more than to apply one."""

_NUMBERS: Final = (1, 2, 5, MAX_INTERVALS)
"""The values that `intervals_between` returns."""

_SIZE_PER_INTERVAL_S: Final = 60
"""A window size is published every n-th interval if it is about n times as long as this, in seconds."""


def intervals_between(size: int) -> int:
    """Returns n if windows of `size` seconds are published every n-th interval while the worker keeps up."""
    return max(number for number in _NUMBERS if number == 1 or number <= size // _SIZE_PER_INTERVAL_S)


def due(sizes: Iterable[int], interval: int, *, behind: bool = False) -> tuple[int, ...]:
    """Returns the sizes whose windows are published in an emission interval.

    Args:
        sizes: lengths of windows in seconds.
        interval: number of the interval since the shards were assigned. All sizes are due in interval 0.
        behind: whether the worker is behind.
    """
    factor = BEHIND_FACTOR if behind else 1
    return tuple(size for size in sizes if interval % (factor * intervals_between(size)) == 0)
