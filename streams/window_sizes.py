"""The tumbling windows that are kept: how long each is, and for how long it takes corrections. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")

MAX_SIZE_S = 31 * 86_400
MAX_KEPT_S = 10 * 366 * 86_400


def parse_duration(text: str) -> int:
    """Seconds of a duration such as `90`, `90s`, `5m`, `1h` or `2d`.

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; give seconds, or a whole number with s, m, h or d")
    return int(match[1]) * _UNITS[match[2] or "s"]


def format_duration(seconds: int) -> str:
    """The shortest form that `parse_duration` reads back: `5m` for 300."""
    unit = next(unit for unit, length in _UNITS.items() if seconds % length == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


class WindowSize(NamedTuple):
    """One size of tumbling windows.

    Attributes:
        seconds: length of a window.
        kept_s: for how long after its end a window takes corrections and stays in Redis, in seconds of event time.
    """

    seconds: int
    kept_s: int

    @property
    def kept_ms(self) -> int:
        """`kept_s` in milliseconds."""
        return self.kept_s * 1_000

    def __str__(self) -> str:
        """As in the settings: `1m:2d`."""
        return f"{format_duration(self.seconds)}:{format_duration(self.kept_s)}"

    @classmethod
    def parse(cls, text: str) -> WindowSize:
        """Read `SIZE:KEPT`, such as `1m:2d`: windows of a minute, kept for two days.

        Raises:
            ValueError: it is malformed, or out of range.
        """
        size, colon, kept = text.partition(":")
        if not colon:
            raise ValueError(f"{text!r} does not say how long its windows are kept; give SIZE:KEPT, such as 1m:2d")
        found = cls(parse_duration(size), parse_duration(kept))
        if not 1 <= found.seconds <= MAX_SIZE_S:
            raise ValueError(f"a window of {size} is none; sizes are from 1s to {format_duration(MAX_SIZE_S)}")
        if not found.seconds <= found.kept_s <= MAX_KEPT_S:
            raise ValueError(
                f"windows of {size} can be kept from {size} to {format_duration(MAX_KEPT_S)}, not for {kept}"
            )
        return found


def parse_sizes(text: str) -> tuple[WindowSize, ...]:
    """Read a list of sizes, separated by commas; shortest first.

    Raises:
        ValueError: one is malformed, or a size is given twice.
    """
    sizes = tuple(sorted(WindowSize.parse(part.strip()) for part in text.split(",")))
    if len({size.seconds for size in sizes}) != len(sizes):
        raise ValueError("each window size may be given once")
    return sizes
