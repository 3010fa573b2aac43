"""Orders the runs. Rounds of all systems spread the effects of the machine's other load evenly over them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import psutil
from confluent_kafka import KafkaException

from benchmarks.harness.bench import Bench
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.program import ProgramError
from benchmarks.harness.report import Latency, SystemSummary, Throughput
from benchmarks.harness.systems import BARE, InstalledSystem
from benchmarks.harness.trial import RunError
from connectors.errors import ConnectorError

SHARES = (0.25, 0.5, 0.75)
"""Latency is measured at these shares of a system's own maximum rate."""

MEASUREMENT_ERRORS = (RunError, ProgramError, BenchmarkError, ConnectorError, KafkaException, psutil.Error, ValueError)
"""Errors after which a run counts as failed, and the next run starts."""

OnLine = Callable[[str], None]
"""Called with each line of progress."""

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass
class Measurements:
    """The measurements of one system so far."""

    installed: InstalledSystem
    throughput: list[Throughput] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The system's name on the command line."""
        return self.installed.system.name

    @property
    def maximum(self) -> float:
        """Posts a second at full speed, the median of the rounds."""
        return statistics.median(run.per_second for run in self.throughput)

    def summary(self) -> SystemSummary:
        """Returns all measurements as one record."""
        system = self.installed.system
        return SystemSummary(
            name=system.name,
            title=system.title,
            version=self.installed.version,
            guarantee=system.guarantee,
            throughput=tuple(self.throughput),
            latency=tuple(self.latency),
            failures=tuple(self.failures),
        )


def warm_up(bench: Bench, systems: Sequence[Measurements], *, posts: int, on_line: OnLine) -> None:
    """Run the first system that uses Kafka once, before the rounds. Its speed does not count; faults in its results do.

    A broker that has just started compiles its code while it serves, which slows the first system down. Brokers in
    production have finished that. The run also gives earlier load on the machine time to end.
    """
    system = next((system for system in systems if system.installed.system is not BARE), None)
    if system is not None:
        title = f"warm-up, not counted: {system.name}"
        run = _try_measure(system, title, partial(bench.throughput, system.installed, 0, posts), on_line)
        if run is not None:
            system.failures.extend(f"{title}: {fault}" for fault in run.check.faults())
            on_line(f"{title}: {_check_line(run)}")


def measure_speed(bench: Bench, systems: Sequence[Measurements], *, posts: int, rounds: int, on_line: OnLine) -> None:
    """Measure the speed of every system in every round. `order_of_round` gives the order."""
    for number in range(1, rounds + 1):
        for system in order_of_round(systems, number):
            title = f"round {number} of {rounds}: {system.name}"
            run = _try_measure(system, title, partial(bench.throughput, system.installed, number, posts), on_line)
            if run is not None:
                system.throughput.append(run)
                cpu = sum(run.cpu_s.values())
                on_line(f"{title}: {run.per_second:,.0f} posts/s, {cpu:.3f} CPU s per 1,000, {_check_line(run)}")


def measure_latency(
    bench: Bench, systems: Sequence[Measurements], *, seconds: float, rounds: int, on_line: OnLine
) -> None:
    """Measure the latency of every system whose speed is known, at `SHARES` of it. The bare loop has no latency."""
    timed = [system for system in systems if system.throughput and system.installed.system is not BARE]
    for number in range(1, rounds + 1):
        for system in order_of_round(timed, number):
            for share in SHARES:
                title = f"{100 * share:.0f} % of its rate: {system.name}"
                measure = partial(bench.latency, system.installed, share, system.maximum, seconds)
                run = _try_measure(system, title, measure, on_line)
                if run is not None:
                    system.latency.append(run)
                    times = f"p50 {run.p50:,.0f}, p95 {run.p95:,.0f}, p99 {run.p99:,.0f} ms"
                    on_line(f"{title}: {times}, {_check_line(run)}")


def order_of_round(systems: Sequence[Item], number: int) -> list[Item]:
    """Returns the systems in the order of a round. Rounds with an even number are reversed; the first round is 1.

    This spreads slow changes of the machine evenly. Neighbours in the list, such as the bare loop and emostream, run
    within a minute or two of each other in every round.
    """
    return list(systems if number % 2 else reversed(systems))


def _try_measure(system: Measurements, title: str, measure: Callable[[], Result], on_line: OnLine) -> Result | None:
    """Returns a measurement. If the run fails, it notes the failure and returns None, and the others run."""
    try:
        return measure()
    except MEASUREMENT_ERRORS as exc:
        system.failures.append(f"{title}: {exc}")
        on_line(f"{title}: FAILED: {exc}")
        return None


def _check_line(run: Throughput | Latency) -> str:
    return "; ".join(run.check.faults()) or "every post once"
