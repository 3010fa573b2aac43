"""The gate of the sink with a clock and counters of the test: its thread fails, hangs and is too late."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable

import pytest

from connectors.errors import LoadError
from connectors.machine.load import LoadReader, Machine
from connectors.machine.sample import Sample
from streams.errors import BackfillStoppedError
from streams.gate.cpu_aware import CpuAwareGate, Gate, OpenGate, sink_gate, warm_gate
from streams.gate.rule import MEAN_S, SAMPLE_S, GateReason, GateRule, GateState
from streams.settings import load_settings
from streams.sink.backfill.wait import gate_waiter
from tests.helpers import wait_for

CALM_S = 2.0


class Counters(LoadReader):
    """Counters of a machine whose load the test sets."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(Machine(), clock=clock)
        self.others = 0.0
        self.failure: Exception | None = None
        self._last = Sample(clock(), 0.0, 0.0, 1.0)

    def go_back(self) -> None:
        """As no counter can."""
        self._last = self._last._replace(busy=self._last.busy - 100)

    def read(self) -> Sample:
        if self.failure is not None:
            raise self.failure
        at = self._clock()
        busy = self._last.busy + self.others * (at - self._last.at)
        self._last = Sample(at, busy, 0.0, 1.0)
        return self._last


class Harness:
    """A gate whose thread does not run, with a clock that the test moves."""

    def __init__(self, *, max_delay_s: float = 0) -> None:
        self.now = 500.0
        self.oldest_s: float | None = None
        self.load = Counters(lambda: self.now)
        self.gate = CpuAwareGate(
            GateRule(limit=0.2, calm_s=CALM_S, max_delay_s=max_delay_s),
            self.load,
            lambda: self.oldest_s,
            clock=lambda: self.now,
        )

    def run(self, seconds: float, others: float = 0.0) -> bool:
        self.load.others = others
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.gate.take_sample()
        return self.gate.is_open()


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.gate.take_sample()
    assert harness.run(3)
    return harness


def test_a_gate_that_was_not_started_is_closed() -> None:
    gate = Harness().gate
    assert not gate.is_open()
    assert gate.state.reason is GateReason.STARTING


def test_a_sample_that_is_too_old_closes_it_until_the_load_was_low_again(harness: Harness) -> None:
    harness.now += 0.99
    assert harness.gate.is_open()
    harness.now += 0.02  # for example because the process was paused
    assert not harness.gate.is_open()
    assert harness.gate.state.reason is GateReason.STARTING
    assert not harness.run(2.75)
    assert harness.run(0.5)


def test_a_pause_is_logged_once(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.now += 60
    harness.run(0.25)
    harness.now += 60
    harness.run(3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the gate was reset" in caplog.text


def test_counters_that_stay_implausible_are_logged_once(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        harness.load.go_back()
        assert not harness.run(0.25)
    assert len(caplog.records) == 1


def test_counters_that_cannot_be_read_at_the_start_are_an_error() -> None:
    harness = Harness()
    harness.load.failure = LoadError("cannot read the load")
    with pytest.raises(LoadError, match="cannot read the load"):
        harness.gate.start()
    assert not harness.gate.is_open()


def cannot_tell(gate: Gate) -> bool:
    """Whether an error has reached whoever asks."""
    try:
        gate.is_open()
    except (LoadError, RuntimeError):
        return True
    return False


@pytest.mark.parametrize("failure", [LoadError("cannot read the load"), RuntimeError("a defect")])
def test_is_open_raises_the_error_of_the_thread(failure: Exception) -> None:
    load = Counters(time.monotonic)
    gate = CpuAwareGate(GateRule(limit=0.2, calm_s=0), load)
    with gate:
        wait_for(gate.is_open)
        load.failure = failure
        wait_for(lambda: cannot_tell(gate))
        assert not gate.state.is_open
        for _ in range(2):
            with pytest.raises(type(failure), match=str(failure)):
                gate.is_open()


def test_is_open_raises_an_error_of_the_age_too() -> None:
    def oldest_s() -> float:
        if threading.current_thread().name == "gate":
            raise LoadError("no age")
        return 0.0

    with CpuAwareGate(GateRule(limit=0.2, calm_s=0), Counters(time.monotonic), oldest_s) as gate:
        wait_for(lambda: cannot_tell(gate))
        with pytest.raises(LoadError, match="no age"):
            gate.is_open()


def test_a_thread_that_hangs_closes_it() -> None:
    load = Counters(time.monotonic)
    hang, hung = threading.Event(), threading.Event()
    read = load.read

    def hanging() -> Sample:
        if hang.is_set():
            hung.set()
            while hang.is_set():
                time.sleep(0.01)
        return read()

    load.read = hanging  # type: ignore[method-assign]
    with CpuAwareGate(GateRule(limit=0.2, calm_s=0), load) as gate:
        wait_for(gate.is_open)
        hang.set()
        assert hung.wait(60)
        wait_for(lambda: not gate.is_open())
        hang.clear()
        wait_for(gate.is_open)


def test_a_stopped_gate_is_closed_and_its_thread_has_ended() -> None:
    gate = CpuAwareGate(GateRule(limit=0.2, calm_s=0), Counters(time.monotonic))
    gate.start()
    wait_for(gate.is_open)
    gate.stop()
    gate.stop()
    assert not gate.is_open()
    assert not any(thread.name == "gate" for thread in threading.enumerate())


def test_since_is_in_seconds_since_1970(harness: Harness) -> None:
    begin = time.time()
    harness.run(1, 1.0)
    state = harness.gate.state
    assert not state.is_open
    assert begin <= state.since <= time.time()
    harness.run(1, 1.0)
    assert harness.gate.state.since == state.since
    assert json.loads(json.dumps(dataclasses.asdict(state)))["reason"] == "busy"
    harness.run(5)
    harness.now += 7  # stale: closed since the last sample
    before = time.time()
    since = harness.gate.state.since
    assert before - 7 <= since <= time.time() - 7


def test_an_overdue_record_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = Harness(max_delay_s=60)
    harness.gate.take_sample()
    harness.oldest_s = 59
    assert not harness.run(5, 0.9)
    harness.oldest_s = 61
    assert harness.run(5, 0.9)
    assert [record.message.partition(":")[2] for record in caplog.records] == [" writing whatever the load"]
    harness.oldest_s = 1
    assert not harness.run(5, 0.9)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "no record waits for EMOSTREAM_SINK_MAX_DELAY_S any more" in caplog.records[-1].message


def test_a_backend_that_cannot_be_seen_is_logged(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not harness.gate.add_backend(2**22 + 1, 5432)  # above every process number of Linux
    assert "counts as load of others" in caplog.text
    harness.gate.drop_backend(2**22 + 1)


def test_the_open_gate_is_forced() -> None:
    gate = OpenGate()
    assert gate.is_open()
    assert (gate.state.is_open, gate.state.reason) == (True, GateReason.FORCED)
    assert gate.state.since == pytest.approx(time.time(), abs=60)


class Simulated(LoadReader):
    """Takes the place of the machine's counters; time passes with each sample, ahead of the clock."""

    def __init__(self, *, need_pressure: bool = False) -> None:
        super().__init__(Machine())
        self.others = self.stalls = 0.0
        self._last = Sample(time.monotonic(), 0.0, 0.0, 1.0, (0.0,))

    def read(self) -> Sample:
        before = self._last
        stalled = (before.stalled[0] + self.stalls * SAMPLE_S,)
        self._last = Sample(before.at + SAMPLE_S, before.busy + self.others * SAMPLE_S, 0.0, 1.0, stalled)
        return self._last


class FromSettings:
    """The gate that some settings make, under a load that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
        loads: list[Simulated] = []

        def load_reader(**given: bool) -> Simulated:
            loads.append(Simulated(**given))
            return loads[-1]

        monkeypatch.setattr("streams.gate.cpu_aware.LoadReader", load_reader)
        self.oldest_s = 0.0
        found = gate_with(lambda: self.oldest_s, **texts)
        assert isinstance(found, CpuAwareGate)
        self.gate = found
        (self.load,) = loads

    def run(self, seconds: float, others: float, stalls: float = 0.0) -> GateState:
        self.load.others, self.load.stalls = others, stalls
        for _ in range(round(seconds / SAMPLE_S)):
            self.gate.take_sample()
        return self.gate.state


def gate_with(oldest_s: Callable[[], float | None] = lambda: None, **texts: str) -> Gate:
    environ = {f"EMOSTREAM_SINK_{name}": text for name, text in texts.items()}
    return sink_gate(load_settings(env_file=None, environ=environ), oldest_s)


def test_the_settings_say_at_which_load_it_closes_and_after_how_much_calm_it_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = FromSettings(monkeypatch, CPU_PERCENT="35", CALM_S="4")
    assert not found.run(MEAN_S + 3.5, 0.3).is_open
    assert found.run(1, 0.3).is_open
    assert found.run(2, 0.34).is_open
    assert found.run(2, 0.36).reason is GateReason.BUSY
    assert found.run(MEAN_S + 5, 0.3, stalls=1.0).is_open, "no pressure closes it unless the settings say so"


def test_the_settings_say_at_which_pressure_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FromSettings(monkeypatch, CPU_PERCENT="100", CALM_S="1", PRESSURE_PERCENT="50")
    assert found.run(4, 0.9, stalls=0.4).is_open
    assert found.run(2, 0.9, stalls=0.6).reason is GateReason.PRESSURE


def test_the_settings_say_how_long_a_record_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FromSettings(monkeypatch, MAX_DELAY_S="7")
    found.oldest_s = 6.9
    assert not found.run(4, 0.9).is_open
    found.oldest_s = 7.1
    assert found.run(1, 0.9).reason is GateReason.OVERDUE


def test_a_limit_of_100_percent_is_no_limit_unless_there_is_one_of_the_pressure() -> None:
    with gate_with(CPU_PERCENT="100") as gate:
        assert gate.is_open()
    assert isinstance(gate_with(CPU_PERCENT="100", PRESSURE_PERCENT="50"), CpuAwareGate)


def test_a_backfill_waits_for_the_gate_and_ends_at_the_stop() -> None:
    stop = threading.Event()
    waited: list[GateReason] = []
    never_started = CpuAwareGate(GateRule(limit=0.2, calm_s=0), Counters(time.monotonic))

    def on_wait(state: GateState) -> None:
        waited.append(state.reason)
        stop.set()

    gate_waiter(OpenGate(), stop)()
    with pytest.raises(BackfillStoppedError):
        gate_waiter(never_started, stop, on_wait)()
    assert waited == [GateReason.STARTING]
    with pytest.raises(BackfillStoppedError):
        gate_waiter(OpenGate(), stop)()


def test_the_warmer_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Simulated] = []

    def load_reader(**given: bool) -> Simulated:
        loads.append(Simulated(**given))
        return loads[-1]

    monkeypatch.setattr("streams.gate.cpu_aware.LoadReader", load_reader)
    environ = {"EMOSTREAM_WARM_CPU_PERCENT": "35", "EMOSTREAM_SINK_CPU_PERCENT": "5"}
    gate = warm_gate(load_settings(env_file=None, environ=environ))
    assert isinstance(gate, CpuAwareGate)
    for others, is_open in ((0.3, True), (0.36, False), (0.3, True)):
        loads[0].others = others
        for _ in range(round(2 * (MEAN_S + 1) / SAMPLE_S)):
            gate.take_sample()
        assert gate.is_open() is is_open
    environ["EMOSTREAM_WARM_CPU_PERCENT"] = "100"
    assert isinstance(warm_gate(load_settings(env_file=None, environ=environ)), OpenGate)
