"""How the clients follow a live stream: its messages, its time limits, and the pauses before they connect again."""

from __future__ import annotations

import json
import random

import httpx

from api.client.errors import ApiError
from api.models.live import LiveMessage

STREAM_TIMEOUT = httpx.Timeout(10.0, read=60.0)
"""The service sends a sign of life every 15 seconds, so a stream that is silent for a minute is dead."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

MOST_RETRY_AFTER_S = 300.0
"""The most seconds for which the service may ask a client to wait. Beyond that it asks again."""


class Pauses:
    """The seconds before each attempt to connect again: each is about twice as long as the one before."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def reset(self) -> None:
        """Begin with a short pause again, because a message has come."""
        self._next_s = FIRST_PAUSE_S

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Returns the next pause. It is random, so that many clients do not come back together.

        `retry_after_s` are the seconds for which the service asks to wait, if it does: they come on top.
        """
        pause = self._next_s
        self._next_s = min(2 * pause, LONGEST_PAUSE_S)
        asked_s = min(retry_after_s or 0.0, MOST_RETRY_AFTER_S)
        return asked_s + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def live_message(id_: str, event: str, data: str) -> LiveMessage:
    """Returns a message of the stream.

    Raises:
        ApiError: It is not a message of the HTTP service.
    """
    try:
        return LiveMessage.model_validate({"id": id_, "event": event, **json.loads(data)}, extra="ignore")
    except (TypeError, ValueError, RecursionError) as exc:
        raise ApiError("the live stream has a message that is not one of emostream's HTTP service") from exc
