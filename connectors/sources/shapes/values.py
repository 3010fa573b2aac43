"""Strings, ids and hashtags in the JSON of networks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from connectors.sources.events import SkipReason, SourceSkipped
from connectors.sources.shapes.times import EPOCH, parse_time

_LONGEST_BITS: Final = 4_096
"""The most bits of a number that is an id. Python refuses to write much longer numbers in decimal."""

_NOTHING: Final[Mapping[str, Any]] = {}


def unreadable(detail: str) -> SourceSkipped:
    """Returns the event for JSON that is not what the network documents."""
    return SourceSkipped(reason=SkipReason.UNREADABLE, detail=detail)


def members(value: object) -> Mapping[str, Any]:
    """Returns a JSON object as it is, and an empty one for anything else."""
    # `dict` first: the check of an abstract class takes ten times as long.
    return value if isinstance(value, (dict, Mapping)) else _NOTHING


def string(value: object) -> str | None:
    """Returns a string that is not blank; None for anything else."""
    return value if isinstance(value, str) and value.strip() else None


def identifier(value: object) -> str | None:
    """Returns an id as a string: a string as it is, a whole number digit for digit; None for anything else.

    A float is not an id, because it may have lost digits.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value.bit_length() <= _LONGEST_BITS else None
    return string(value)


def hashtags(found: Iterable[object]) -> tuple[str, ...]:
    """Returns the strings among the values, without `#` at their beginning, blank ones and repetitions."""
    words = (value.strip().lstrip("#\uff03").strip() for value in found if isinstance(value, str))
    return tuple(dict.fromkeys(word for word in words if word))


def named(items: object, key: str) -> list[object]:
    """Returns the members with a name of the objects in a list; nothing if it is not a list."""
    return [item.get(key) for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def earliest(claimed: object, received: Iterable[datetime | None]) -> datetime | None:
    """Returns the time that a post claims, but none after it was received; None if no time is known.

    Clients write what they want as the time of a post. A claimed time that cannot be read, or is before 1970, is
    replaced by the time of receipt.

    Args:
        claimed: the time that the post claims, in a form of `times`.
        received: when the post was received, as far as that is known.
    """
    moments = [moment for moment in received if moment is not None]
    with suppress(ValueError):
        moments.append(parse_time(claimed))
    return min(moments, default=None)


def from_microseconds(value: object) -> datetime | None:
    """Returns the time that is this many microseconds after 1970; None if the value is not such a number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 10**14 <= value < 10**16:
        return None
    return EPOCH + timedelta(microseconds=value)
