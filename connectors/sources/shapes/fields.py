"""The fields of a post as inputs have them -> their types. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Final

from connectors.sources.shapes.times import parse_time
from connectors.sources.shapes.values import identifier

FIELDS: Final = ("text", "id", "created_at", "source", "keywords", "lang", "author", "url")
"""The fields of a post that an input can have, by their names in a header or a JSON object."""

_ROUNDED: Final = re.compile(r"\d+(?:[.,]\d+)?[eE]\+\d+|\d{16,}\.0+", re.ASCII)
"""Large numbers as spreadsheets and data frames write them: `1.05012E+18`, `1050118621198921700.0`."""

REMOVED: Final = frozenset({"[deleted]", "[removed]", "[deleted by user]", "[ removed by reddit ]"})
"""Texts that stand for a post that was removed, in lower case."""


def is_removed(text: str) -> bool:
    """Returns whether a text only says that the post was removed, as in Reddit's exports."""
    return len(text) < 50 and text.strip().lower() in REMOVED


def is_blank(value: object) -> bool:
    """Returns whether a value counts as none: null, or a blank string."""
    return value is None or (isinstance(value, str) and not value.strip())


def post_fields(values: Mapping[str, object], zone: tzinfo | None = None) -> dict[str, object]:
    """Returns the fields of a post other than its text, converted; those that are blank are left out.

    `created_at` becomes an aware datetime. `id` and `author` become strings, whole numbers digit for digit. `keywords`
    becomes a tuple of strings without space around them; it may be a list, or a string with commas.

    Args:
        values: the fields, by their names in `FIELDS`.
        zone: the zone of times that state none; None to refuse them.

    Raises:
        ValueError: A value cannot be this field. The message names the field and does not quote the value.
    """
    found: dict[str, object] = {}
    for name, value in values.items():
        if name == "text" or is_blank(value):
            continue
        try:
            found[name] = _time(value, zone) if name == "created_at" else _CONVERT[name](value)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    return found


def _time(value: object, zone: tzinfo | None) -> datetime:
    return value if isinstance(value, datetime) and value.tzinfo is not None else parse_time(value, zone)


def _identifier(value: object) -> str:
    found = identifier(value)
    if found is None:
        raise ValueError("is neither a string nor a whole number")
    # Two ids that a spreadsheet or a data frame has rounded may be the same.
    if _ROUNDED.fullmatch(found):
        raise ValueError("is a rounded number, of which digits are lost; export it as text")
    return found


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string")
    return value


def _keywords(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return _stripped(value.split(","))
    if isinstance(value, list | tuple):
        return _stripped(map(_string, value))
    raise ValueError("is neither a list nor a string")


def _stripped(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for word in map(str.strip, words) if word)


_CONVERT: Final[Mapping[str, Callable[[object], object]]] = {
    "id": _identifier,
    "author": _identifier,
    "source": _string,
    "lang": _string,
    "url": _string,
    "keywords": _keywords,
}
