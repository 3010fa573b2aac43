"""The measurements of the scaling benchmark as plain data and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.checks import Check
from benchmarks.harness.stats import Spread, ratios
from models.training.markdown import markdown_table


class FiguresError(Exception):
    """The file is not one that bench_scaling.py has written."""


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        round: Number of the round.
        workers: Number of workers.
        per_second: Posts a second in the steady part.
        lag_s: Seconds from the last result until the windows held every post.
        worker_cpu_s: Processor seconds of all workers for 1,000 posts.
        server_cpu_s: Processor seconds of Kafka and Redis for 1,000 posts.
        server_cores: Cores that Kafka and Redis used on average. If they used all their cores, they limit the rate.
        check: The check of the results.
    """

    round: int
    workers: int
    per_second: float
    lag_s: float
    worker_cpu_s: float
    server_cpu_s: float
    server_cores: float
    check: Check


@dataclass(frozen=True)
class Scaling:
    """All runs, the machine and the settings.

    Attributes:
        machine: What describes the machine, by name.
        settings: The benchmark's settings, by name.
        note: How the cores were divided.
        runs: The runs of all rounds.
    """

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    note: str
    runs: tuple[Run, ...]

    def rates(self, workers: int) -> dict[int, float]:
        """Returns the posts a second of runs with `workers` workers, by round."""
        return {run.round: run.per_second for run in self.runs if run.workers == workers}

    def counts(self) -> list[int]:
        """Returns the numbers of workers that were measured."""
        return sorted({run.workers for run in self.runs})

    def linear(self, workers: int) -> Spread | None:
        """Returns the rate of `workers` workers, divided by `workers` times the rate of one worker in the same round.

        1 is linear growth. Returns None if the two have no round in common.
        """
        times = {number: workers * rate for number, rate in self.rates(1).items()}
        return ratios(self.rates(workers), times)

    def faults(self) -> list[str]:
        """Returns the faults of the results, one line for each run with a fault."""
        return [
            f"round {run.round}, {run.workers} workers: {run.check.lost} lost, {run.check.duplicated} duplicated, "
            f"{run.check.unknown} unknown"
            for run in self.runs
            if not run.check.exactly_once
        ]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as data for JSON, with medians and faults."""
        medians = {
            str(count): {
                "per_second": asdict(Spread.of(list(self.rates(count).values()))),
                "of_linear": asdict(linear) if (linear := self.linear(count)) else None,
            }
            for count in self.counts()
        }
        return asdict(self) | {"medians": medians, "faults": self.faults()}


def markdown(scaling: Scaling) -> str:
    """Returns a table, the faults, and a description of the machine and the settings."""
    rows = []
    for count in scaling.counts():
        runs = [run for run in scaling.runs if run.workers == count]
        linear = scaling.linear(count)
        rows.append(
            [
                str(count),
                _cell(Spread.of([run.per_second for run in runs]), "{:,.0f}"),
                _cell(linear, "{:.2f}") if linear else "-",
                _cell(Spread.of([run.lag_s for run in runs]), "{:.1f}"),
                _cell(Spread.of([run.worker_cpu_s for run in runs]), "{:.3f}"),
                _cell(Spread.of([run.server_cpu_s for run in runs]), "{:.3f}"),
                _cell(Spread.of([run.server_cores for run in runs]), "{:.2f}"),
            ]
        )
    header = [
        "workers",
        "posts/s",
        "of linear",
        "windows' lag, s",
        "workers' CPU s per 1,000 posts",
        "Kafka's and Redis's",
        "cores of Kafka and Redis",
    ]
    faults = "\n".join(f"- {fault}" for fault in scaling.faults())
    about = ", ".join(f"{name} {value}" for name, value in (*scaling.machine.items(), *scaling.settings.items()))
    return (
        f"{markdown_table(header, rows, numbers=True)}\n\n"
        f"{faults or 'Every post has exactly one result in every run.'}\n\n"
        "Medians of the rounds, smallest and largest in brackets. "
        f"{scaling.note[:1].upper()}{scaling.note[1:]}. {about}.\n"
    )


def measured_table(file: Path) -> str:
    """Returns the table of a file that bench_scaling.py has written, and a description of the machine.

    Raises:
        FiguresError: The file cannot be read, or bench_scaling.py has not written it.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        rows = []
        for workers, found in content["medians"].items():
            linear = found["of_linear"]
            of_linear = _cell(Spread(**linear), "{:.2f}") if linear else "-"
            rows.append([workers, _cell(Spread(**found["per_second"]), "{:,.0f}"), of_linear])
        about = ", ".join(
            f"{name} {value}" for part in ("machine", "settings") for name, value in content[part].items()
        )
        note = str(content["note"])
    except OSError as exc:
        raise FiguresError(f"cannot read {file}: {exc.strerror}") from exc
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        problem = f"{exc} is missing" if isinstance(exc, KeyError) else exc
        raise FiguresError(f"{file} is not what bench_scaling.py --json writes: {problem}") from exc
    table = markdown_table(["workers", "posts/s", "of linear"], rows, numbers=True)
    return f"{table}\n\n{note[:1].upper()}{note[1:]}. {about}."


def _cell(value: Spread, form: str) -> str:
    return f"{form.format(value.median)} ({form.format(value.low)} to {form.format(value.high)})"
