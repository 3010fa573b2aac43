"""What was measured: as plain data and as Markdown. Pure; `plot` draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.harness.checks import Check
from benchmarks.harness.stats import Spread, ratios
from models.training.markdown import markdown_table

GROUPS: Final = ("system", "broker", "redis")


@dataclass(frozen=True)
class Throughput:
    """One run at full speed.

    Attributes:
        round: which.
        posts: given to the system.
        measured: of them, in the steady part.
        seconds: that the steady part took.
        per_second: posts.
        cpu_s: processor seconds for 1,000 posts, by group of processes, in the steady part.
        peak_mb: the system's memory at its most, in 10^6 bytes; processes of one system added up.
        lag_s: how long after the last result the windows were complete; None for systems without windows.
        check: of the results.
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
    """One run at a fixed rate; from when a post was due to its result in the log, in milliseconds.

    Attributes:
        share: of the system's own maximum.
        rate: posts a second.
        posts: measured.
        p50: half of them were faster.
        p95: likewise.
        p99: likewise.
        late_ms: how late the producer was at most, which counts as latency.
        cpu_s: as in `Throughput`.
        check: of the results.
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
    """The figure of one group's processor time."""
    return lambda run: run.cpu_s[group]


@dataclass(frozen=True)
class Measured:
    """All of one system.

    Attributes:
        name: for machines.
        title: for people.
        version: of its library.
        guarantee: what happens to posts in flight at a crash.
        throughput: its runs at full speed.
        latency: its runs at fixed rates.
        failures: runs that gave no measurement, each with the reason.
    """

    name: str
    title: str
    version: str | None
    guarantee: str
    throughput: tuple[Throughput, ...]
    latency: tuple[Latency, ...]
    failures: tuple[str, ...]

    def spread(self, figure: Callable[[Throughput], float]) -> Spread | None:
        """A figure over the rounds."""
        return Spread.of([figure(run) for run in self.throughput]) if self.throughput else None

    def faults(self) -> list[str]:
        """What is wrong with its results, in words."""
        found = list(self.failures)
        checks = [(f"round {run.round}", run.check) for run in self.throughput]
        checks += [(f"{100 * run.share:.0f} % load", run.check) for run in self.latency]
        for what, check in checks:
            found += [f"{what}: {fault}" for fault in check.faults()]
        return found


@dataclass(frozen=True)
class Comparison:
    """The whole comparison.

    Attributes:
        machine: what it ran on.
        settings: of the benchmark.
        model: name, version.
        systems: in the order of their table.
        missing: those that did not run, each with the reason.
    """

    machine: Mapping[str, str | int | float]
    settings: Mapping[str, Any]
    model: str
    systems: tuple[Measured, ...]
    missing: tuple[str, ...]

    def ratio(self, name: str, to: str, figure: Callable[[Throughput], float] | None = None) -> Spread | None:
        """A figure of one to another's, round by round; None for posts a second."""
        figure = figure or _speed
        by_name = {system.name: {run.round: figure(run) for run in system.throughput} for system in self.systems}
        return ratios(by_name.get(name, {}), by_name.get(to, {}))

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON, with the medians and ratios."""
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


def markdown(found: Comparison) -> str:
    """Tables of speed and of latency, what was wrong, and what it ran on."""
    ordered = sorted(found.systems, key=lambda s: -(spread.median if (spread := s.spread(_speed)) else 0.0))
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
        markdown_table(header, [_speed_row(found, system) for system in ordered if system.throughput], numbers=True)
    ]
    shares = sorted({run.share for system in found.systems for run in system.latency})
    if shares:
        header = ["system", *(f"{100 * share:.0f} % of its maximum: posts/s, p50 / p95 / p99 ms" for share in shares)]
        rows = [_latency_row(system, shares) for system in ordered if system.latency]
        parts.append(markdown_table(header, rows, numbers=True))
    header = ["system", "version", "at a crash"]
    parts.append(markdown_table(header, [[s.title, s.version or "-", s.guarantee] for s in ordered]))
    faults = [f"- {system.title}: {fault}" for system in ordered for fault in system.faults()]
    every = "Every system gave every post exactly once in every run, and 99.9 % or more the bare loop's label."
    parts.append("What went wrong:\n\n" + "\n".join(faults) if faults else every)
    if found.missing:
        parts.append("Left out:\n\n" + "\n".join(f"- {line}" for line in found.missing))
    about = ", ".join(f"{name} {value}" for name, value in (*found.machine.items(), *found.settings.items()))
    parts.append(
        "Medians of the rounds, smallest and largest in brackets; ratios are taken round by round. "
        f"{found.model}; {about}."
    )
    return "\n\n".join(parts) + "\n"


def _speed(run: Throughput) -> float:
    return run.per_second


def _speed_row(found: Comparison, system: Measured) -> list[str]:
    checks = [*(run.check for run in system.throughput), *(run.check for run in system.latency)]
    agreement = [check.agreement for check in checks if check.agreement is not None]
    return [
        system.title,
        _cell(system.spread(_speed), "{:,.0f}"),
        _cell(found.ratio(system.name, "bare"), "{:.2f}"),
        _cell(found.ratio(system.name, "distilbert"), "{:.1f}"),
        _cell(system.spread(processor("system")), "{:.3f}"),
        _cell(found.ratio(system.name, "bare", processor("system")), "{:.2f}"),
        *(_cell(system.spread(processor(group)), "{:.3f}") for group in GROUPS if group != "system"),
        _cell(system.spread(lambda run: run.peak_mb), "{:,.0f}", spread=False),
        f"{100 * min(agreement):.2f} %" if agreement else "-",
    ]


def _latency_row(system: Measured, shares: Sequence[float]) -> list[str]:
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
