"""What became of a message. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from connectors.retry_after import retry_after_s

MAX_ANSWER_CHARS: Final = 200
"""The most characters of a receiver's answer that an outcome repeats."""

_FOR_NOW: Final = frozenset({408, 425, 429})
"""Statuses from 400 to 499 after which the same message may be accepted later."""

_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class Delivered:
    """The receiver has accepted the message. `answer` is what it said, in one line."""

    answer: str


@dataclass(frozen=True)
class TryAgain:
    """The receiver did not answer, or cannot accept the message now.

    Attributes:
        reason: why, in one line.
        after_s: seconds that the receiver asks to wait; None if it does not say.
    """

    reason: str
    after_s: float | None = None


@dataclass(frozen=True)
class Refused:
    """The receiver will never accept this message, or the channel is wrong. `reason` says why, in one line."""

    reason: str


Outcome = Delivered | TryAgain | Refused


def outcome_of_status(status: int, headers: Mapping[str, str], body: str, host: str) -> Outcome:
    """Returns the outcome of a message that was answered with an HTTP status.

    A status from 200 to 299 is a delivery. A redirect is a refusal: the operator gave another address. Statuses from
    400 to 499 are refusals, except 408, 425 and 429.

    Args:
        status: the status.
        headers: the headers of the answer.
        body: the beginning of the answer's body.
        host: who answered, for the reason.
    """
    said = one_line(body)
    text = f"{host} answered {status}" + (f": {said}" if said else "")
    if 200 <= status < 300:
        return Delivered(text)
    if 300 <= status < 400:
        return Refused(f"{host} answered {status}, and redirects are not followed; give the address that it leads to")
    if 400 <= status < 500 and status not in _FOR_NOW:
        return Refused(text)
    return TryAgain(text, retry_after_s(headers))


def one_line(text: str) -> str:
    """Returns the beginning of a text in one line, without control characters."""
    line = _SPACE.sub(" ", text[: 4 * MAX_ANSWER_CHARS]).strip()
    return line if len(line) <= MAX_ANSWER_CHARS else line[: MAX_ANSWER_CHARS - 1] + "…"
