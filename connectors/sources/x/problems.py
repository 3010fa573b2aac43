"""What the API of X says when it refuses -> errors. Pure.

The API describes a problem as RFC 7807 does. The types of problems are those of its OpenAPI document, and of
docs.x.com/x-api/fundamentals/response-codes-and-errors.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.sources.net.status import check_status
from connectors.sources.protocol import RateLimitError
from connectors.sources.shapes.values import members, string

CAP_WAIT_S: Final = 900.0
"""Seconds until the next try after the account has used all that it may. It may get more at any time."""

_MOST_CHARS: Final = 300
_CONFLICT: Final = 409
_PAYMENT: Final = 402
_TOO_MANY: Final = 429


def kind_of(problem: Mapping[str, Any]) -> str:
    """Returns the last part of a problem's type, such as `usage-capped`; an empty string if it has none."""
    return (string(problem.get("type")) or "").rpartition("/problems/")[2]


def text_of(problem: Mapping[str, Any]) -> str:
    """Returns what a problem says, in one line."""
    details = problem.get("details")
    parts = [problem.get("title"), problem.get("detail"), problem.get("message"), problem.get("disconnect_type")]
    parts += details if isinstance(details, list) else []
    found = dict.fromkeys(" ".join(part.split()) for part in parts if isinstance(part, str) and part.strip())
    text = "".join(character if character.isprintable() else " " for character in ": ".join(found))
    return text[:_MOST_CHARS] or "no reason is given"


def problems_of(document: object) -> list[Mapping[str, Any]]:
    """Returns the problems in an answer or in a line of the stream."""
    errors = members(document).get("errors")
    found = [error for error in errors if isinstance(error, Mapping)] if isinstance(errors, list) else []
    # An answer may be a problem itself, and have details under `errors`.
    return [members(document), *found] if "title" in members(document) else found


def stream_error(problems: list[Mapping[str, Any]]) -> ConnectorError:
    """Returns the error of a stream that sends a problem instead of a post, and ends.

    Args:
        problems: at least one.
    """
    text = f"X ended the stream: {text_of(problems[0])}"
    if any(kind_of(problem) == "usage-capped" for problem in problems):
        return RateLimitError(f"{text}; the account has used all the posts that it may have", CAP_WAIT_S)
    if any(problem.get("connection_issue") == "TooManyConnections" for problem in problems):
        return RateLimitError(f"{text}; the app may have one connection only")
    return UnavailableError(text)


def check_answer(status: int, headers: Mapping[str, str], body: bytes, what: str) -> None:
    """Raise an error if the status of an answer is not below 400.

    Args:
        status: the status.
        headers: the headers; names are in lower case.
        body: the body.
        what: what was asked, for the message: `the search of X`.

    Raises:
        RateLimitError: There were too many requests or connections, or the account has used all that it may.
        UnavailableError: X cannot answer now.
        RejectedError: Credentials are wrong, or X refuses the request.
    """
    if status < 400:
        return
    problems = problems_of(document_of(body))
    text = f"{what} answered {status}: {'; '.join(map(text_of, problems)) or 'no reason is given'}"
    if status == _PAYMENT or any(kind_of(problem) == "usage-capped" for problem in problems):
        raise RateLimitError(f"{text}; the account has used all the posts or credits that it may have", CAP_WAIT_S)
    if status == _TOO_MANY and any(one.get("connection_issue") == "TooManyConnections" for one in problems):
        raise RateLimitError(f"{text}; the app may have one connection only")
    if status == _TOO_MANY and "retry-after" not in headers:
        raise RateLimitError(text, _until_reset_s(headers))
    if status == _CONFLICT:  # the stream has no rules, or they are not in effect yet
        raise UnavailableError(text)
    try:
        check_status(status, headers, what)
    except RejectedError as exc:
        hint = "; is X_BEARER_TOKEN the bearer token of an app?" if status in (401, 403) else ""
        raise RejectedError(text + hint) from exc


def _until_reset_s(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds until the limit of requests is reset; None if the answer does not tell."""
    reset = headers.get("x-rate-limit-reset", "").strip()
    return max(0.0, int(reset) - time.time()) if reset.isascii() and reset.isdigit() and len(reset) <= 12 else None


def document_of(body: bytes) -> object:
    """Returns the parsed JSON of an answer; None if the body is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
