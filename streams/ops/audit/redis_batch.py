"""Computes the fingerprints of a page of windows in Redis, with arrays instead of a loop over their fields. Pure.

The result is that of `fingerprints.field_sums` and `fingerprints.published_sum`, which say what the values are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.ops.audit.batches import Ints, WindowBatch, Words, weights_of, words_of
from streams.ops.audit.field_table import FieldKind, Fields, FieldTable
from streams.ops.audit.fingerprints import (
    END,
    FIRST,
    LAST,
    LATE,
    MEAN_SENTIMENT,
    MODULUS,
    NAMES,
    NO_SENTIMENT,
    field_sums,
    hash_of_names,
    published_sum,
    sentiment_percent,
)
from streams.windows.codec import in_units
from streams.windows.post import MICRO
from streams.windows.tumbling import WindowKey

_MOST_POSTS = 2**31
_MOST = 4 * 10**14
"""Bounds of numbers of posts, and of all values. Up to them, no 64-bit integer overflows here."""

Row = Mapping[str, int]
"""The hash of a window."""


class RedisBatches:
    """Makes batches of windows of their hashes. It remembers what the fields are."""

    def __init__(self) -> None:
        """Start without fields."""
        self._table = FieldTable()

    def batch(self, size: int, windows: Sequence[tuple[str, Row]]) -> WindowBatch:
        """Returns the fingerprints of the windows that have posts.

        Args:
            size: the size of the windows in seconds.
            windows: the names and the hashes of the windows; a hash has at least one field.
        """
        names = [name for name, _ in windows]
        rows = [row for _, row in windows]
        parts = [name.split("|", 2) for name in names]
        keywords = [keyword for _, _, keyword in parts]
        starts = np.array([int(start) for _, start, _ in parts], np.int64)
        found = self._sums(size, starts, rows)
        if found is None:
            keys = [WindowKey(keyword, size, start) for keyword, start in zip(keywords, starts.tolist(), strict=True)]
            found = _sums_one_by_one(keys, rows)
        return WindowBatch(size, keywords, starts, weights_of(names), *found).with_posts()

    def _sums(self, size: int, starts: Ints, rows: Sequence[Row]) -> tuple[Ints, Words, Words, Words] | None:
        """Returns the numbers of posts and the sums of windows; None if there are numbers beyond the bounds."""
        fields = self._table.fields(list(chain.from_iterable(rows)))
        numbers = list(chain.from_iterable([row.values() for row in rows]))
        if max(numbers, default=0) > _MOST or min(numbers, default=0) < -_MOST:
            return None
        values = np.array(numbers, np.int64)
        lengths = [len(row) for row in rows]
        page = _Page(fields, values, np.repeat(np.arange(len(rows)), lengths), len(rows))
        if np.abs(values[fields.counts != 0]).max(initial=0) > _MOST_POSTS:
            return None
        posts = page.single(FieldKind.POSTS)
        published = page.percentages(posts) + page.sentiments() + page.times(starts)
        published += np.uint64(END * size * 1_000 % MODULUS) + np.uint64(NAMES) * page.names(rows)
        return posts, page.total(fields.counts), page.total(fields.sums), published


def _sums_one_by_one(keys: Sequence[WindowKey], rows: Sequence[Row]) -> tuple[Ints, Words, Words, Words]:
    counts, sums = zip(*map(field_sums, rows), strict=True)
    published = [published_sum(key, row) if row.get("n", 0) else 0 for key, row in zip(keys, rows, strict=True)]
    # The fingerprints have the exact number.
    posts = np.array([min(max(row.get("n", 0), -_MOST), _MOST) for row in rows], np.int64)
    return posts, words_of(counts), words_of(sums), words_of(published)


class _Page:
    """The fields of some windows, one after another: what they are, their values, and the number of the window."""

    def __init__(self, fields: Fields, values: Ints, windows: NDArray[Any], count: int) -> None:
        self._fields = fields
        self._values = values
        self._windows = windows
        self._count = count

    def total(self, factors: Words) -> Words:
        """Returns for each window the sum of its values, multiplied by factors."""
        return self._sum(slice(None), factors * self._values.astype(np.uint64))

    def single(self, kind: FieldKind, default: int | Ints = 0) -> Ints:
        """Returns for each window the value of the only field of a kind, or the default."""
        found = np.zeros(self._count, np.int64) + default
        at = self._fields.kinds == kind
        found[self._windows[at]] = self._values[at]
        return found

    def percentages(self, posts: Ints) -> Words:
        """Returns what the percentage and the mean confidence of each label add."""
        labelled = posts - self.single(FieldKind.UNSUPPORTED)
        at = np.flatnonzero(self._fields.kinds == FieldKind.LABEL)
        windows = self._windows[at]
        of_label = _or_one(self._values[at])
        percents = _in_units(100 * of_label, _or_one(labelled)[windows])
        confidences = _in_units(self._confidences(at), MICRO * of_label)
        added = self._fields.percents[at] * percents.astype(np.uint64)
        added += self._fields.confidences[at] * confidences.astype(np.uint64)
        return self._sum(at, added)

    def _confidences(self, labels: NDArray[Any]) -> Ints:
        """Returns the sum of the confidences of each of these labels; 0 if the window lacks it."""
        at = np.flatnonzero(self._fields.kinds == FieldKind.CONFIDENCE)
        if not at.size:
            return np.zeros(len(labels), np.int64)
        width = int(self._fields.labels.max()) + 1
        known = self._windows[at] * width + self._fields.labels[at]
        order = np.argsort(known)
        wanted = self._windows[labels] * width + self._fields.labels[labels]
        places = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)]
        return np.where(known[places] == wanted, self._values[at][places], 0)

    def sentiments(self) -> Words:
        """Returns what the mean sentiment and the percentage of each sentiment add."""
        at = np.flatnonzero(self._fields.kinds == FieldKind.SENTIMENT)
        windows, of_label = self._windows[at], self._values[at]
        scored = np.zeros(self._count, np.int64)
        np.add.at(scored, windows, of_label)
        scored = _or_one(scored)
        mean = np.full(self._count, NO_SENTIMENT, np.int64)
        mean[windows] = _in_units(self.single(FieldKind.SCORES), MICRO * scored)[windows]
        percents = words_of(map(sentiment_percent, of_label.tolist(), scored[windows].tolist()))
        of_mean = np.uint64(MEAN_SENTIMENT) * mean.astype(np.uint64)
        return of_mean + self._sum(at, self._fields.percents[at] * percents)

    def times(self, starts: Ints) -> Words:
        """Returns what the first and the last event and the number of late posts add."""
        added = np.zeros(self._count, np.uint64)
        for factor, values in (
            (FIRST, self.single(FieldKind.FIRST, starts) - starts),
            (LAST, self.single(FieldKind.LAST, starts) - starts),
            (LATE, self.single(FieldKind.LATE)),
        ):
            added += np.uint64(factor) * values.astype(np.uint64)
        return added

    def names(self, rows: Sequence[Row]) -> Words:
        """Returns for each window the hash of its names and their numbers. Windows with the same ones share it."""
        at = np.flatnonzero(self._fields.kinds >= FieldKind.MODEL)
        keys = self._sum(at, self._fields.own[at] * self._values[at].astype(np.uint64))
        _, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return words_of([hash_of_names(rows[index]) for index in firsts.tolist()])[inverse]

    def _sum(self, at: Any, added: Words) -> Words:  # noqa: ANN401 - indices or a slice
        totals = np.zeros(self._count, np.uint64)
        np.add.at(totals, self._windows[at], added)
        return totals


def _or_one(numbers: Ints) -> Ints:
    return np.where(numbers == 0, 1, numbers)


def _in_units(amounts: Ints, totals: Ints) -> Ints:
    """Returns `windows.codec.in_units` of each pair; it works with arrays too."""
    rounded: Callable[[Ints, Ints], Ints] = in_units  # type: ignore[assignment]
    return rounded(amounts, totals)
