"""Parses window sizes: how long windows are, and for how long they are kept and take corrections. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")

MAX_SIZE_S = 31 * 86_400
"""The longest window, in seconds."""

MAX_KEPT_S = 10 * 366 * 86_400
"""The longest time for which a window can be kept after its end, in seconds of event time."""


def parse_duration(text: str) -> int:
    """Returns the seconds of a duration such as `90`, `90s`, `5m`, `1h` or `2d`.

    Raises:
        ValueError: `text` is not a duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; give seconds, or a whole number with s, m, h or d")
    return int(match[1]) * _UNITS[match[2] or "s"]


def format_duration(seconds: int) -> str:
    """Returns the shortest text that `parse_duration` reads as these seconds: `5m` for 300."""
    unit = next(unit for unit, length in _UNITS.items() if seconds % length == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


class WindowSize(NamedTuple):
    """One size of tumbling windows.

    Attributes:
        seconds: length of a window.
        kept_s: how long a window stays in Redis and takes corrections after its end, in seconds of event time.
    """

    seconds: int
    kept_s: int

    @property
    def kept_ms(self) -> int:
        """`kept_s` in milliseconds."""
        return self.kept_s * 1_000

    def __str__(self) -> str:
        """Returns the size as the settings have it: `1m:2d`."""
        return f"{format_duration(self.seconds)}:{format_duration(self.kept_s)}"

    @classmethod
    def parse(cls, text: str) -> WindowSize:
        """Parse `SIZE:KEPT`. `1m:2d` means windows of a minute, kept for two days.

        Raises:
            ValueError: `text` is malformed, or one of its durations is out of range.
        """
        size, colon, kept = text.partition(":")
        if not colon:
            raise ValueError(f"{text!r} does not say how long its windows are kept; give SIZE:KEPT, such as 1m:2d")
        found = cls(parse_duration(size), parse_duration(kept))
        if not 1 <= found.seconds <= MAX_SIZE_S:
            raise ValueError(f"{size} is out of range for a window size; give 1s to {format_duration(MAX_SIZE_S)}")
        if not found.seconds <= found.kept_s <= MAX_KEPT_S:
            raise ValueError(
                f"windows of {size} cannot be kept for {kept}; give {size} to {format_duration(MAX_KEPT_S)}"
            )
        return found


def parse_sizes(text: str) -> tuple[WindowSize, ...]:
    """Parse window sizes that are separated by commas. Returns them with the shortest first.

    Raises:
        ValueError: A size is malformed, out of range, or given twice.
    """
    sizes = tuple(sorted(WindowSize.parse(part.strip()) for part in text.split(",")))
    if len({size.seconds for size in sizes}) != len(sizes):
        raise ValueError("a window size is given twice; give each size once")
    return sizes
