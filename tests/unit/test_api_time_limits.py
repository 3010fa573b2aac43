"""How long a route waits for Redis."""

from __future__ import annotations

import asyncio

import pytest

from api import time_limits
from connectors.errors import UnavailableError


async def test_a_redis_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "REDIS_S", 0.01)
    with pytest.raises(UnavailableError, match=r"Redis did not answer within 0\.01 s"):
        async with time_limits.redis_limit():
            await asyncio.Event().wait()


async def test_what_redis_answers_in_time_is_kept() -> None:
    async with time_limits.redis_limit():
        found = 7
    assert found == 7
