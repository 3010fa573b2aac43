"""What a scaling benchmark measured: as plain data and as Markdown."""

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
    """A file is not what a scaling benchmark has written."""


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        round: which.
        workers: how many.
        per_second: posts, in the steady part.
        lag_s: how long after the last result the windows held every post.
        worker_cpu_s: processor seconds of all workers for 1,000 posts.
        server_cpu_s: the same of Kafka and Redis.
        server_cores: that Kafka and Redis used; near those they have, they are what is measured.
        check: of the results.
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
    """All runs, and on what."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    note: str
    runs: tuple[Run, ...]

    def rates(self, workers: int) -> dict[int, float]:
        """Posts a second of so many workers, by round."""
        return {run.round: run.per_second for run in self.runs if run.workers == workers}

    def counts(self) -> list[int]:
        """The numbers of workers that were measured."""
        return sorted({run.workers for run in self.runs})

    def linear(self, workers: int) -> Spread | None:
        """Their rate to so many times that of one, round by round; 1 is linear."""
        times = {number: workers * rate for number, rate in self.rates(1).items()}
        return ratios(self.rates(workers), times)

    def faults(self) -> list[str]:
        """What is wrong with the results, in words."""
        return [
            f"round {run.round}, {run.workers} workers: {run.check.lost} lost, {run.check.duplicated} twice, "
            f"{run.check.unknown} unknown"
            for run in self.runs
            if not run.check.exactly_once
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        medians = {
            str(count): {
                "per_second": asdict(Spread.of(list(self.rates(count).values()))),
                "of_linear": asdict(linear) if (linear := self.linear(count)) else None,
            }
            for count in self.counts()
        }
        return asdict(self) | {"medians": medians, "faults": self.faults()}


def markdown(found: Scaling) -> str:
    """The table, what was wrong, and what it ran on."""
    rows = []
    for count in found.counts():
        runs = [run for run in found.runs if run.workers == count]
        linear = found.linear(count)
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
        "CPU s per 1,000 posts",
        "Kafka and Redis",
        "cores of theirs",
    ]
    wrong = "\n".join(f"- {fault}" for fault in found.faults())
    about = ", ".join(f"{name} {value}" for name, value in (*found.machine.items(), *found.settings.items()))
    return (
        f"{markdown_table(header, rows, numbers=True)}\n\n"
        f"{wrong or 'Every post was there once, in every run.'}\n\n"
        f"Medians of the rounds, smallest and largest in brackets. {found.note[:1].upper()}{found.note[1:]}. {about}.\n"
    )


def measured_table(file: Path) -> str:
    """The table of a file that was written from `Scaling.to_dict`, and what it ran on.

    Raises:
        FiguresError: it cannot be read, or is none.
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
        problem = f"it lacks {exc}" if isinstance(exc, KeyError) else exc
        raise FiguresError(f"{file} is not what bench_scaling.py --json writes: {problem}") from exc
    table = markdown_table(["workers", "posts/s", "of linear"], rows, numbers=True)
    return f"{table}\n\n{note[:1].upper()}{note[1:]}. {about}."


def _cell(value: Spread, form: str) -> str:
    return f"{form.format(value.median)} ({form.format(value.low)} to {form.format(value.high)})"
