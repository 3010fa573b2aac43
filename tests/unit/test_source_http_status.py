"""Statuses and headers of HTTP answers -> errors and times."""

from datetime import UTC, datetime

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net import check_status, retry_after_s
from connectors.sources.protocol import RateLimitError


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (429, {}, RateLimitError),
        (429, {"retry-after": "3"}, RateLimitError),
        (503, {"retry-after": "3"}, RateLimitError),
        (503, {}, UnavailableError),
        (500, {}, UnavailableError),
        (408, {}, UnavailableError),
        (401, {}, RejectedError),
        (403, {}, RejectedError),
        (400, {}, RejectedError),
        (404, {}, RejectedError),
    ],
)
def test_statuses(status: int, headers: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        check_status(status, headers, "the test")
    assert type(caught.value) is error
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("status", [200, 204, 304])
def test_good_statuses(status: int) -> None:
    check_status(status, {}, "the test")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("Sun, 99 Mar 2026", None),
        ("Sun, 01 Mar 99999999999 12:00:30 GMT", None),
        ("Sun, 01 Mar 2026 12:00:30 +99999999999999999", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}, now=datetime(2026, 3, 1, 12, tzinfo=UTC)) == seconds
