"""The worker's log names its dead letters, and a stream of them does not fill it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streams.dead_letters import DeadLetterLog
from streams.records import DeadPost, DeadReason, Origin


def letter(offset: int, reason: DeadReason = DeadReason.INVALID_JSON, error: str = "is not JSON") -> DeadPost:
    return DeadPost.of(b"{", b"key", Origin("posts.raw", 3, offset), reason, error)


async def test_the_first_dead_letter_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    DeadLetterLog("posts.dead").add([letter(17, error="a\nb")])
    assert caplog.messages == [
        "1 dead letter on posts.dead (invalid_json 1); the last is posts.raw[3]@17, a b. "
        "`emostream tail dead` shows them"
    ]
    assert caplog.records[0].levelno == logging.WARNING


async def test_those_that_follow_are_logged_together(caplog: pytest.LogCaptureFixture) -> None:
    log = DeadLetterLog("posts.dead", interval_s=3_600)
    log.add([letter(0)])
    for offset in range(1, 1_000):
        log.add([letter(offset), letter(offset, DeadReason.EMPTY_TEXT)])
    assert len(caplog.messages) == 1
    log.flush()
    assert caplog.messages[1].startswith("1,998 dead letters on posts.dead (invalid_json 999, empty_text 999); ")
    assert "posts.raw[3]@999" in caplog.messages[1]
    log.flush()
    assert len(caplog.messages) == 2


async def test_those_that_follow_are_logged_even_if_no_other_comes(caplog: pytest.LogCaptureFixture) -> None:
    log = DeadLetterLog("posts.dead", interval_s=0.2)
    for offset in range(3):
        log.add([letter(offset)])
    async with asyncio.timeout(60):
        while sum(int(message.split()[0]) for message in caplog.messages) < 3:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    log.flush()
    assert sum(int(message.split()[0]) for message in caplog.messages) == 3
