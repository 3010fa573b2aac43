"""Fingerprints of many windows, by which the audit compares them without holding them in memory. Pure.

The fingerprint of some windows is the sum of each window's numbers, multiplied by a weight that is a hash of the
window's name. It does not depend on the order of the windows. It is linear: what a batch of posts adds to the windows
can be added to the fingerprint, and no window needs to be known as a whole. If two fingerprints of the same range of
windows are equal, the windows are the same, except for a chance of about 2^-32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from streams.records import ALL_KEYWORDS, EmotionWindow, to_ms
from streams.sink.rows import label_rows, sentiment_rows
from streams.window_sizes import WindowSize
from streams.windows.tumbling import WindowKey

DAY_MS = 86_400_000
UNIT = 10_000
"""Percentages and means are compared in units of 1 / `UNIT`; records round them to that."""

NO_SENTIMENT = 2 * UNIT
"""Stands for the mean sentiment of a window without sentiments."""

_RANGES_PER_SIZE = 16_384
_MOST_BUCKETS = 64


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
Grouping = Callable[[WindowKey, int], Key | None]
"""Returns into which group a window with this weight belongs; None if it is left out."""


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
                size.seconds: max(1, min(_MOST_BUCKETS, _RANGES_PER_SIZE // (1 + size.kept_s // size.seconds)))
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
        counts: fingerprint of the numbers of posts, also by label and by sentiment.
        sums: fingerprint of the other sums that Redis has: of confidences and scores, and posts by model and source.
        published: fingerprint of the values in which Postgres has more than `counts`: percentages, means, the first and
            the last event, models and sources.
    """

    windows: int = 0
    posts: int = 0
    of_all: int = 0
    counts: int = 0
    sums: int = 0
    published: int = 0

    def add(self, keyword: str, weight: int, posts: int, counts: int, sums: int, *, published: int = 0) -> None:
        """Add a window, or what a batch adds to a window."""
        self.windows += 1
        self.posts += posts
        if keyword == ALL_KEYWORDS:
            self.of_all += posts
        self.counts += weight * counts
        self.sums += weight * sums
        self.published += weight * published


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


def field_sums(fields: Mapping[str, int] | Mapping[str, str]) -> tuple[int, int]:
    """Returns what the fields of a window's hash in Redis add to `Sums.counts` and to `Sums.sums`, without a weight."""
    counts = sums = 0
    for name, value in fields.items():
        if name == "n" or name.startswith(("l:", "t:")):
            counts += factor(name) * int(value)
        elif name not in _BOOKKEEPING:
            sums += factor(name) * int(value)
    return counts, sums


def published_sum(window: EmotionWindow) -> int:
    """Returns what a window as the sink writes it adds to `Sums.published`, without a weight."""
    start = to_ms(window.start)
    mean = NO_SENTIMENT if window.sentiment is None else round(window.sentiment.mean_sentiment * UNIT)
    total = factor("end") * (to_ms(window.end) - start)
    total += factor("first") * (to_ms(window.first_event) - start)
    total += factor("last") * (to_ms(window.last_event) - start)
    total += factor("late") * window.late
    total += factor("mean_sentiment") * mean
    total += factor("models") * hash_of(jsonb_text(window.models))
    total += factor("sources") * hash_of(jsonb_text(window.sources))
    for *_, label, _, percent, confidence in label_rows(window):
        total += factor(f"label percent:{label}") * round(float(str(percent)) * UNIT)
        total += factor(f"label confidence:{label}") * round(float(str(confidence)) * UNIT)
    for *_, label, _, percent in sentiment_rows(window):
        total += factor(f"sentiment percent:{label}") * round(float(str(percent)) * UNIT)
    return total


def jsonb_text(counts: Mapping[str, int]) -> str:
    """Returns an object as PostgreSQL writes a `jsonb`: shorter names first, then by their bytes."""
    in_order = sorted(counts.items(), key=lambda item: (len(item[0].encode()), item[0].encode()))
    return json.dumps(dict(in_order), ensure_ascii=False)
