"""Names of time zones, and local times in a zone. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_HOURS: Final = {
    **{"UTC": 0, "GMT": 0, "UT": 0, "Z": 0, "HST": -10, "AKST": -9, "AKDT": -8, "PDT": -7, "MDT": -6, "EDT": -4},
    **{"CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13},
}
"""Names that stand for one offset everywhere, and its hours. `CST`, `EST`, `IST` and others have several meanings."""

_RFC_2822_HOURS: Final = {"EST": -5, "CST": -6, "MST": -7, "PST": -8, "CDT": -5}
"""Further names that RFC 2822 (section 4.3) defines, for times in its form only."""


def named_zone(name: str) -> tzinfo:
    """Returns the time zone of a name in the database of time zones, such as `Europe/Berlin` or `UTC`.

    Raises:
        ValueError: There is no such time zone.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not the name of a time zone, such as Europe/Berlin or UTC") from None


def in_abbreviated_zone(local: datetime, name: str, zone: tzinfo | None, *, rfc2822: bool = False) -> datetime:
    """Returns a local time in the zone that an abbreviation such as `PDT` stands for.

    Args:
        local: the date and time, naive.
        name: the abbreviation.
        zone: the zone in which ambiguous abbreviations are looked up; None if there is none.
        rfc2822: whether the time has the form of RFC 2822, which defines further abbreviations.

    Raises:
        ValueError: The abbreviation is not known, or has several meanings.
    """
    name = name.upper()
    hours = _HOURS.get(name, _RFC_2822_HOURS.get(name) if rfc2822 else None)
    if hours is not None:
        return local.replace(tzinfo=timezone(timedelta(hours=hours)) if hours else UTC)
    if zone is not None:
        for fold in (0, 1):
            found = local.replace(tzinfo=zone, fold=fold)
            if found.tzname() == name and found.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local:
                return found
    raise ValueError("has a time zone that is not known or has several meanings; give the zone with --timezone")


def in_zone(local: datetime, zone: tzinfo | None) -> datetime:
    """Returns a local time in a zone.

    Raises:
        ValueError: `zone` is None, or clocks in the zone were changed so that the time exists twice, or never.
    """
    if zone is None:
        raise ValueError("has no time zone; write 2026-03-01T12:00:00Z, or give the zone with --timezone")
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta()):
        raise ValueError("is there twice, because clocks were put back; give the times in UTC")
    raise ValueError("is never there, because clocks were put forward; give the times in UTC")
