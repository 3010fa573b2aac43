"""The times of exports and APIs -> aware datetimes. Pure, and independent of the locale.

    2022-01-01T00:00:00Z                  RFC 3339; also with a blank, `+0000`, `+00` or ` UTC`
    Sat, 01 Jan 2022 00:00:00 +0000       RFC 2822
    Sat Jan 01 00:00:00 +0000 2022        Twitter's API
    Mon Apr 06 22:19:45 PDT 2009          the output of `date`, as in Sentiment140
    1640995200 "1640995200.5"             seconds since 1970
    1640995200000 1640995200000000        milliseconds and microseconds since 1970

Numbers are told apart by their size: up to the year 2286, and since 1973, no number of seconds is one of milliseconds.
A number in between is refused. So is a time whose zone is not certain.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from connectors.sources.shapes.zones import in_abbreviated_zone, in_zone

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_UNITS: Final = (
    (0, 10**10, 1_000_000),
    (10**11, 10**13, 1_000),
    (10**14, 10**16, 1),
)
"""From, below, and the microseconds of one: of numbers that are seconds, milliseconds and microseconds."""

_NUMBER: Final = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_ROUNDED: Final = re.compile(r"\d+(?:\.\d+)?[eE][+-]?\d+", re.ASCII)

_USUAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?"
    r"(?: ?([Zz]|[+-]\d\d(?::?[0-5]\d)?| [A-Za-z]{2,5}))?",
    re.ASCII,
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)  # noqa: SIM905
}
_OFFSET_OR_NAME: Final = r"([+-]\d\d:?[0-5]\d|[A-Za-z]{1,5})"
_RFC_2822: Final = re.compile(
    rf"(?:[A-Za-z]{{3}},\s*)?(\d\d?)\s+([A-Za-z]{{3}})\s+(\d{{4}})\s+(\d\d):(\d\d)(?::(\d\d))?\s+{_OFFSET_OR_NAME}(?:\s*\([^()]*\))?",
    re.ASCII,
)
_CTIME: Final = re.compile(
    rf"[A-Za-z]{{3}}\s+([A-Za-z]{{3}})\s+(\d\d?)\s+(\d\d):(\d\d):(\d\d)(?:\s+{_OFFSET_OR_NAME})?\s+(\d{{4}})", re.ASCII
)
_LONGEST: Final = 100


def parse_time(value: object, zone: tzinfo | None = None) -> datetime:
    """Returns the time of a value in any of the forms above, aware.

    Args:
        value: a string, a whole number or a float.
        zone: the zone of times that state none; None to refuse them.

    Raises:
        ValueError: The value is not a time, is before 1970, or is ambiguous. The message continues a sentence whose
            subject is the value, and does not quote it.
    """
    if isinstance(value, str):
        return _parse_text(value.strip(), zone)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is neither a date and time nor a number of seconds since 1970")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is not a finite number")
    # The shortest decimal that is this float: 1640995200.123 and not 1640995200.12299990...
    return _since_1970(Decimal(str(value)))


def _parse_text(text: str, zone: tzinfo | None) -> datetime:
    if len(text) > _LONGEST:
        raise ValueError("is not a date and time; write 2026-03-01T12:00:00Z")
    if _USUAL.fullmatch(text):
        # In C, for almost all posts. The forms below explain what is wrong.
        with suppress(ValueError):
            return _from_1970(datetime.fromisoformat(text))
    if _NUMBER.fullmatch(text):
        return _since_1970(Decimal(text))
    if _ROUNDED.fullmatch(text):
        raise ValueError("is a rounded number, of which digits are lost; write it without an exponent")
    found = _iso(text, zone) or _rfc2822(text) or _ctime(text, zone)
    if found is None:
        raise ValueError(_problem(text))
    return _from_1970(found)


def _from_1970(found: datetime) -> datetime:
    if found < EPOCH:
        raise ValueError("is before 1970")
    return found


def _since_1970(number: Decimal) -> datetime:
    if number < 0:
        raise ValueError("is before 1970")
    for least, above, unit in _UNITS:
        if least <= number < above:
            return EPOCH + timedelta(microseconds=int(number * unit))
    raise ValueError("is a number that is neither seconds nor milliseconds since 1970")


def _iso(text: str, zone: tzinfo | None) -> datetime | None:
    parts = _ISO.fullmatch(text)
    if parts is None:
        return None
    date, hour, minute, second, fraction, offset = parts.groups()
    year, month, day = map(int, date.split("-"))
    micro = int((fraction or "")[:6].ljust(6, "0"))
    local = _local((year, month, day), (hour, minute, second), micro)
    if offset is None:
        return in_zone(local, zone)
    return _with_zone(local, offset.strip(), zone)


def _rfc2822(text: str) -> datetime | None:
    parts = _RFC_2822.fullmatch(text)
    if parts is None:
        return None
    day, month, year, hour, minute, second, offset = parts.groups()
    local = _local((int(year), _month(month), int(day)), (hour, minute, second))
    return _with_zone(local, offset, None, rfc2822=True)


def _ctime(text: str, zone: tzinfo | None) -> datetime | None:
    parts = _CTIME.fullmatch(text)
    if parts is None:
        return None
    month, day, hour, minute, second, offset, year = parts.groups()
    local = _local((int(year), _month(month), int(day)), (hour, minute, second))
    return in_zone(local, zone) if offset is None else _with_zone(local, offset, zone)


def _local(date: tuple[int, int, int], time: tuple[str, str, str | None], microsecond: int = 0) -> datetime:
    hour, minute, second = time
    if second == "60":
        raise ValueError("has a leap second, which cannot be stored; write second 59")
    try:
        return datetime(*date, int(hour), int(minute), int(second or 0), microsecond)  # noqa: DTZ001 - gets a zone
    except ValueError:
        raise ValueError("is not a date and time that exists; write 2026-03-01T12:00:00Z") from None


def _with_zone(local: datetime, offset: str, zone: tzinfo | None, *, rfc2822: bool = False) -> datetime:
    if offset[0] not in "+-":
        return in_abbreviated_zone(local, offset, zone, rfc2822=rfc2822)
    digits = offset[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 23:
        raise ValueError("has an impossible offset from UTC")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    try:
        return local.replace(tzinfo=UTC) - (ahead if offset[0] == "+" else -ahead)
    except OverflowError:
        raise ValueError("is not within the years 1 to 9999 in UTC") from None


def _month(name: str) -> int:
    try:
        return _MONTHS[name.lower()]
    except KeyError:
        raise ValueError("has a month that is not known; write 2026-03-01T12:00:00Z") from None


def _problem(text: str) -> str:
    """Returns why a text is not a time."""
    if re.match(r"\d{4}-\d\d-\d\d[Tt ]24:", text):
        return "has the hour 24; write 00:00 of the next day"
    if re.fullmatch(r"\d{1,2}/\d{1,2}/\d{2,4}\b.*", text):
        return "does not tell the day from the month; write 2026-03-01T12:00:00Z"
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return "is not a date and time: it has no time; write 2026-03-01T12:00:00Z"
    return "is not a date and time; write 2026-03-01T12:00:00Z"
