"""How often the windows of a size are published. Pure.

A window of an hour changes as often as one of a minute, and says less new each time. So a size has its turn about once
for each minute of its length, in rounds of emission, and every `SLOWEST`-th round at least. That is what publishing
costs most of: of four sizes from a minute to a day, a third of the records are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SLOWEST: Final = 10
"""Rounds between two publications of a window at most, while the worker keeps up."""

BEHIND: Final = 10
"""While the worker is behind, each size has its turn this many times more rarely.

What the windows would say sooner is late anyway, and one that is counted or published once for many posts costs no more
than for one. So a core classifies more, and the more posts wait, the sooner they are through."""

GATHER_BEHIND: Final = 30
"""And batches that count into the windows gather this many times as long, for the same reason."""

_PACES: Final = (1, 2, 5, SLOWEST)
"""Whether a worker falls behind or catches up, no window waits for longer than at the slower pace: a multiple."""

_ROUND_FOR_S: Final = 60


def rounds_between(size: int) -> int:
    """In every how many rounds windows of `size` seconds are published, while the worker keeps up."""
    return max(pace for pace in _PACES if pace == 1 or pace <= size // _ROUND_FOR_S)


def due(sizes: Iterable[int], round_number: int, *, behind: bool = False) -> tuple[int, ...]:
    """The sizes whose windows are published in a round; in the first, number 0, that is all of them."""
    slower = BEHIND if behind else 1
    return tuple(size for size in sizes if round_number % (slower * rounds_between(size)) == 0)
