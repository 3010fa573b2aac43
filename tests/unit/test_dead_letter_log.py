"""The worker's log names its dead letters, and a stream of them does not fill it."""

from __future__ import annotations

import logging

import pytest

from streams.dead_letters import LOG_INTERVAL_S, DeadLetterLog
from streams.records import DeadPost, DeadReason, Origin


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def letter(offset: int, reason: DeadReason = DeadReason.INVALID_JSON, error: str = "is not JSON") -> DeadPost:
    return DeadPost.of(b"{", b"key", Origin("posts.raw", 3, offset), reason, error)


def test_the_first_dead_letter_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    DeadLetterLog("posts.dead", Clock()).add([letter(17, error="a\nb")])
    assert caplog.messages == [
        "1 dead letter on posts.dead (invalid_json 1); the last is posts.raw[3]@17, a b. "
        "`emostream tail dead` shows them"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_those_that_follow_are_logged_together(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = DeadLetterLog("posts.dead", clock)
    log.add([letter(0)])
    for offset in range(1, 1_000):
        clock.now += LOG_INTERVAL_S / 2_000
        log.add([letter(offset), letter(offset, DeadReason.EMPTY_TEXT)])
    assert len(caplog.messages) == 1
    clock.now += LOG_INTERVAL_S
    log.add([])
    assert len(caplog.messages) == 1
    log.add([letter(1_000)])
    assert caplog.messages[1].startswith("1,999 dead letters on posts.dead (invalid_json 1,000, empty_text 999); ")
    assert "posts.raw[3]@1000" in caplog.messages[1]


def test_the_rest_is_logged_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    log = DeadLetterLog("posts.dead", Clock())
    log.flush()
    log.add([letter(0)])
    log.add([letter(1)])
    log.flush()
    log.flush()
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "1 dead letter on posts.dead (invalid_json 1)"
    ] * 2
