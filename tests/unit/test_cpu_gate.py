"""The rule of the gate, on a machine of two processors, with a limit of 20 % and a `calm_s` of two seconds."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from connectors.machine.sample import Sample
from streams.gate.rule import GateReason, GateRule, GateState

LIMIT = 0.2
CALM_S = 2.0
PROCESSORS = 2.0
STEP_S = 0.25


class Machine:
    """Counters of a machine under loads, which are shares of all processors."""

    def __init__(self, *, calm_s: float = CALM_S, pressure_limit: float | None = None, max_delay_s: float = 0) -> None:
        self.gate = GateRule(limit=LIMIT, calm_s=calm_s, pressure_limit=pressure_limit, max_delay_s=max_delay_s)
        self.sample = Sample(1_000.0, 50.0, 7.0, PROCESSORS, (1.0, 2.0, 3.0))
        self.oldest_s: float | None = None
        self.states = [self.gate.update(self.sample)]

    def run(
        self,
        seconds: float,
        others: float,
        own: float = 0.0,
        stalls: tuple[float, float, float] = (0, 0, 0),
        *,
        capacity: float = PROCESSORS,
        step: float = STEP_S,
    ) -> GateState:
        """Add the samples of some seconds; returns the last decision."""
        for _ in range(round(seconds / step)):
            last = self.sample
            self.sample = Sample(
                last.at + step,
                last.busy + (others + own) * capacity * step,
                last.own + own * capacity * step,
                capacity,
                tuple(then + stall * step for then, stall in zip(last.stalled, stalls, strict=True)),
            )
            self.states.append(self.gate.update(self.sample, self.oldest_s))
        return self.states[-1]

    def disturb(self, **fields: float) -> GateState:
        """Add one sample, a step later, in which some fields are replaced; returns the decision."""
        at = self.sample.at + STEP_S
        self.states.append(self.gate.update(self.sample._replace(**{"at": at, **fields})))
        return self.states[-1]


def opened(**settings: float) -> Machine:
    machine = Machine(**settings)
    assert machine.run(1 + settings.get("calm_s", CALM_S), 0.05).is_open
    return machine


def test_it_starts_closed_and_opens_after_a_second_and_calm_s() -> None:
    machine = Machine()
    machine.run(3.25, 0.05)
    reasons = [state.reason for state in machine.states]
    assert reasons[:4] == [GateReason.STARTING] * 4
    assert reasons[4:12] == [GateReason.CALMING] * 8
    assert reasons[12:] == [GateReason.IDLE] * 2
    assert [state.is_open for state in machine.states] == [False] * 12 + [True] * 2


def test_the_utilization_is_that_of_others_over_the_last_second() -> None:
    machine = Machine()
    machine.run(2, 0.3)
    assert machine.run(0.5, 0.1).utilization == pytest.approx(0.2)
    assert machine.run(0.5, 0.1, own=0.8).utilization == pytest.approx(0.1)


def test_the_utilization_is_at_most_one() -> None:
    machine = Machine()
    assert machine.run(2, 1.5).utilization == 1.0  # a cgroup may exceed its quota for a moment


def test_it_closes_with_the_first_sample_at_the_limit() -> None:
    machine = opened()
    assert machine.run(1, 0.19).is_open
    state = machine.run(1, LIMIT + 1e-9)
    assert (state.is_open, state.reason) == (False, GateReason.BUSY)


@pytest.mark.parametrize(("load", "within"), [(1.0, 0.25), (0.6, 0.5), (0.39, 0.75), (0.26, 1.0)])
def test_a_higher_load_closes_it_sooner(load: float, within: float) -> None:
    machine = opened()
    machine.run(2, 0.0)
    assert machine.run(within - STEP_S, load).is_open
    assert not machine.run(STEP_S, load).is_open


def test_a_load_between_the_two_limits_neither_opens_nor_closes_it() -> None:
    machine = opened()
    assert machine.run(30, 0.19).is_open
    machine.run(1, 0.5)
    state = machine.run(30, 0.19)
    assert (state.is_open, state.reason) == (False, GateReason.BUSY)


def test_the_load_must_stay_low_without_interruption() -> None:
    machine = opened()
    machine.run(1, 0.5)
    assert machine.run(2.5, 0.05).reason is GateReason.CALMING
    machine.run(0.5, 0.45)
    assert machine.run(0.5, 0.05).reason is GateReason.BUSY  # the burst is part of the last second
    assert machine.run(2.0, 0.05).reason is GateReason.CALMING
    assert machine.run(0.25, 0.05).reason is GateReason.IDLE


def test_without_calm_s_it_opens_as_soon_as_the_load_is_low() -> None:
    machine = opened(calm_s=0)
    assert not machine.run(1, 0.5).is_open
    assert machine.run(1, 0.05).is_open


def test_own_load_never_closes_it() -> None:
    assert opened().run(60, 0.1, own=0.9).reason is GateReason.IDLE


def test_own_time_slightly_above_all_time_is_no_load_and_no_reset() -> None:
    machine = opened()
    last = machine.sample
    for step in range(1, 41):  # own time is metered more finely: 10 % more of it than of all time
        sample = Sample(last.at + step * 0.25, last.busy + step * 0.25, last.own + step * 0.275, 2.0, last.stalled)
        state = machine.gate.update(sample)
        assert state.is_open
    assert state.utilization == 0
    assert machine.gate.resets == 0


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"at": 900.0}, id="the clock goes back"),
        pytest.param({"at": 2_000.0}, id="no sample for a long time"),
        pytest.param({"busy": 3.0}, id="the machine's time goes back"),
        pytest.param({"busy": 50.0}, id="the machine's time goes back by a little"),
        pytest.param({"busy": math.nan}, id="all time is no number"),
        pytest.param({"own": 6.0}, id="own time goes back"),
        pytest.param({"own": 70.0}, id="own time above all time"),
        pytest.param({"own": math.nan}, id="own time is no number"),
        pytest.param({"capacity": 0.0}, id="no processor"),
    ],
)
def test_implausible_counters_close_it_until_the_load_was_low_again(fields: dict[str, float]) -> None:
    machine = opened()
    state = machine.disturb(**fields)
    assert (state.is_open, state.reason, state.utilization) == (False, GateReason.STARTING, None)
    assert machine.gate.resets == 1
    machine.sample = machine.sample._replace(at=max(3_000.0, machine.sample.at))
    machine.run(0.25, 0.05)  # resets once more, because the clock jumps
    assert not any(machine.run(0.25, 0.05).is_open for _ in range(11))
    assert machine.run(0.25, 0.05).is_open


@pytest.mark.parametrize("counter", ["busy", "own"])
def test_a_counter_that_stays_below_zero_resets_it_each_time(counter: str) -> None:
    machine = opened()
    for resets in (1, 2, 3):
        assert not machine.disturb(**{counter: -1.0}).is_open
        assert machine.gate.resets == resets


def test_an_implausible_own_time_does_not_open_a_gate_without_calm_s() -> None:
    machine = Machine(calm_s=0)
    machine.run(5, 0.9)
    assert not machine.disturb(own=1e9).is_open
    assert not any(machine.run(STEP_S, 0.9).is_open for _ in range(8))


def test_counters_that_go_back_a_little_do_not_reset_it() -> None:
    machine = opened()
    assert machine.disturb(busy=machine.sample.busy - 0.02).is_open
    assert machine.gate.resets == 0


def test_the_smaller_quota_counts_when_it_changes() -> None:
    machine = opened()
    machine.run(1, 0.19, capacity=2.0)
    assert machine.disturb(capacity=1.0, busy=machine.sample.busy + 0.095).utilization == pytest.approx(0.38)
    machine = opened()
    machine.run(1, 0.19, capacity=2.0)
    assert machine.disturb(capacity=4.0, busy=machine.sample.busy + 0.095).utilization == pytest.approx(0.19)


def test_stalls_close_it_and_the_worst_resource_counts() -> None:
    machine = opened(pressure_limit=0.4)
    assert machine.run(5, 0.05, stalls=(0.39, 0.3, 0.2)).is_open
    state = machine.run(1, 0.05, stalls=(0.0, 0.41, 0.0))
    assert (state.is_open, state.reason) == (False, GateReason.PRESSURE)
    assert state.pressure == pytest.approx(0.41)
    assert machine.run(10, 0.05, stalls=(0.0, 0.37, 0.0)).reason is GateReason.PRESSURE  # it opens below 0.36
    assert machine.run(2.5, 0.05, stalls=(0.0, 0.35, 0.0)).reason is GateReason.CALMING
    assert machine.run(0.25, 0.05, stalls=(0.0, 0.35, 0.0)).is_open


def test_without_a_limit_the_pressure_is_shown_and_does_not_close_it() -> None:
    state = opened().run(2, 0.05, stalls=(0.9, 0.1, 0.0))
    assert state.is_open
    assert state.pressure == pytest.approx(0.9)


def test_a_limit_of_the_pressure_needs_samples_that_have_it() -> None:
    with pytest.raises(ValueError, match="pressure"):
        GateRule(limit=LIMIT, calm_s=0, pressure_limit=0.5).update(Sample(0, 0, 0, 1))


def test_an_overdue_record_opens_it_whatever_the_load() -> None:
    machine = Machine(max_delay_s=100)
    machine.oldest_s = 99.9
    assert not machine.run(3, 1.0).is_open
    machine.oldest_s = 100
    state = machine.run(0.25, 1.0)
    assert (state.is_open, state.reason, state.utilization) == (True, GateReason.OVERDUE, pytest.approx(1.0))


def test_overdue_ends_when_the_backlog_is_clearly_younger() -> None:
    machine = Machine(max_delay_s=100)
    machine.oldest_s = 100
    assert machine.run(3, 1.0).is_open
    machine.oldest_s = 90
    assert machine.run(3, 1.0).reason is GateReason.OVERDUE
    machine.oldest_s = 89.9
    assert machine.run(0.25, 1.0).reason is GateReason.BUSY
    machine.oldest_s = 99
    assert not machine.run(0.25, 1.0).is_open


def test_an_overdue_record_opens_it_from_the_first_sample_until_none_waits() -> None:
    gate = GateRule(limit=LIMIT, calm_s=CALM_S, max_delay_s=100)
    assert gate.update(Sample(0, 0, 0, 1), 500).reason is GateReason.OVERDUE
    assert gate.update(Sample(0.25, 0, 0, 1), None).reason is GateReason.STARTING


def test_without_a_deadline_nothing_is_overdue() -> None:
    machine = Machine()
    machine.oldest_s = 1e12
    assert machine.run(5, 0.5).reason is GateReason.BUSY


def test_the_load_is_measured_while_a_record_is_overdue() -> None:
    machine = Machine(max_delay_s=100)
    machine.oldest_s = 200
    assert machine.run(5, 0.05).reason is GateReason.OVERDUE
    machine.oldest_s = 10
    assert machine.run(0.25, 0.05).reason is GateReason.IDLE


def test_since_is_when_it_last_opened_or_closed() -> None:
    machine = opened()
    opened_at = machine.sample.at
    assert machine.run(5, 0.05).since == opened_at
    assert machine.run(0.25, 1.0).since == opened_at + 5.25
    assert machine.run(2, 1.0).since == opened_at + 5.25


def test_a_decision_can_be_written_as_json() -> None:
    state = opened().run(1, 0.125)
    assert json.loads(json.dumps(dataclasses.asdict(state))) == {
        "is_open": True,
        "reason": "idle",
        "utilization": 0.125,
        "pressure": 0.0,
        "since": 1_003.0,
    }
