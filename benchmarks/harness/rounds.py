"""The order of the runs: systems take turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import psutil
from confluent_kafka import KafkaException

from benchmarks.harness.bench import Bench
from benchmarks.harness.broker import BrokerError
from benchmarks.harness.program import ProgramError
from benchmarks.harness.report import Latency, Measured, Throughput
from benchmarks.harness.systems import BARE, Installed
from benchmarks.harness.trial import TrialError
from connectors.errors import ConnectorError

SHARES = (0.25, 0.5, 0.75)
"""Of a system's own maximum, at which its latency is measured."""

NO_MEASUREMENT = (TrialError, ProgramError, BrokerError, ConnectorError, KafkaException, psutil.Error, ValueError)

Tell = Callable[[str], None]
Found = TypeVar("Found")
Item = TypeVar("Item")


@dataclass
class Runs:
    """What has been measured of a system so far."""

    installed: Installed
    throughput: list[Throughput] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def maximum(self) -> float:
        """Posts a second, the median of its rounds."""
        return statistics.median(run.per_second for run in self.throughput)

    def measured(self) -> Measured:
        """All of it."""
        system = self.installed.system
        return Measured(
            name=system.name,
            title=system.title,
            version=self.installed.version,
            guarantee=system.guarantee,
            throughput=tuple(self.throughput),
            latency=tuple(self.latency),
            failures=tuple(self.failures),
        )


def warm_up(bench: Bench, runs: Sequence[Runs], *, posts: int, tell: Tell) -> None:
    """One run of the first system that needs Kafka; its speed does not count, what it loses does.

    A broker that has just started compiles its code while it serves, beside whoever comes first; those that people run
    have done so long ago. And what ran on the machine before has time to be over.
    """
    run = next((run for run in runs if run.installed.system is not BARE), None)
    if run is not None:
        name = f"warm-up, not counted: {run.installed.system.name}"
        result = _tried(run, name, partial(bench.throughput, run.installed, 0, posts), tell)
        if result is not None:
            run.failures.extend(f"{name}: {fault}" for fault in result.check.faults())
            tell(f"{name}: {_verdict(result)}")


def measure_speed(bench: Bench, runs: Sequence[Runs], *, posts: int, rounds: int, tell: Tell) -> None:
    """Every system at full speed, round by round, in `turns`."""
    for number in range(1, rounds + 1):
        for run in turns(runs, number):
            name = f"round {number} of {rounds}: {run.installed.system.name}"
            result = _tried(run, name, partial(bench.throughput, run.installed, number, posts), tell)
            if result is not None:
                run.throughput.append(result)
                cpu = sum(result.cpu_s.values())
                tell(f"{name}: {result.per_second:,.0f} posts/s, {cpu:.3f} CPU s per 1,000, {_verdict(result)}")


def measure_latency(bench: Bench, runs: Sequence[Runs], *, seconds: float, rounds: int, tell: Tell) -> None:
    """Every system that has shown a rate, at shares of it; the bare loop has no latency."""
    for number in range(1, rounds + 1):
        for run in turns([run for run in runs if run.throughput and run.installed.system is not BARE], number):
            for share in SHARES:
                name = f"{100 * share:.0f} % of its rate: {run.installed.system.name}"
                measure = partial(bench.latency, run.installed, share, run.maximum, seconds)
                result = _tried(run, name, measure, tell)
                if result is not None:
                    run.latency.append(result)
                    times = f"p50 {result.p50:,.0f}, p95 {result.p95:,.0f}, p99 {result.p99:,.0f} ms"
                    tell(f"{name}: {times}, {_verdict(result)}")


def turns(systems: Sequence[Item], number: int) -> list[Item]:
    """The order of a round, of which the first is number 1: every other one goes backwards.

    So what the machine does over time falls on all alike, and those that are compared with each other and stand side by
    side, as the bare loop and emostream, run within a minute or two in every round.
    """
    return list(systems if number % 2 else reversed(systems))


def _tried(run: Runs, name: str, measure: Callable[[], Found], tell: Tell) -> Found | None:
    """A measurement; None, noted, where it failed: the other systems go on."""
    try:
        return measure()
    except NO_MEASUREMENT as exc:
        run.failures.append(f"{name}: {exc}")
        tell(f"{name}: FAILED: {exc}")
        return None


def _verdict(result: Throughput | Latency) -> str:
    return "; ".join(result.check.faults()) or "every post once"
