"""The rule of the gate under hundreds of simulated loads.

A trace is a list of stretches, in each of which the load is constant. Samples are taken at uneven times. Times and
loads are whole 64ths, so that sums of floats are exact. Counters that are `ticked` count hundredths of a second, as the
kernel's do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.machine.sample import Sample
from streams.gate.rule import MEAN_S, REOPEN, SAMPLE_S, GateReason, GateRule, GateState

UNIT = 1 / 64
PROCESSORS = 4
LATE_S = 6 * UNIT
"""Seconds that a sample may be late."""

PACE_S = SAMPLE_S + LATE_S
SHORTEST_S = MEAN_S - SAMPLE_S / 2
LONGEST_S = SHORTEST_S + PACE_S
"""The rule averages the utilization since a sample whose age is between these two."""

NOISE = 4 * 0.01 / (SHORTEST_S * PROCESSORS)
"""Largest error of a utilization by ticks: each of two counters is off by up to one tick at both ends."""

LIMITS = st.sampled_from([0.1, 0.2, 0.5])
CALMS = st.sampled_from([0.0, 1.0, 3.0])
SEEDS = st.integers(0, 2**32 - 1)

many = settings(max_examples=300, deadline=None)


class Stretch(NamedTuple):
    """A constant load, as shares of all processors."""

    seconds: float
    others: float
    own: float


class Step(NamedTuple):
    """A sample, the true CPU time of others by then, and the decision."""

    sample: Sample
    others_s: float
    state: GateState


@st.composite
def stretches(draw: st.DrawFn) -> list[Stretch]:
    """Returns a trace, mostly of loads near the limits. The sink takes any part of what others leave free."""
    units = st.sampled_from([0, 3, 6, 9, 10, 11, 12, 13, 14, 20, 32, 40, 64]) | st.integers(0, 64)
    found = []
    for _ in range(draw(st.integers(1, 12))):
        others = draw(units)
        own = draw(st.integers(0, 64 - others))
        found.append(Stretch(draw(st.integers(4, 512)) * UNIT, others * UNIT, own * UNIT))
    return found


def samples(trace: list[Stretch], seed: int, *, ticked: bool) -> Iterator[tuple[Sample, float]]:
    """Yield the samples of a trace, each with the true CPU time of others."""
    rng = random.Random(seed)
    total = sum(stretch.seconds for stretch in trace)
    at = 0.0
    while at <= total:
        others, own = cpu_time(trace, at)
        busy = others + own
        yield Sample(at, ticks(busy) if ticked else busy, ticks(own) if ticked else own, PROCESSORS), others
        at += SAMPLE_S + rng.randint(0, 6) * UNIT


def cpu_time(trace: list[Stretch], at: float) -> tuple[float, float]:
    """Returns the processor seconds of others and of the sink until a time."""
    others = own = begin = 0.0
    for stretch in trace:
        part = min(max(at - begin, 0.0), stretch.seconds) * PROCESSORS
        others += stretch.others * part
        own += stretch.own * part
        begin += stretch.seconds
    return others, own


def ticks(seconds: float) -> float:
    return math.floor(seconds * 100) / 100


def simulate(trace: list[Stretch], gate: GateRule, seed: int, *, ticked: bool = True) -> list[Step]:
    steps = [Step(sample, others, gate.update(sample)) for sample, others in samples(trace, seed, ticked=ticked)]
    assert gate.resets == 0
    return steps


def means(steps: list[Step], index: int) -> list[float]:
    """Returns the true utilizations by others over every time that the rule may take as the last second."""
    now = steps[index]
    recent = steps[max(0, index - math.ceil(LONGEST_S / SAMPLE_S)) : index]
    ages = [(now.sample.at - then.sample.at, now.others_s - then.others_s) for then in recent]
    return [done / (age * PROCESSORS) for age, done in ages if SHORTEST_S <= age <= LONGEST_S]


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_it_is_never_open_at_or_above_the_limit(trace: list[Stretch], limit: float, calm_s: float, seed: int) -> None:
    steps = simulate(trace, GateRule(limit=limit, calm_s=calm_s), seed)
    for index, (_, _, state) in enumerate(steps):
        if state.is_open:
            assert state.utilization is not None
            assert state.utilization < limit
            assert min(means(steps, index)) < limit + NOISE


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_a_load_of_three_times_the_limit_closes_it_within_a_second(
    trace: list[Stretch], limit: float, calm_s: float, seed: int
) -> None:
    steps = simulate(trace, GateRule(limit=limit, calm_s=calm_s), seed)
    begin = 0.0
    for stretch in trace:
        if stretch.others >= min(1.0, 3 * limit) + NOISE:
            # The first sample after this time closes the gate, at most `PACE_S` later.
            seen_from = begin + (limit + NOISE) * LONGEST_S / stretch.others
            assert seen_from + PACE_S < begin + 1.0
            inside = [step for step in steps if seen_from <= step.sample.at <= begin + stretch.seconds]
            assert not any(step.state.is_open for step in inside)
        begin += stretch.seconds


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_it_opens_when_the_load_stays_low(trace: list[Stretch], limit: float, calm_s: float, seed: int) -> None:
    quiet = Stretch(LONGEST_S + calm_s + 2 * PACE_S, (math.floor((REOPEN * limit - NOISE) / UNIT)) * UNIT, 0.5)
    steps = simulate([*trace, quiet], GateRule(limit=limit, calm_s=calm_s), seed)
    assert steps[-1].state.reason is GateReason.IDLE
    calm_from = None
    for sample, _, state in steps:
        low = state.utilization is not None and state.utilization < REOPEN * limit
        calm_from = (sample.at if calm_from is None else calm_from) if low else None
        if calm_from is not None and sample.at >= calm_from + calm_s:
            assert state.is_open


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_it_opens_only_after_an_uninterrupted_low_load(
    trace: list[Stretch], limit: float, calm_s: float, seed: int
) -> None:
    steps = simulate(trace, GateRule(limit=limit, calm_s=calm_s), seed)
    assert not steps[0].state.is_open
    openings = [now for before, now in pairwise(steps) if now.state.is_open and not before.state.is_open]
    for opening in openings:
        for step in steps:
            if opening.sample.at - calm_s <= step.sample.at <= opening.sample.at:
                assert step.state.utilization is not None
                assert step.state.utilization < REOPEN * limit
        assert opening.state.since == opening.sample.at
    assert all(later.sample.at - sooner.sample.at >= calm_s for sooner, later in pairwise(openings))


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_own_load_of_any_size_changes_nothing(trace: list[Stretch], limit: float, calm_s: float, seed: int) -> None:
    without = [stretch._replace(own=0.0) for stretch in trace]
    full = [stretch._replace(own=1.0 - stretch.others) for stretch in trace]
    states = [
        [step.state for step in simulate(variant, GateRule(limit=limit, calm_s=calm_s), seed, ticked=False)]
        for variant in (trace, without, full)
    ]
    assert states[0] == states[1] == states[2]


@many
@given(stretches(), LIMITS, CALMS, SEEDS, st.lists(st.integers(0, 200), max_size=20))
def test_an_overdue_record_opens_it_and_does_not_change_later_decisions(
    trace: list[Stretch], limit: float, calm_s: float, seed: int, ages: list[int]
) -> None:
    plain = GateRule(limit=limit, calm_s=calm_s)
    gate = GateRule(limit=limit, calm_s=calm_s, max_delay_s=100)
    for index, (sample, _) in enumerate(samples(trace, seed, ticked=True)):
        age = ages[index % len(ages)] if ages else None
        expected, state = plain.update(sample), gate.update(sample, age)
        assert state.utilization == expected.utilization
        if age is not None and age >= 100:
            assert (state.is_open, state.reason) == (True, GateReason.OVERDUE)
        elif age is None or age < REOPEN * 100:
            assert (state.is_open, state.reason) == (expected.is_open, expected.reason)
        else:
            assert state.reason in {GateReason.OVERDUE, expected.reason}


FAULTS: list[Callable[[Sample], Sample]] = [
    lambda sample: sample._replace(busy=-1.0),
    lambda sample: sample._replace(busy=math.nan),
    lambda sample: sample._replace(own=-1.0),
    lambda sample: sample._replace(own=sample.busy + 1e6),
    lambda sample: sample._replace(own=math.nan),
    lambda sample: sample._replace(at=-1.0),
    lambda sample: sample._replace(at=sample.at + 1e6),
    lambda sample: sample._replace(at=math.nan),
    lambda sample: sample._replace(capacity=0.0),
]


@many
@given(stretches(), LIMITS, CALMS, SEEDS, st.dictionaries(st.integers(1, 150), st.sampled_from(FAULTS), min_size=1))
def test_after_implausible_counters_it_opens_only_when_the_load_was_low_again(
    trace: list[Stretch], limit: float, calm_s: float, seed: int, faults: dict[int, Callable[[Sample], Sample]]
) -> None:
    gate = GateRule(limit=limit, calm_s=calm_s)
    fault_at = -math.inf
    for index, (sample, _) in enumerate(samples(trace, seed, ticked=True)):
        if index in faults:
            fault_at = sample.at
        state = gate.update(faults[index](sample) if index in faults else sample)
        if sample.at < fault_at + SHORTEST_S + calm_s:
            assert not state.is_open
