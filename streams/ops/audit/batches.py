"""Adds the fingerprints of many windows to their groups at once, with arrays instead of a loop over the windows. Pure.

All sums are modulo 2^64, as numpy adds and multiplies unsigned integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.ops.audit.fingerprints import DAY_MS, MOST_BUCKETS, Key, Layout, Range, Sums
from streams.records import ALL_KEYWORDS
from streams.windows.tumbling import WindowKey

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
"""Integers modulo 2^64."""


class WindowBatch(NamedTuple):
    """The fingerprints of windows of one size, or of what some posts add to them.

    Each sequence and each array has one element for each window.

    Attributes:
        size: the size of the windows in seconds.
        keywords: the keywords of the windows.
        starts: their starts in ms since 1970.
        weights: their weights; see `weights_of`.
        posts: their numbers of posts.
        counts: what they add to `Sums.counts`, without the weight.
        sums: what they add to `Sums.sums`, without the weight.
        published: what they add to `Sums.published`, without the weight.
    """

    size: int
    keywords: Sequence[str]
    starts: Ints
    weights: Words
    posts: Ints
    counts: Words
    sums: Words
    published: Words

    def of_all(self) -> NDArray[np.bool_]:
        """Returns which of the windows are of all posts."""
        return np.fromiter((keyword == ALL_KEYWORDS for keyword in self.keywords), bool, len(self.keywords))

    def with_posts(self) -> WindowBatch:
        """Returns the windows that have posts."""
        chosen = np.flatnonzero(self.posts)
        if len(chosen) == len(self.posts):
            return self
        arrays: Any = [array[chosen] for array in self[2:]]
        return WindowBatch(self.size, [self.keywords[index] for index in chosen.tolist()], *arrays)


def weights_of(names: Iterable[str]) -> Words:
    """Returns the weights of windows by their names in Redis; see `fingerprints.weight_of`."""
    md5 = hashlib.md5
    digests = b"".join([md5(name.encode(), usedforsecurity=False).digest() for name in names])
    return np.frombuffer(digests, ">u8")[::2].astype(np.uint64) >> np.uint64(4)


def words_of(numbers: Iterable[int]) -> Words:
    """Returns integers modulo 2^64."""
    return np.array([number & 0xFFFF_FFFF_FFFF_FFFF for number in numbers], np.uint64)


def add_batch(groups: dict[Key, Sums], batch: WindowBatch, layout: Layout, wanted: Set[Range] | None = None) -> None:
    """Add windows to the fingerprints of their groups.

    Args:
        groups: the fingerprints.
        batch: the windows. They are left out if the layout does not have their size.
        layout: how windows are grouped to ranges.
        wanted: if given, each window of these ranges is a group of its own, and other windows are left out.
    """
    if batch.size not in layout.buckets or not batch.keywords:
        return
    ranges, indices = _ranges(batch, layout)
    if wanted is None:
        _add_by_range(groups, batch, ranges, indices)
    else:
        is_wanted = np.array([key in wanted for key in ranges])
        _add_by_name(groups, batch, np.flatnonzero(is_wanted[indices]).tolist())


def _ranges(batch: WindowBatch, layout: Layout) -> tuple[list[Range], NDArray[np.intp]]:
    """Returns the ranges that have windows, and for each window the index of its range."""
    size, starts = batch.size, batch.starts
    starts = np.where(starts < layout.fine_from[size], starts - starts % DAY_MS, starts)
    buckets = (batch.weights % np.uint64(layout.buckets[size])).astype(np.int64)
    places, indices = np.unique(starts * MOST_BUCKETS + buckets, return_inverse=True)
    return [Range(size, *divmod(place, MOST_BUCKETS)) for place in places.tolist()], indices


def _add_by_range(
    groups: dict[Key, Sums], batch: WindowBatch, ranges: Sequence[Range], indices: NDArray[np.intp]
) -> None:
    def by_range(values: NDArray[Any]) -> list[int]:
        totals = np.zeros(len(ranges), values.dtype)
        np.add.at(totals, indices, values)
        found: list[int] = totals.tolist()
        return found

    columns: list[NDArray[Any]] = [np.ones_like(batch.posts), batch.posts, np.where(batch.of_all(), batch.posts, 0)]
    columns += [batch.weights * values for values in (batch.counts, batch.sums, batch.published)]
    for key, *values in zip(ranges, *map(by_range, columns), strict=True):
        groups.setdefault(key, Sums()).add(Sums(*values))


def _add_by_name(groups: dict[Key, Sums], batch: WindowBatch, chosen: Sequence[int]) -> None:
    for index in chosen:
        keyword = batch.keywords[index]
        start, weight, posts, counts, sums, published = (int(array[index]) for array in batch[2:])
        of_all = posts if keyword == ALL_KEYWORDS else 0
        sums_of_window = Sums(1, posts, of_all, weight * counts, weight * sums, weight * published)
        groups.setdefault(WindowKey(keyword, batch.size, start), Sums()).add(sums_of_window)
