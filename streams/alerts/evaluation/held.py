"""Which final windows are ready to be decided, and up to where positions may move. Pure.

The windows of one span are spread over all partitions of the windows topic, and come from several workers. So a span
is held back for `hold_ms` after its window of all posts was published:

    final window of `*` is read      hold_ms
    |-------------------------------------------------------| the span is ready: its other windows have come
         other keywords, from other partitions and workers

While the reader is behind, times of publication count in place of the clock. So a replay of the topic decides as the
first reading did. A committed position never passes a window that is held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.alerts.engine.measure import Reading
from streams.records import ALL_KEYWORDS


class Place(NamedTuple):
    """Where a record is in the windows topic, and when it was published and read, in ms since 1970."""

    partition: int
    offset: int
    published_ms: int
    read_ms: int


class Span(NamedTuple):
    """The final windows of one size with the same end.

    Attributes:
        size: the size in seconds.
        end: the end in ms since 1970.
        readings: the windows, by keyword.
        complete: whether the window of all posts is among them, so that an absent keyword had no posts.
    """

    size: int
    end: int
    readings: Mapping[str, Reading]
    complete: bool

    @property
    def start(self) -> int:
        """The start of the windows in ms since 1970."""
        return self.end - self.size * 1_000


@dataclass
class _Held:
    readings: dict[str, Reading] = field(default_factory=dict)
    lowest: dict[int, int] = field(default_factory=dict)
    oldest_ms: int | None = None
    total: Place | None = None


class HeldWindows:
    """The final windows that were read and are not decided yet."""

    def __init__(self, hold_ms: int) -> None:
        """Hold nothing. `hold_ms` is how long a span is held back, in ms."""
        self._hold_ms = hold_ms
        self._spans: dict[tuple[int, int], _Held] = {}

    def __len__(self) -> int:
        """Returns the number of windows that are held."""
        return sum(len(held.readings) for held in self._spans.values())

    @property
    def sizes(self) -> set[int]:
        """The sizes of the windows that are held, in seconds."""
        return {size for size, _ in self._spans}

    def add(self, reading: Reading, place: Place) -> None:
        """Hold a final window. A later record of the same window replaces it."""
        held = self._spans.setdefault((reading.size, reading.end), _Held())
        held.readings[reading.keyword] = reading
        held.lowest[place.partition] = min(place.offset, held.lowest.get(place.partition, place.offset))
        held.oldest_ms = min(place.published_ms, held.oldest_ms or place.published_ms)
        if reading.keyword == ALL_KEYWORDS and held.total is None:
            held.total = place

    def ready(self, now_ms: int, until_ms: int | None = None) -> list[Span]:
        """Returns the spans that are ready, for each size in the order of their ends. They stay held until `done`.

        A span without a window of all posts is ready as soon as a later one of its size is.

        Args:
            now_ms: the time in ms since 1970.
            until_ms: the time of publication up to which all partitions were read; None if they were read to their
                ends.
        """
        last: dict[int, int] = {}
        for (size, end), held in self._spans.items():
            if held.total is not None and self._is_ready(held.total, now_ms, until_ms):
                last[size] = max(end, last.get(size, end))
        return [
            Span(size, end, held.readings, held.total is not None)
            for (size, end), held in sorted(self._spans.items(), key=lambda item: (item[0][1], item[0][0]))
            if end <= last.get(size, -1)
        ]

    def _is_ready(self, total: Place, now_ms: int, until_ms: int | None) -> bool:
        if until_ms is not None:
            return total.published_ms + self._hold_ms <= until_ms
        return total.read_ms + self._hold_ms <= now_ms

    def done(self, span: Span) -> None:
        """Let go of a span that was decided."""
        del self._spans[span.size, span.end]

    def positions(self, reached: Mapping[int, int]) -> dict[int, int]:
        """Returns where each partition may be read again from: at its first window that is held, or where it was read.

        Args:
            reached: by partition, the offset after the last record that was read.
        """
        found = dict(reached)
        for held in self._spans.values():
            for partition, offset in held.lowest.items():
                found[partition] = min(offset, found.get(partition, offset))
        return found

    def oldest_ms(self) -> int | None:
        """Returns when the oldest window that is held was published, in ms since 1970; None if none is held."""
        return min((held.oldest_ms for held in self._spans.values() if held.oldest_ms is not None), default=None)


class Provisional:
    """The latest provisional windows, until they are final. They hold no position back."""

    def __init__(self) -> None:
        self._readings: dict[tuple[str, int, int], Reading] = {}

    def add(self, reading: Reading) -> None:
        """Keep a provisional window in place of an earlier record of it; a final one ends its keeping."""
        key = (reading.keyword, reading.size, reading.start)
        if reading.final:
            self._readings.pop(key, None)
        else:
            self._readings[key] = reading

    def current(self, ticks: Mapping[int, int]) -> list[Reading]:
        """Returns those that end after the decided spans, in the order of their ends; the others are dropped."""
        self._readings = {
            key: reading for key, reading in self._readings.items() if reading.end > ticks.get(reading.size, 0)
        }
        return sorted(self._readings.values(), key=lambda reading: (reading.end, reading.size, reading.keyword))
