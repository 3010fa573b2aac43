"""Tells whether a record of the windows topic can be a window. Pure.

One record decides for all rules of a size: the window of all posts says up to where windows are decided. So a record
that contradicts itself, or that is far in the future, must not be evaluated.
"""

from __future__ import annotations

from typing import Final

from streams.alerts.engine.measure import Reading
from streams.records import EmotionWindow, RecordError, to_ms
from streams.records.values import MAX_COUNT, MAX_KEYWORD_CHARS

CLOCKS_MS: Final = 3_600_000
"""How much the clocks of two machines may differ, in ms."""


def reading_of(key: bytes | None, value: bytes, latest_ms: int) -> Reading:
    """Returns the reading of a record.

    Args:
        key: the key of the record.
        value: its value.
        latest_ms: the latest time that a window may reach, in ms since 1970.

    Raises:
        RecordError: The record cannot be a window.
    """
    window = EmotionWindow.from_json(value)
    reading = Reading.of_window(window)
    if key != window.key.encode():
        raise RecordError("has another key than its keyword, size and start")
    if not 0 < len(reading.keyword) <= MAX_KEYWORD_CHARS or "\0" in reading.keyword:
        raise RecordError("has a keyword that no post can have")
    if reading.size == 0 or reading.start % (1_000 * reading.size) or reading.end != to_ms(window.end):
        raise RecordError("does not begin and end at multiples of its size")
    if (reading.end if reading.final else reading.start) > latest_ms:
        raise RecordError("is in the future")
    sentiments = sum(reading.sentiments.values())
    if any(count > reading.count for count in reading.labels.values()):
        raise RecordError("has more posts of a label than posts")
    if max(reading.count + reading.unsupported, sentiments) > MAX_COUNT:
        raise RecordError("has more posts than can be counted")
    return reading
