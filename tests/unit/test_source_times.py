"""The times of exports and APIs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.shapes.times import EPOCH, parse_time
from connectors.sources.shapes.zones import named_zone

NEW_YEAR = datetime(2022, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "Sat Jan 01 00:00:00 +0000 2022",
        "Sat Jan 01 00:00:00 UTC 2022",
        "Fri Dec 31 16:00:00 -0800 2021",
        "2022-01-01T00:00:00.000Z",
        "2022-01-01 00:00:00Z",
        "2022-01-01 00:00:00 UTC",
        "2022-01-01 00:00:00+00",
        "2022-01-01T00:00+0000",
        "2022-01-01T05:30:00+05:30",
        "2022-01-01T05:30:00.000000000+05:30",
        "Sat, 01 Jan 2022 00:00:00 +0000",
        "Sat, 1 Jan 2022 00:00:00 GMT",
        "31 Dec 2021 19:00:00 EST",
        "Fri, 31 Dec 2021 16:00:00 -0800 (PST)",
        1640995200000,
        "1640995200000",
        1640995200,
        1640995200.0,
        " 1640995200 ",
        1640995200000000,
    ],
)
def test_all_forms_are_the_same_instant(value: object) -> None:
    assert parse_time(value) == NEW_YEAR


def test_a_zone_by_name_as_in_sentiment140() -> None:
    assert parse_time("Mon Apr 06 22:19:45 PDT 2009") == datetime(2009, 4, 7, 5, 19, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2022-01-01T00:00:00", "has no time zone"),
        ("Sat Jan 01 00:00:00 2022", "has no time zone"),
        ("2021-12-31T23:59:60Z", "leap second"),
        ("2021-12-31T24:00:00Z", "hour 24"),
        ("2022-02-30T00:00:00Z", "that exists"),
        ("Sat Jan 01 00:00:00 CST 2022", "several meanings"),
        ("Sat Jan 01 00:00:00 XYZ 2022", "not known"),
        ("2022-01-01 00:00:00 IST", "several meanings"),
        ("Sat, 01 Jan 2022 00:00:00 IST", "several meanings"),
        ("Sam. Jan 01 00:00:00 +0000 2022", "is not a date and time"),
        ("Sat Mai 01 00:00:00 +0000 2022", "month that is not known"),
        ("01/02/2022 10:00", "does not tell the day from the month"),
        ("2022-01-01", "has no time"),
        ("1.64E+12", "digits are lost"),
        ("yesterday", "is not a date and time"),
        ("x" * 1_000, "is not a date and time"),
        (50_000_000_000, "neither seconds nor milliseconds"),
        (10**30, "neither seconds nor milliseconds"),
        (-1, "before 1970"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("0001-01-01T00:00:00+14:00", "years 1 to 9999"),
        ("2022-01-01T00:00:00+99:00", "offset"),
        (float("nan"), "finite"),
        (True, "neither"),
        (None, "neither"),
        ([1], "neither"),
    ],
)
def test_what_is_ambiguous_or_no_time_is_refused_with_the_reason(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_time(value)


def test_a_zone_that_is_given_is_for_times_without_one() -> None:
    berlin = named_zone("Europe/Berlin")
    noon_in_summer = datetime(2022, 7, 1, 10, tzinfo=UTC)
    assert parse_time("2022-07-01 12:00:00", berlin) == noon_in_summer
    assert parse_time("2022-07-01 10:00:00Z", berlin) == noon_in_summer
    assert parse_time("2022-01-01 00:00:00", named_zone("utc")) == NEW_YEAR
    assert parse_time("Fri Dec 31 16:00:00 PST 2021", named_zone("America/Los_Angeles")) == NEW_YEAR
    with pytest.raises(ValueError, match="several meanings"):
        parse_time("Fri Dec 31 16:00:00 PST 2021", berlin)


def test_local_times_that_are_there_twice_or_never() -> None:
    berlin = named_zone("Europe/Berlin")
    with pytest.raises(ValueError, match="twice"):
        parse_time("2022-10-30 02:30:00", berlin)
    with pytest.raises(ValueError, match="never"):
        parse_time("2022-03-27 02:30:00", berlin)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "x\0"])
def test_an_unknown_zone(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a time zone"):
        named_zone(name)


TIMES = st.datetimes(datetime(1974, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - gets a zone


@given(TIMES, st.sampled_from([1, 1_000, 1_000_000]), st.booleans())
def test_seconds_milliseconds_and_microseconds_are_never_mixed_up(
    moment: datetime, per_second: int, as_text: bool
) -> None:
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    number = microseconds * per_second // 1_000_000
    expected = EPOCH + timedelta(microseconds=number * 1_000_000 // per_second)
    assert parse_time(str(number) if as_text else number) == expected


@given(TIMES, st.integers(-14 * 60, 14 * 60))
def test_rfc_3339_with_any_offset(moment: datetime, minutes: int) -> None:
    sign, ahead = ("-" if minutes < 0 else "+"), abs(minutes)
    local = (moment + timedelta(minutes=minutes)).replace(tzinfo=None)
    text = f"{local.isoformat()}{sign}{ahead // 60:02}:{ahead % 60:02}"
    assert parse_time(text) == moment


@given(st.text() | st.integers() | st.floats())
def test_anything_is_a_time_since_1970_or_refused(value: object) -> None:
    try:
        found = parse_time(value, UTC)
    except ValueError as exc:
        assert "\n" not in str(exc)
    else:
        assert found >= EPOCH
