"""Limits how long a route waits for Redis, whose client repeats a command that gets no answer for ten seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connectors.errors import UnavailableError
from streams.query.time_limit import time_limit

REDIS_S = 4.0
"""Seconds that a route waits for Redis: far more than it needs, and less than a user waits."""


@asynccontextmanager
async def redis_limit() -> AsyncIterator[None]:
    """While entered, wait for Redis.

    Raises:
        UnavailableError: It took longer than `REDIS_S` seconds.
    """
    try:
        async with time_limit(REDIS_S):
            yield
    except TimeoutError as exc:
        raise UnavailableError(f"Redis did not answer within {REDIS_S:g} s") from exc
