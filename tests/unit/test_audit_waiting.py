"""The audit waits between two rounds, so that the gate of a sink on the same machine can open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.gate.rule import MEAN_S, GateReason
from streams.ops.audit import waiting as module
from streams.ops.audit.checks import Check
from streams.ops.audit.run import with_sink
from streams.ops.audit.waiting import LONGEST_WAIT_S, pause_s, wait_for_progress, why_sink_waits
from tests.helpers import make_settings
from tests.sink_status_support import Served, gate, report, served_fixture, topic  # noqa: F401 - fixtures


@pytest.mark.parametrize("round_s", [0.3, 1.0, 20.0, 600.0])
def test_after_a_round_the_gate_has_time_to_open_and_the_sink_to_write(round_s: float) -> None:
    pause = pause_s(round_s, calm_s=3)
    assert pause - (MEAN_S + 3) >= 4 * round_s - 1e-9
    assert round_s / (round_s + pause) <= 0.2, "the audit keeps one processor busy for at most a fifth of the time"


def test_a_short_round_needs_no_long_pause() -> None:
    assert pause_s(0.1, calm_s=3) == 0.5


class World:
    """A clock that the waits move, and what is on its way at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *looks: list[str]) -> None:
        self.now = 100.0
        self.looks = list(looks)
        self.texts: list[str] = []

        async def sleep(seconds: float) -> None:
            assert seconds > 0
            self.now += seconds

        monkeypatch.setattr(module, "asyncio", type("Clock", (), {"sleep": staticmethod(sleep)}))

    async def on_their_way(self) -> list[str]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def wait(self, *, pause: float, deadline: float) -> float:
        progress: Any = self
        asyncio.run(
            wait_for_progress(
                progress, pause=pause, deadline=deadline, on_wait=self.texts.append, clock=lambda: self.now
            )
        )
        return self.now


def test_with_nothing_on_its_way_it_waits_for_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 107 <= World(monkeypatch, []).wait(pause=7, deadline=1_000) <= 108


def test_it_waits_until_nothing_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, *[["5 posts to count"]] * 8, [])
    assert 107 <= world.wait(pause=0.5, deadline=1_000) <= 109
    assert world.texts == ["5 posts to count"] * 8 + ["all has arrived; checking again soon"]


def test_it_does_not_wait_for_ever_for_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, ["5 posts to count", "the sink waits: the machine is busy (…)"])
    assert world.wait(pause=2, deadline=1_000) == pytest.approx(102 + LONGEST_WAIT_S, abs=1.5)
    assert world.texts[0] == "5 posts to count, the sink waits: the machine is busy (…)"


def test_it_returns_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert World(monkeypatch, ["5 posts to count"]).wait(pause=60, deadline=104) == 104


def test_it_says_why_the_sink_does_not_write(served: Served) -> None:
    settings = make_settings(sink_web_port=served.port)
    assert why_sink_waits(settings) == ""
    served.report = report(gate(GateReason.BUSY, 0.6), topic())
    wanted = "the sink waits: the machine is busy (others use 60 % of the CPU, the limit is 20 %)"
    assert why_sink_waits(settings) == wanted
    checks = [
        Check("rows in Postgres = classified", 5, 4, ok=False, note="1 missing"),
        Check("1m windows in Redis = classified", 5, 4, ok=False),
        Check("1m windows in Postgres = classified", 5, 5, ok=True),
    ]
    assert [check.note for check in with_sink(settings, checks)] == [f"1 missing; {wanted}", "", ""]


def test_a_sink_that_does_not_answer_is_not_mentioned() -> None:
    assert why_sink_waits(make_settings(sink_web_port=0)) == ""
    assert why_sink_waits(make_settings(sink_web_port=9)) == ""
