"""Waits in tests that run in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

PATIENCE_S = 180.0
"""Seconds after which a wait fails. It is far above what any wait takes, so that a slow machine fails no test."""


async def until(condition: Callable[[], bool], *, what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds, while other tasks run. If it does not in time, fail with `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s: {what}")
        await asyncio.sleep(0.05)
