"""A preview of a rule has an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from streams.alerts.backtest import preview as module
from streams.alerts.rules.rule import Rule
from streams.errors import DeadlineExceededError

RULE = Rule.model_validate(
    {
        "id": "a",
        "name": "a",
        "keywords": ["tea"],
        "window_s": 60,
        "measure": {"of": "volume"},
        "condition": {"type": "threshold", "limit": 1},
    }
)


def test_a_preview_gives_up_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    class History:
        def __init__(self, _connection: object) -> None:
            pass

        def sizes(self) -> dict[int, Any]:
            return {60: SimpleNamespace(first=0, end=86_400_000)}

    @contextmanager
    def connect(*_: object, **__: object) -> Iterator[Any]:
        yield SimpleNamespace(execute=lambda *_: None)

    def run(*_: object, progress: Any, **__: object) -> None:
        while True:  # only the time ends it
            shares.append(0.5)
            progress(0.5)

    times = iter([0.0, 1.0, 9.9, 10.1])
    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(module, "PastWindows", History)
    monkeypatch.setattr(module, "run", run)
    with pytest.raises(DeadlineExceededError, match="took longer than 10 s; take fewer keywords or hours"):
        module.preview("postgresql://x", RULE, hours=1, limit_s=10, clock=lambda: next(times))
    assert len(shares) == 3
