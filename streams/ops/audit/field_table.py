"""What the fields of the windows' hashes are, as arrays, so that those of many windows are handled at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np

from streams.ops.audit.batches import Ints, Words, weights_of
from streams.ops.audit.fingerprints import field_factors, label_factors

_MOST_FIELDS = 16_384
"""The most fields that are remembered."""


class FieldKind(IntEnum):
    """What a field counts or holds; see `windows.codec`."""

    OTHER = 0
    POSTS = 1
    UNSUPPORTED = 2
    SCORES = 3
    FIRST = 4
    LAST = 5
    LATE = 6
    LABEL = 7
    CONFIDENCE = 8
    SENTIMENT = 9
    MODEL = 10
    SOURCE = 11
    LANGUAGE = 12


_KINDS = {
    "n": FieldKind.POSTS,
    "u": FieldKind.UNSUPPORTED,
    "ts": FieldKind.SCORES,
    "first": FieldKind.FIRST,
    "last": FieldKind.LAST,
    "late": FieldKind.LATE,
}
_PREFIXES = {
    "l:": FieldKind.LABEL,
    "c:": FieldKind.CONFIDENCE,
    "t:": FieldKind.SENTIMENT,
    "m:": FieldKind.MODEL,
    "s:": FieldKind.SOURCE,
    "g:": FieldKind.LANGUAGE,
}


class Fields(NamedTuple):
    """What some fields are; each array has one element for each of them.

    Attributes:
        kinds: a `FieldKind` each.
        labels: a number that the fields of a label share, whatever their kind.
        counts: the factors in `Sums.counts`.
        sums: the factors in `Sums.sums`.
        percents: the factors of a label's percentage in `Sums.published`; 0 for other fields.
        confidences: the same for its mean confidence.
        own: a factor that no other field has.
    """

    kinds: Ints
    labels: Ints
    counts: Words
    sums: Words
    percents: Words
    confidences: Words
    own: Words

    @classmethod
    def of(cls, columns: Sequence[Sequence[int]]) -> Self:
        """Make the arrays of some columns."""
        kinds, labels = (np.array(column, np.int64) for column in columns[:2])
        words: Any = [np.array(column, np.uint64) for column in columns[2:]]
        return cls(kinds, labels, *words)


class FieldTable:
    """Remembers what fields are, by their names."""

    def __init__(self) -> None:
        """Start without fields."""
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._rows: list[tuple[int, ...]] = []
        self._fields: Fields | None = None

    def fields(self, names: Sequence[str]) -> Fields:
        """Returns what the fields with these names are."""
        try:
            numbers = [self._numbers[name] for name in names]
        except KeyError:
            self._learn(names)
            numbers = [self._numbers[name] for name in names]
        if self._fields is None:
            self._fields = Fields.of(list(zip(*self._rows, strict=True)))
        chosen = np.array(numbers, np.int64)
        arrays: Any = [array[chosen] for array in self._fields]
        return Fields(*arrays)

    def _learn(self, names: Sequence[str]) -> None:
        if len(self._rows) > _MOST_FIELDS:
            self._clear()
        self._fields = None
        for name in {*names} - self._numbers.keys():
            kind = _KINDS.get(name) or _PREFIXES.get(name[:2], FieldKind.OTHER)
            percent = confidence = 0
            if kind is FieldKind.LABEL:
                percent, confidence, _ = label_factors(name[2:])
            elif kind is FieldKind.SENTIMENT:
                _, _, percent = label_factors(name[2:])
            label = self._labels.setdefault(name[2:], len(self._labels))
            own = int(weights_of([name])[0])
            self._numbers[name] = len(self._rows)
            self._rows.append((kind, label, *field_factors(name), percent, confidence, own))
