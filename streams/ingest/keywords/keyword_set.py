"""Reads the records of the keywords topic as a set of keywords. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.ingest.keywords.folding import fold
from streams.ingest.keywords.keyword import parse_keyword
from streams.records import KeywordRecord, RecordError

MAX_SET = 100_000
"""The most keywords in the set."""

MAX_ROWS = 2 * MAX_SET
"""The most keys in the topic. Others may write records that are no keywords, and several spellings of a keyword."""


@dataclass(frozen=True)
class KeywordSet:
    """The keywords of the topic.

    Attributes:
        by_fold: By what a keyword folds to, the record that was written last.
        keys: By what a keyword folds to, the keys of all its records.
        refused: The number of records that are not keywords.
    """

    by_fold: Mapping[str, KeywordRecord]
    keys: Mapping[str, tuple[bytes, ...]]
    refused: int

    @classmethod
    def of(cls, rows: Mapping[bytes, bytes]) -> KeywordSet:
        """Read the last value of each key, in the order in which the values were written."""
        by_fold: dict[str, KeywordRecord] = {}
        keys: dict[str, tuple[bytes, ...]] = {}
        refused = 0
        for key, value in rows.items():
            try:
                record = KeywordRecord.from_json(value)
                same = parse_keyword(record.keyword) == record.keyword
            except (RecordError, ValueError):
                same = False
            if not same:
                refused += 1
                continue
            folded = fold(record.keyword)
            by_fold[folded] = record
            keys[folded] = (*keys.get(folded, ()), key)
        return cls(by_fold, keys, refused)

    def __len__(self) -> int:
        """Returns the number of keywords."""
        return len(self.by_fold)

    def keywords(self) -> tuple[str, ...]:
        """Returns the keywords, in the order of what they fold to."""
        return tuple(self.by_fold[folded].keyword for folded in sorted(self.by_fold))
