"""What a rule measures: the value of a reading, and the numbers behind it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streams.alerts.engine.statistics import Interval, poisson_interval, wilson
from streams.alerts.rules.rule import EmotionShare, Measure, Volume
from streams.records import EmotionWindow, Record, to_ms


class Reading(Record, frozen=True):
    """The counts of one window of a keyword.

    Attributes:
        keyword: the keyword; `*` for all posts.
        size: the size of the window in seconds.
        start: the start of the window in ms since 1970.
        count: the posts that have an emotion.
        unsupported: the posts in languages that the model does not read. A volume counts both.
        labels: posts by emotion.
        sentiments: posts by sentiment; empty if no post has one.
        final: whether the window is final.
    """

    keyword: str
    size: int
    start: int
    count: int
    unsupported: int
    labels: Mapping[str, int]
    sentiments: Mapping[str, int]
    final: bool

    @property
    def end(self) -> int:
        """The end of the window in ms since 1970."""
        return self.start + self.size * 1_000

    @classmethod
    def of_window(cls, window: EmotionWindow) -> Reading:
        """Returns the reading of a record of `emotions.windows`."""
        return cls(
            window.keyword,
            window.size,
            to_ms(window.start),
            window.count,
            window.unsupported,
            {label: stats.count for label, stats in window.labels.items()},
            window.sentiment.labels if window.sentiment else {},
            window.final,
        )

    @classmethod
    def silent(cls, keyword: str, size: int, start: int) -> Reading:
        """Returns the reading of a window that does not exist, because the keyword has no posts in it."""
        return cls(keyword, size, start, 0, 0, {}, {}, final=True)


class Hour(Record, frozen=True):
    """The counts of one hour of a keyword, from a window of an hour. The fields are those of `Reading`.

    An hour with 0 posts says that the keyword had none while others had some. An hour that is not known has no `Hour`.
    """

    start: int
    count: int
    labels: Mapping[str, int]
    sentiments: Mapping[str, int]
    unsupported: int = 0


class Measured(NamedTuple):
    """A value and the numbers behind it.

    Attributes:
        value: in posts for a volume, in percent for a share.
        part: the posts with the label; of a volume, all.
        whole: the posts of which the value is a share; of a volume, all.
    """

    value: float
    part: int
    whole: int


def counts_of(measure: Measure, counts: Reading | Hour) -> tuple[int, int]:
    """Returns the posts that a measure counts, and those of which they are a part."""
    if isinstance(measure, Volume):
        posts = counts.count + counts.unsupported
        return posts, posts
    if isinstance(measure, EmotionShare):
        # The history may hold windows of other programs, with more posts of a label than posts.
        return min(counts.labels.get(measure.label, 0), counts.count), counts.count
    return counts.sentiments.get(measure.label, 0), sum(counts.sentiments.values())


def measured(measure: Measure, counts: Reading | Hour) -> Measured | None:
    """Returns the value of a measure; None for a share of no posts, which is no data."""
    part, whole = counts_of(measure, counts)
    if isinstance(measure, Volume):
        return Measured(float(whole), part, whole)
    return Measured(100 * part / whole, part, whole) if whole else None


def interval(measure: Measure, found: Measured) -> Interval:
    """Returns the interval of 95 % for a value, in posts or percent."""
    if isinstance(measure, Volume):
        return poisson_interval(found.whole)
    low, high = wilson(found.part, found.whole)
    # Rounding must not put the value outside.
    return Interval(min(100 * low, found.value), max(100 * high, found.value))
