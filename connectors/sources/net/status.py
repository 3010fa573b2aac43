"""Maps the statuses of HTTP answers to errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.errors import RejectedError, UnavailableError
from connectors.retry_after import retry_after_s
from connectors.sources.protocol import RateLimitError

_FOR_NOW = {408, 421, 423, 425}
"""Statuses below 500 after which the same request may succeed later."""


def check_status(status: int, headers: Mapping[str, str], what: str) -> None:
    """Raise an error if the status of an answer is not below 400.

    Args:
        status: the status.
        headers: the headers of the answer.
        what: what was asked, for the message, without a secret: `the search of api.bsky.app`.

    Raises:
        RateLimitError: 429; or 503 with a `Retry-After`.
        UnavailableError: Another status of 500 and more, or 408, 421, 423 or 425.
        RejectedError: Any other status of 400 and more.
    """
    if status < 400:
        return
    wait = retry_after_s(headers)
    if status == 429 or (status == 503 and wait is not None):
        named = "" if wait is None else f" for {wait:g} s"
        raise RateLimitError(f"{what} answered {status}: it asks to wait{named}", wait)
    if status >= 500 or status in _FOR_NOW:
        raise UnavailableError(f"{what} answered {status}")
    hint = {401: ": the credentials are missing or wrong", 403: ": access is forbidden"}.get(status, "")
    raise RejectedError(f"{what} answered {status}{hint}")
