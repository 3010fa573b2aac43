"""How often the windows of a size are published. Pure.

A window of an hour changes as often as one of a minute, and says less new each time. So a size has its turn once for
each minute of its length, in rounds of emission, and every tenth round at least. That is what publishing costs most of:
of four sizes from a minute to a day, a third of the records are left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

WHILE_BEHIND: Final = 5
"""How much longer windows gather while the worker is behind: in batches that count into them, and in rounds.

What they would say sooner is late anyway, and a window that is counted or published once for many posts costs no more
than for one. So a core classifies more, and the more posts wait, the sooner they are through."""

SLOWEST: Final = 10
"""Rounds between two publications of a window at most; a multiple of `WHILE_BEHIND`."""

_ROUND_FOR_S: Final = 60


def rounds_between(size: int, *, behind: bool = False) -> int:
    """In every how many rounds windows of `size` seconds are published; while behind, of those that are served."""
    rounds = min(SLOWEST, max(1, size // _ROUND_FOR_S))
    return WHILE_BEHIND * math.ceil(rounds / WHILE_BEHIND) if behind else rounds


def is_served(round_number: int, *, behind: bool) -> bool:
    """Whether anything is done in a round: in each, or while the worker is behind in every `WHILE_BEHIND`-th."""
    return not behind or round_number % WHILE_BEHIND == 0


def due(sizes: Iterable[int], round_number: int, *, behind: bool = False) -> tuple[int, ...]:
    """The sizes whose windows are published in a round; in the first, number 0, that is all of them."""
    return tuple(size for size in sizes if round_number % rounds_between(size, behind=behind) == 0)
