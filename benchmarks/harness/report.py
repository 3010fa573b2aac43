"""The measurements as plain data and as Markdown. Pure; `plot` draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.harness.checks import Check
from benchmarks.harness.stats import Spread, ratios
from models.training.markdown import markdown_table

GROUPS: Final = ("system", "broker", "redis")
"""The groups of processes whose processor time is measured separately."""


@dataclass(frozen=True)
class Throughput:
    """One run at full speed.

    Attributes:
        round: Number of the round.
        posts: Posts that the system was given.
        measured: Posts in the steady part of the run.
        seconds: Length of the steady part.
        per_second: Posts a second in the steady part.
        cpu_s: Processor seconds for 1,000 posts in the steady part, by group of processes.
        peak_mb: Largest memory of all the system's processes together, in 10^6 bytes.
        lag_s: Seconds from the last result until the windows held every post; None for systems without windows.
        check: The check of the results.
    """

    round: int
    posts: int
    measured: int
    seconds: float
    per_second: float
    cpu_s: Mapping[str, float]
    peak_mb: float
    lag_s: float | None
    check: Check


@dataclass(frozen=True)
class Latency:
    """One run at a fixed rate. A post's latency runs from when it was due until the broker's timestamp of its result.

    Attributes:
        share: The rate as a share of the system's own maximum.
        rate: Posts a second.
        posts: Posts that were measured.
        p50: Median latency in milliseconds.
        p95: 95th percentile of the latency in milliseconds.
        p99: 99th percentile of the latency in milliseconds.
        late_ms: Largest delay of the producer in milliseconds; it counts as latency.
        cpu_s: Processor seconds for 1,000 posts, by group of processes.
        check: The check of the results.
    """

    share: float
    rate: float
    posts: int
    p50: float
    p95: float
    p99: float
    late_ms: float
    cpu_s: Mapping[str, float]
    check: Check


def processor(group: str) -> Callable[[Throughput], float]:
    """Returns a function that reads one group's processor time from a run."""
    return lambda run: run.cpu_s[group]


@dataclass(frozen=True)
class SystemSummary:
    """All measurements of one system.

    Attributes:
        name: The system's name on the command line.
        title: The system's name in tables.
        version: Version of its library; None if it has none.
        guarantee: What happens to posts in flight at a crash.
        throughput: Runs at full speed.
        latency: Runs at fixed rates.
        failures: The runs that failed, each with the reason.
    """

    name: str
    title: str
    version: str | None
    guarantee: str
    throughput: tuple[Throughput, ...]
    latency: tuple[Latency, ...]
    failures: tuple[str, ...]

    def spread(self, figure: Callable[[Throughput], float]) -> Spread | None:
        """Returns the spread of a figure over the rounds; None without rounds."""
        return Spread.of([figure(run) for run in self.throughput]) if self.throughput else None

    def faults(self) -> list[str]:
        """Returns the failed runs and the faults of the results, one line each; empty if there are none."""
        found = list(self.failures)
        checks = [(f"round {run.round}", run.check) for run in self.throughput]
        checks += [(f"{100 * run.share:.0f} % load", run.check) for run in self.latency]
        for what, check in checks:
            found += [f"{what}: {fault}" for fault in check.faults()]
        return found


@dataclass(frozen=True)
class Comparison:
    """The complete comparison.

    Attributes:
        machine: What describes the machine, by name.
        settings: The benchmark's settings, by name.
        model: Name and version of the model.
        systems: The systems that ran, in the order of `SYSTEMS`.
        missing: The systems that did not run, each with the reason.
    """

    machine: Mapping[str, str | int | float]
    settings: Mapping[str, Any]
    model: str
    systems: tuple[SystemSummary, ...]
    missing: tuple[str, ...]

    def ratio(self, name: str, to: str, figure: Callable[[Throughput], float] | None = None) -> Spread | None:
        """Returns the ratio of a figure of system `name` to that of system `to`, computed for each round.

        Args:
            name: The system of the numerator.
            to: The system of the denominator.
            figure: Reads the figure from a run; None for posts a second.

        Returns:
            None if the two have no round in common.
        """
        figure = figure or _speed
        by_name = {system.name: {run.round: figure(run) for run in system.throughput} for system in self.systems}
        return ratios(by_name.get(name, {}), by_name.get(to, {}))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as data for JSON, with medians and ratios."""
        rows = []
        for system in self.systems:
            median = {
                "per_second": system.spread(lambda run: run.per_second),
                **{f"cpu_s_{group}": system.spread(processor(group)) for group in GROUPS},
                "peak_mb": system.spread(lambda run: run.peak_mb),
                "ratio_to_bare": self.ratio(system.name, "bare"),
                "ratio_to_distilbert": self.ratio(system.name, "distilbert"),
                "cpu_ratio_to_bare": self.ratio(system.name, "bare", processor("system")),
            }
            rows.append(
                asdict(system)
                | {"medians": {name: value and asdict(value) for name, value in median.items()}}
                | {"faults": system.faults()}
            )
        return asdict(self) | {"systems": rows}


def markdown(comparison: Comparison) -> str:
    """Returns tables of speed and latency, the faults, and a description of the machine and the settings."""
    ordered = sorted(comparison.systems, key=lambda s: -(spread.median if (spread := s.spread(_speed)) else 0.0))
    header = [
        "system",
        "posts/s",
        "of the bare loop",
        "times DistilBERT",
        "CPU s per 1,000 posts",
        "times the bare loop's",
        "broker",
        "Redis",
        "peak MB",
        "same labels",
    ]
    parts = [
        markdown_table(
            header, [_speed_row(comparison, system) for system in ordered if system.throughput], numbers=True
        )
    ]
    shares = sorted({run.share for system in comparison.systems for run in system.latency})
    if shares:
        header = ["system", *(f"{100 * share:.0f} % of its maximum: posts/s, p50 / p95 / p99 ms" for share in shares)]
        rows = [_latency_row(system, shares) for system in ordered if system.latency]
        parts.append(markdown_table(header, rows, numbers=True))
    header = ["system", "version", "at a crash"]
    parts.append(markdown_table(header, [[s.title, s.version or "-", s.guarantee] for s in ordered]))
    faults = [f"- {system.title}: {fault}" for system in ordered for fault in system.faults()]
    no_faults = (
        "Every system answered every post exactly once in every run; at least 99.9 % of labels match the bare loop's."
    )
    parts.append("Faults:\n\n" + "\n".join(faults) if faults else no_faults)
    if comparison.missing:
        parts.append("Did not run:\n\n" + "\n".join(f"- {line}" for line in comparison.missing))
    about = ", ".join(f"{name} {value}" for name, value in (*comparison.machine.items(), *comparison.settings.items()))
    parts.append(
        "Medians of the rounds, smallest and largest in brackets; ratios are taken round by round. "
        f"{comparison.model}; {about}."
    )
    return "\n\n".join(parts) + "\n"


def _speed(run: Throughput) -> float:
    return run.per_second


def _speed_row(comparison: Comparison, system: SystemSummary) -> list[str]:
    checks = [*(run.check for run in system.throughput), *(run.check for run in system.latency)]
    agreement = [check.agreement for check in checks if check.agreement is not None]
    return [
        system.title,
        _cell(system.spread(_speed), "{:,.0f}"),
        _cell(comparison.ratio(system.name, "bare"), "{:.2f}"),
        _cell(comparison.ratio(system.name, "distilbert"), "{:.1f}"),
        _cell(system.spread(processor("system")), "{:.3f}"),
        _cell(comparison.ratio(system.name, "bare", processor("system")), "{:.2f}"),
        *(_cell(system.spread(processor(group)), "{:.3f}") for group in GROUPS if group != "system"),
        _cell(system.spread(lambda run: run.peak_mb), "{:,.0f}", spread=False),
        f"{100 * min(agreement):.2f} %" if agreement else "-",
    ]


def _latency_row(system: SystemSummary, shares: Sequence[float]) -> list[str]:
    runs = {share: [run for run in system.latency if run.share == share] for share in shares}
    return [system.title, *(_latencies(runs[share]) for share in shares)]


def _latencies(runs: Sequence[Latency]) -> str:
    if not runs:
        return "-"
    rate = Spread.of([run.rate for run in runs]).median
    cells = (Spread.of([getattr(run, name) for run in runs]).median for name in ("p50", "p95", "p99"))
    return f"{rate:,.0f}: " + " / ".join(f"{value:,.0f}" for value in cells)


def _cell(value: Spread | None, form: str, *, spread: bool = True) -> str:
    if value is None:
        return "-"
    median = form.format(value.median)
    return f"{median} ({form.format(value.low)} to {form.format(value.high)})" if spread else median
