"""A message that repeats is logged once a minute, and again as soon as what it is about comes back."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors.repeats import INTERVAL_S, Repeats


def test_one_in_an_interval_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1.0
    monkeypatch.setattr("connectors.repeats.time.monotonic", lambda: clock)
    repeats = Repeats()
    assert [repeats.due("redis"), repeats.due("redis"), repeats.due("kafka")] == [True, False, True]
    clock += INTERVAL_S
    assert [repeats.due("redis"), repeats.due("redis")] == [True, False]


def test_after_its_end_a_message_is_due_at_once() -> None:
    repeats = Repeats()
    assert repeats.due("redis")
    repeats.end("redis")
    repeats.end("kafka")
    assert repeats.due("redis")


def test_threads_may_ask_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients of a process share one, and each logs in a thread of its own."""
    monkeypatch.setattr("connectors.repeats.time.monotonic", lambda: 1.0)
    repeats = Repeats()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            asked = [
                pool.submit(lambda first=first: [repeats.due(n) for n in range(first, 1_200)]) for first in range(4)
            ]  # type: ignore[misc]
    finally:
        sys.setswitchinterval(interval)
    assert sum(sum(answers.result()) for answers in asked) == 1_200
