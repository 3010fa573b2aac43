"""A message that repeats is logged once a minute, and again as soon as what it is about comes back."""

from __future__ import annotations

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
