"""Measures for how long Redis does not answer other clients while a benchmark runs."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import redis

INTERVAL_S = 0.005
"""Seconds between an answer and the next question."""


class Pauses:
    """Asks Redis again and again in a process of its own while it is entered. A context manager.

    Attributes:
        longest_s: The longest time that an answer took, in seconds. It is known when the context is left.
        over: How many answers took longer than the limit.
    """

    def __init__(self, url: str, limit_s: float) -> None:
        """Prepare to ask the server at `url`. Answers that take longer than `limit_s` are counted."""
        self.longest_s = 0.0
        self.over = 0
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_ask, args=(url, limit_s, theirs), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._ours.recv()  # it has an answer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ours.send(None)
        self.longest_s, self.over = self._ours.recv()
        self._process.join()


def _ask(url: str, limit_s: float, parent: Connection) -> None:
    longest_s, over = 0.0, 0
    with redis.Redis.from_url(url) as client:
        client.ping()  # the connection is not measured
        parent.send(None)
        while not parent.poll(INTERVAL_S):
            began = time.monotonic()
            client.ping()
            took = time.monotonic() - began
            longest_s = max(longest_s, took)
            over += took > limit_s
    parent.send((longest_s, over))
