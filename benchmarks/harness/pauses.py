"""Measures for how long Redis does not answer other clients while a benchmark runs."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import redis

INTERVAL_S = 0.005
"""Seconds between an answer and the next question."""


class Pauses:
    """Asks Redis again and again in a thread while it is entered. A context manager.

    Attributes:
        longest_s: The longest time that an answer took, in seconds.
        over: How many answers took longer than `limit_s`.
    """

    def __init__(self, url: str, limit_s: float) -> None:
        """Prepare to ask the server at `url`."""
        self.longest_s = 0.0
        self.over = 0
        self._limit_s = limit_s
        self._client = redis.Redis.from_url(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pauses", daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            began = time.monotonic()
            self._client.ping()
            took = time.monotonic() - began
            self.longest_s = max(self.longest_s, took)
            self.over += took > self._limit_s

    def __enter__(self) -> Self:
        self._client.ping()  # the connection is not measured
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
