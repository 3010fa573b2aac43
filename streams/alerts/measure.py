"""What a rule measures: the value of a reading, and the numbers behind it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

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
