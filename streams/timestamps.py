"""The times in records: RFC 3339 in UTC on the wire, whole milliseconds since 1970 in arithmetic. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Self

_FORM = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?[0-5]\d)", re.ASCII
)
_DATE_AND_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?P<hour>\d\d):\d\d(?::(?P<second>\d\d)(?:[.,]\d+)?)?(?P<zone>.*)", re.ASCII
)


class Timestamp(datetime):
    """A `datetime` in UTC, the type of every time in a record.

    It is written with exactly three decimals: `2026-03-01T12:00:00.000Z`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Convert a `datetime` to UTC.

        Raises:
            ValueError: `moment` has no time zone, or its year in UTC is not 1 to 9999.
        """
        if moment.tzinfo is None:
            raise ValueError("has no time zone; write 2026-03-01T12:00:00Z")
        try:
            utc = moment.astimezone(UTC)
        except OverflowError:
            raise ValueError("is not within the years 1 to 9999 in UTC") from None
        return cls(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, UTC)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an RFC 3339 date and time.

        A blank in place of the `T`, lower case, and a time without seconds are accepted too. The hour 24 and a leap
        second are not, because Python has no such time.

        Raises:
            ValueError: `text` is not a date and time with an offset, is before 1970, or has a year above 9999 in UTC.
        """
        if _FORM.fullmatch(text) is None:
            raise ValueError(_problem(text))
        try:
            found = cls.fromisoformat(text.upper())
        except ValueError:
            raise ValueError(_problem(text)) from None
        return (found if found.tzinfo is UTC else cls.of(found)).checked()

    def checked(self) -> Self:
        """Returns this timestamp if records allow it.

        Raises:
            ValueError: The timestamp is before 1970.
        """
        if self < EARLIEST:
            raise ValueError("is before 1970")
        return self

    @property
    def ms(self) -> int:
        """Whole milliseconds since 1970, computed without floating point."""
        return to_ms(self)

    def rfc3339(self) -> str:
        """Returns the timestamp in RFC 3339 with milliseconds; finer digits are cut off."""
        return f"{self.isoformat(timespec='milliseconds')[:-6]}Z"


def _problem(text: str) -> str:
    """Returns why a text is not a date and time that `Timestamp.parse` accepts."""
    parts = _DATE_AND_TIME.fullmatch(text)
    if parts is None:
        return "is not a date and time; write 2026-03-01T12:00:00Z"
    if not parts["zone"].strip():
        return "has no time zone; write 2026-03-01T12:00:00Z"
    if parts["hour"] == "24":
        return "has the hour 24; write 00:00 of the next day"
    if parts["second"] == "60":
        return "has a leap second, which cannot be stored; write second 59"
    return "is not a valid date and time with a time zone; write 2026-03-01T12:00:00Z"


EARLIEST = Timestamp(1970, 1, 1, tzinfo=UTC)
"""The earliest time that a record may have."""


def rfc3339(moment: datetime) -> str:
    """Returns `moment` in UTC, in RFC 3339 with milliseconds: `2026-03-01T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_ms(moment: datetime) -> int:
    """Returns whole milliseconds since 1970, computed without floating point; finer digits are cut off."""
    since = moment - EARLIEST
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def from_ms(milliseconds: int) -> Timestamp:
    """Returns the timestamp that is this many milliseconds after 1970; the inverse of `to_ms`."""
    return EARLIEST + timedelta(milliseconds=milliseconds)
