"""Fingerprints of many windows, by which the audit compares them without holding them in memory. Pure.

The fingerprint of some windows is the sum of each window's numbers, multiplied by a weight that is a hash of the
window's name. It does not depend on the order of the windows. It is linear: what a batch of posts adds to the windows
can be added to the fingerprint, and no window needs to be known as a whole. If two fingerprints of the same range of
windows are equal, the windows are the same, except for a chance of about 2^-32. All sums are modulo 2^64.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from streams.window_sizes import WindowSize
from streams.windows.codec import UNIT, field_names, in_units, top_languages, top_sources
from streams.windows.post import MICRO
from streams.windows.tumbling import WindowKey

DAY_MS = 86_400_000

NO_SENTIMENT = 2 * UNIT
"""Stands for the mean sentiment of a window without sentiments."""

_RANGES_PER_SIZE = 16_384
MOST_BUCKETS = 64
"""The most ranges into which the windows with the same start are divided."""

MODULUS = 2**64


class Range(NamedTuple):
    """Some windows of a size: those that start at `start` (in ms), and whose weight falls into `bucket`.

    For windows that have left Redis, `start` is a day (UTC), and the range has all windows that start on that day.
    """

    size: int
    start: int
    bucket: int

    @property
    def end(self) -> int:
        """The end in milliseconds of the windows that start at `start`."""
        return self.start + self.size * 1_000


Key = Range | WindowKey
"""A group of windows: a range of them, or a single one."""


@dataclass(frozen=True)
class Layout:
    """How windows are grouped to ranges. The number of ranges depends on the settings, and not on that of the windows.

    Attributes:
        fine_from: by size, the start (in ms) from which on the windows of each start are ranges of their own. Earlier
            windows have left Redis.
        buckets: by size, into how many ranges the windows with the same start are divided.
    """

    fine_from: Mapping[int, int]
    buckets: Mapping[int, int]

    @classmethod
    def of(cls, sizes: tuple[WindowSize, ...], expired_to: Mapping[int, int]) -> Layout:
        """Returns the layout for these sizes; windows that end at or before `expired_to` (in ms) have left Redis."""
        return cls(
            {size.seconds: expired_to.get(size.seconds, -1) - size.seconds * 1_000 + 1 for size in sizes},
            {
                size.seconds: max(1, min(MOST_BUCKETS, _RANGES_PER_SIZE // (1 + size.kept_s // size.seconds)))
                for size in sizes
            },
        )

    def range_of(self, window: WindowKey, weight: int) -> Range | None:
        """Returns the range of a window; see `Grouping`."""
        size, start = window.size, window.start
        buckets = self.buckets.get(size)
        if buckets is None:
            return None
        if start < self.fine_from[size]:
            start -= start % DAY_MS
        return Range(size, start, weight % buckets)


@dataclass(slots=True)
class Sums:
    """The fingerprint of a group of windows.

    Attributes:
        windows: number of windows; for a recount, number of times that a batch of posts added to one of them.
        posts: number of posts.
        of_all: number of posts in windows of all posts.
        counts: fingerprint of the numbers of posts, also without a label, by label and by sentiment.
        sums: fingerprint of the other sums that Redis has: of confidences and scores, and posts by model, source and
            language.
        published: fingerprint of the values in which Postgres has more than `counts`: percentages, means, the first and
            the last event, models, sources and languages.
    """

    windows: int = 0
    posts: int = 0
    of_all: int = 0
    counts: int = 0
    sums: int = 0
    published: int = 0

    def add(self, other: Sums) -> None:
        """Add other windows, or what a batch adds to windows."""
        self.windows += other.windows
        self.posts += other.posts
        self.of_all += other.of_all
        self.counts = (self.counts + other.counts) % MODULUS
        self.sums = (self.sums + other.sums) % MODULUS
        self.published = (self.published + other.published) % MODULUS


NOTHING = Sums()
"""The fingerprint of no windows. It must not be changed."""


def weight_of(window: WindowKey) -> int:
    """Returns the weight of a window: the first 60 bits of the MD5 of its name in Redis."""
    digest = hashlib.md5(window.member().encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") >> 4


def hash_of(text: str) -> int:
    """Returns the first 32 bits of the MD5 of a text."""
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:4], "big")


factor = lru_cache(16_384)(hash_of)
"""The factor of a field, by its name."""


_BOOKKEEPING = frozenset({"first", "last", "rev", "final", "late"})


@lru_cache(16_384)
def field_factors(name: str) -> tuple[int, int]:
    """Returns the factors of a field of a window's hash in `Sums.counts` and in `Sums.sums`; 0 if it is not in one."""
    if name in _BOOKKEEPING:
        return 0, 0
    return (factor(name), 0) if is_count(name) else (0, factor(name))


def is_count(name: str) -> bool:
    """Returns whether a value belongs to `Sums.counts`: the number of posts, also by label (l:) and sentiment (t:)."""
    return name in {"n", "u"} or name.startswith(("l:", "t:"))


def field_sums(fields: Mapping[str, int]) -> tuple[int, int]:
    """Returns what the fields of a window's hash in Redis add to `Sums.counts` and to `Sums.sums`, without a weight."""
    counts = sums = 0
    for name, value in fields.items():
        of_count, of_sum = field_factors(name)
        if of_count:
            counts += of_count * value
        elif of_sum:
            sums += of_sum * value
    return counts, sums


END, FIRST, LAST, LATE = (factor(name) for name in ("end", "first", "last", "late"))
MEAN_SENTIMENT, NAMES = factor("mean_sentiment"), factor("names")


@lru_cache(4_096)
def label_factors(label: str) -> tuple[int, int, int]:
    """Returns the factors of a label's percentage and mean confidence, and of a sentiment's percentage."""
    kinds = ("label percent", "label confidence", "sentiment percent")
    percent, confidence, sentiment = (factor(f"{kind}:{label}") for kind in kinds)
    return percent, confidence, sentiment


def published_sum(window: WindowKey, row: Mapping[str, int]) -> int:
    """Returns what a window of Redis, as the sink should write it, adds to `Sums.published`, without a weight.

    The values are those of `windows.codec.to_window` and `sink.rows`, without the records, since there may be millions.
    """
    names, count, start = field_names(row), row["n"] - row.get("u", 0), window.start
    total = END * (window.end - start) + LATE * row.get("late", 0)
    total += FIRST * (row.get("first", start) - start) + LAST * (row.get("last", start) - start)
    for label, name in names.labels:
        percent, confidence, _ = label_factors(label)
        posts = row[name] or 1  # 0 only if somebody has changed the window
        total += percent * in_units(100 * posts, count or 1)
        total += confidence * in_units(row.get(f"c:{label}", 0), MICRO * posts)
    mean = NO_SENTIMENT
    if names.sentiments:
        scored = sum(row[name] for _, name in names.sentiments) or 1
        mean = in_units(row.get("ts", 0), MICRO * scored)
        for label, name in names.sentiments:
            total += label_factors(label)[2] * sentiment_percent(row[name], scored)
    total += MEAN_SENTIMENT * mean
    return total + NAMES * hash_of_names(row)


@lru_cache(16_384)
def sentiment_percent(posts: int, scored: int) -> int:
    """Returns the percentage of a sentiment in units of 1 / `UNIT`, rounded as `sink.rows` does."""
    return round(round(100 * posts / scored, 4) * UNIT)


def hash_of_names(row: Mapping[str, int]) -> int:
    """Returns the hash of the models, the sources and the languages of a window, with their numbers of posts."""
    found: dict[str, dict[str, int]] = {"m:": {}, "s:": {}, "g:": {}}
    for name, value in row.items():
        of_kind = found.get(name[:2])
        if of_kind is not None:
            of_kind[name[2:]] = value
    models, sources, languages = found.values()
    return hash_of(jsonb_text(models) + jsonb_text(top_sources(sources)) + jsonb_text(top_languages(languages)))


def jsonb_text(counts: Mapping[str, int]) -> str:
    """Returns an object as PostgreSQL writes a `jsonb`: shorter names first, then by their bytes."""
    in_order = sorted((*_place(name), number) for name, number in counts.items())
    return f"{{{', '.join([f'{quoted}: {number}' for _, _, quoted, number in in_order])}}}"


@lru_cache(16_384)
def _place(name: str) -> tuple[int, bytes, str]:
    """Returns the length of a name in bytes, its bytes, and the name in quotes."""
    encoded = name.encode()
    return len(encoded), encoded, json.dumps(name, ensure_ascii=False)
