"""The gate in hundreds of simulated loads.

A trace is a machine whose load stays as it is for a while and then changes at once, sampled at uneven moments. Times
and loads are whole 64ths, so that sums of floats are exact; `ticked` counters show hundredths of a second, as the
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
from streams.sink.gate.rule import REOPEN, SAMPLE_S, WINDOW_S, CpuGate, GateReason, GateState

UNIT = 1 / 64
PROCESSORS = 4
LATE_S = 6 * UNIT
"""How late a sample may be."""

PACE_S = SAMPLE_S + LATE_S
SHORTEST_S = WINDOW_S - SAMPLE_S / 2
LONGEST_S = SHORTEST_S + PACE_S
"""Utilization is the mean over the time since some sample between these ages."""

NOISE = 4 * 0.01 / (SHORTEST_S * PROCESSORS)
"""What ticks may do to a utilization: two counters, off by up to one tick at both ends."""

LIMITS = st.sampled_from([0.1, 0.2, 0.5])
CALMS = st.sampled_from([0.0, 1.0, 3.0])
SEEDS = st.integers(0, 2**32 - 1)

many = settings(max_examples=300, deadline=None)


class Stretch(NamedTuple):
    """A constant load: shares of all processors."""

    seconds: float
    others: float
    own: float


class Look(NamedTuple):
    """A sample, the work of others that was truly done by then, and what the gate said."""

    sample: Sample
    others_s: float
    state: GateState


@st.composite
def stretches(draw: st.DrawFn) -> list[Stretch]:
    """Mostly loads about the usual limits; the sink takes any part of what others leave free."""
    units = st.sampled_from([0, 3, 6, 9, 10, 11, 12, 13, 14, 20, 32, 40, 64]) | st.integers(0, 64)
    found = []
    for _ in range(draw(st.integers(1, 12))):
        others = draw(units)
        own = draw(st.integers(0, 64 - others))
        found.append(Stretch(draw(st.integers(4, 512)) * UNIT, others * UNIT, own * UNIT))
    return found


def samples(trace: list[Stretch], seed: int, *, ticked: bool) -> Iterator[tuple[Sample, float]]:
    """Samples of a trace, each with the true work of others."""
    rng = random.Random(seed)
    total = sum(stretch.seconds for stretch in trace)
    at = 0.0
    while at <= total:
        others, own = work(trace, at)
        busy = others + own
        yield Sample(at, ticks(busy) if ticked else busy, ticks(own) if ticked else own, PROCESSORS), others
        at += SAMPLE_S + rng.randint(0, 6) * UNIT


def work(trace: list[Stretch], at: float) -> tuple[float, float]:
    """Processor seconds of others and of the sink until a moment."""
    others = own = begin = 0.0
    for stretch in trace:
        part = min(max(at - begin, 0.0), stretch.seconds) * PROCESSORS
        others += stretch.others * part
        own += stretch.own * part
        begin += stretch.seconds
    return others, own


def ticks(seconds: float) -> float:
    return math.floor(seconds * 100) / 100


def simulate(trace: list[Stretch], gate: CpuGate, seed: int, *, ticked: bool = True) -> list[Look]:
    looks = [Look(sample, others, gate.update(sample)) for sample, others in samples(trace, seed, ticked=ticked)]
    assert gate.breaks == 0
    return looks


def means(looks: list[Look], index: int) -> list[float]:
    """The true utilizations by others over every time that the gate may take as the last second."""
    now = looks[index]
    recent = looks[max(0, index - math.ceil(LONGEST_S / SAMPLE_S)) : index]
    ages = [(now.sample.at - then.sample.at, now.others_s - then.others_s) for then in recent]
    return [done / (age * PROCESSORS) for age, done in ages if SHORTEST_S <= age <= LONGEST_S]


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_it_is_never_open_at_or_above_the_limit(trace: list[Stretch], limit: float, calm_s: float, seed: int) -> None:
    looks = simulate(trace, CpuGate(limit=limit, calm_s=calm_s), seed)
    for index, (_, _, state) in enumerate(looks):
        if state.is_open:
            assert state.utilization is not None
            assert state.utilization < limit
            assert min(means(looks, index)) < limit + NOISE


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_three_times_the_limit_is_yielded_to_within_a_second(
    trace: list[Stretch], limit: float, calm_s: float, seed: int
) -> None:
    looks = simulate(trace, CpuGate(limit=limit, calm_s=calm_s), seed)
    begin = 0.0
    for stretch in trace:
        if stretch.others >= min(1.0, 3 * limit) + NOISE:
            # Seen by the first sample after this, so at most one pace later.
            seen_from = begin + (limit + NOISE) * LONGEST_S / stretch.others
            assert seen_from + PACE_S < begin + 1.0
            inside = [look for look in looks if seen_from <= look.sample.at <= begin + stretch.seconds]
            assert not any(look.state.is_open for look in inside)
        begin += stretch.seconds


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_a_lasting_calm_opens_it(trace: list[Stretch], limit: float, calm_s: float, seed: int) -> None:
    quiet = Stretch(LONGEST_S + calm_s + 2 * PACE_S, (math.floor((REOPEN * limit - NOISE) / UNIT)) * UNIT, 0.5)
    looks = simulate([*trace, quiet], CpuGate(limit=limit, calm_s=calm_s), seed)
    assert looks[-1].state.reason is GateReason.IDLE
    calm_from = None
    for sample, _, state in looks:
        low = state.utilization is not None and state.utilization < REOPEN * limit
        calm_from = (sample.at if calm_from is None else calm_from) if low else None
        if calm_from is not None and sample.at >= calm_from + calm_s:
            assert state.is_open


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_it_opens_only_after_an_uninterrupted_calm(
    trace: list[Stretch], limit: float, calm_s: float, seed: int
) -> None:
    looks = simulate(trace, CpuGate(limit=limit, calm_s=calm_s), seed)
    assert not looks[0].state.is_open
    openings = [now for before, now in pairwise(looks) if now.state.is_open and not before.state.is_open]
    for opening in openings:
        for look in looks:
            if opening.sample.at - calm_s <= look.sample.at <= opening.sample.at:
                assert look.state.utilization is not None
                assert look.state.utilization < REOPEN * limit
        assert opening.state.since == opening.sample.at
    assert all(later.sample.at - sooner.sample.at >= calm_s for sooner, later in pairwise(openings))


@many
@given(stretches(), LIMITS, CALMS, SEEDS)
def test_own_load_of_any_size_changes_nothing(trace: list[Stretch], limit: float, calm_s: float, seed: int) -> None:
    without = [stretch._replace(own=0.0) for stretch in trace]
    full = [stretch._replace(own=1.0 - stretch.others) for stretch in trace]
    told = [
        [look.state for look in simulate(variant, CpuGate(limit=limit, calm_s=calm_s), seed, ticked=False)]
        for variant in (trace, without, full)
    ]
    assert told[0] == told[1] == told[2]


@many
@given(stretches(), LIMITS, CALMS, SEEDS, st.lists(st.integers(0, 200), max_size=20))
def test_a_deadline_opens_it_and_leaves_no_trace(
    trace: list[Stretch], limit: float, calm_s: float, seed: int, ages: list[int]
) -> None:
    plain = CpuGate(limit=limit, calm_s=calm_s)
    gate = CpuGate(limit=limit, calm_s=calm_s, max_delay_s=100)
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
def test_after_numbers_that_cannot_be_it_has_calm_again_first(
    trace: list[Stretch], limit: float, calm_s: float, seed: int, faults: dict[int, Callable[[Sample], Sample]]
) -> None:
    gate = CpuGate(limit=limit, calm_s=calm_s)
    fault_at = -math.inf
    for index, (sample, _) in enumerate(samples(trace, seed, ticked=True)):
        if index in faults:
            fault_at = sample.at
        state = gate.update(faults[index](sample) if index in faults else sample)
        if sample.at < fault_at + SHORTEST_S + calm_s:
            assert not state.is_open
