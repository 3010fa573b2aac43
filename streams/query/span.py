r"""Which windows answer a question about a span of time. Pure; times are whole milliseconds since 1970.

An answer sums windows of one size, so that no post is counted twice and every window is whole:

    asked            since |---------------------------------| now
    windows     |--------|--------|--------|--------|--------|----
    Span        start                                             end
    held by the tables             first_held
                 \___ Postgres ___/\__________ Redis ___________/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.query.errors import QuestionError
from streams.window_sizes import WindowSize
from streams.windows.tumbling import window_start

DEFAULT_SPAN_MS = 86_400_000
"""The length of the span that a question without a start is about: the last 24 hours."""

MOST_WINDOWS = 400
"""Windows that an answer reads at most, if the sizes in use allow it. Reading them takes some milliseconds."""

_FINE_ENOUGH = 24
"""A span of so many windows is fine enough: the start of its first window is at most a 24th of the span too early."""

_CLOCKS_DIFFER_MS = 60_000
"""A start that lies less than this in the future is taken for now: the clocks of client and server differ."""


@dataclass(frozen=True)
class Span:
    """Consecutive windows of one size.

    Attributes:
        size: the size of the windows in seconds.
        start: the start of the first window.
        end: the end of the last window, exclusive.
    """

    size: int
    start: int
    end: int

    @property
    def starts(self) -> range:
        """The start of each window, the earliest first."""
        return range(self.start, self.end, self.size * 1_000)


def choose_span(sizes: Sequence[WindowSize], *, since_ms: int | None, now_ms: int) -> Span:
    """Returns the windows that answer a question: from the one that holds `since_ms` to the one that holds `now_ms`.

    Their size is the longest that is fine enough; if none is, the shortest. A size is left out if its retention does
    not reach back to `since_ms`, or if the span has more than `MOST_WINDOWS` windows of it. If no size reaches back,
    those that reach back furthest are taken. If all have too many windows, the longest is taken.

    Args:
        sizes: the sizes of the window tables, at least one.
        since_ms: the start of the question; None for 24 hours ago.
        now_ms: the present time.

    Raises:
        QuestionError: `since_ms` lies in the future.
    """
    if since_ms is None:
        since_ms = max(0, now_ms - DEFAULT_SPAN_MS)
    elif since_ms > now_ms + _CLOCKS_DIFFER_MS:
        raise QuestionError("since", "lies in the future")
    since_ms = min(since_ms, now_ms)
    spans = [_span(size.seconds, since_ms, now_ms) for size in _reaching_back(sizes, since_ms, now_ms)]
    few = [span for span in spans if len(span.starts) <= MOST_WINDOWS] or [spans[-1]]
    fine = [span for span in few if now_ms - since_ms >= _FINE_ENOUGH * span.size * 1_000]
    return fine[-1] if fine else few[0]


def first_held(size: int, *, complete_from: int, expired_to: int) -> int:
    """Returns the start of the first window from which on the tables have every window that has posts.

    Args:
        size: the size of the windows in seconds.
        complete_from: windows that start before this time may be missing, because Kafka had lost posts.
        expired_to: windows that end at or before this time may have been removed; -1 if none was.
    """
    length = size * 1_000
    # The window that starts at the last multiple of the size up to `expired_to` is the first that ends later.
    return max(-(-complete_from // length) * length, window_start(expired_to, size), 0)


def _reaching_back(sizes: Sequence[WindowSize], since_ms: int, now_ms: int) -> list[WindowSize]:
    """Returns the sizes, the shortest first, of which the tables still have the window that holds `since_ms`."""
    found = [
        size for size in sizes if window_start(since_ms, size.seconds) + size.seconds * 1_000 > now_ms - size.kept_ms
    ]
    furthest = max(size.kept_ms for size in sizes)
    return sorted(found or [size for size in sizes if size.kept_ms == furthest])


def _span(size: int, since_ms: int, now_ms: int) -> Span:
    return Span(size, window_start(since_ms, size), window_start(now_ms, size) + size * 1_000)
