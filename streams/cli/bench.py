"""`emostream bench`: measures this machine, and prints what a rate of posts needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streams.cli.common import FiniteFloatRange, console, log_to_stderr, progress_console, read_settings
from streams.ops.bench.sizing import Size
from streams.ops.demo.sample import sample_posts
from streams.process.signals import exit_on_signals
from streams.window_sizes import format_duration

if TYPE_CHECKING:
    from streams.ops.bench.run import Report

DEFAULT_RATES = (10.0, 100.0, 1_000.0, 10_000.0)

SHORTEST_S = 2.0
"""The shortest measurement, in seconds. It has enough results for a rate, even if the workers are several times as fast
as the model alone, from whose rate the number of posts is computed."""


@click.command()
@click.option(
    "--posts",
    type=click.Path(path_type=Path, dir_okay=False),
    default=sample_posts,
    metavar="FILE",
    show_default="360 posts that come with the project",
    help="Posts like yours, because long posts cost more: JSON lines (.jsonl), CSV (.csv), TSV (.tsv) or text (.txt).",
)
@click.option(
    "--model",
    metavar="FOLDER|URI",
    show_default="the bundled package",
    help="Model package: a folder, or s3://bucket/prefix of a registry.",
)
@click.option(
    "--seconds",
    type=FiniteFloatRange(min=SHORTEST_S, max=3_600),
    default=20.0,
    show_default=True,
    metavar="S",
    help="Measure for about this many seconds.",
)
@click.option(
    "--keywords",
    type=click.IntRange(min=1, max=100_000),
    default=500,
    show_default=True,
    metavar="N",
    help="Number of different keywords. Each keyword has windows of its own.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1, max=256),
    metavar="N",
    show_default="EMOSTREAM_WORKER_PROCESSES, or 1",
    help="Measure with N worker processes.",
)
@click.option(
    "--rate",
    "rates",
    type=FiniteFloatRange(min=0, min_open=True, max=1e9),
    multiple=True,
    metavar="N",
    show_default="10, 100, 1000 and 10000",
    help="Posts a second for which to print what is needed. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
def bench(
    *,
    posts: Path,
    model: str | None,
    seconds: float,
    keywords: int,
    processes: int | None,
    rates: tuple[float, ...],
    as_json: bool,
) -> None:
    """Measure what a post costs on this machine, and print what a rate of posts needs.

    Starts Kafka, Valkey and PostgreSQL in a temporary folder, measures the model alone, a worker at full speed and the
    sink, and removes everything. Prints two tables: what was measured, and for each --rate the cores, memory and disk
    that it needs. It takes about a minute, in which nothing else should run on the machine. It uses the window sizes
    and batch sizes of your settings, but not your servers. docs/sizing.md has the formula of each figure.

    \b
    Examples:
      emostream bench
      emostream bench --posts mine.csv --keywords 2000 --rate 300 --rate 3000
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    log_to_stderr("ERROR")
    from streams.ops.bench.run import run_bench  # noqa: PLC0415 - loads the client libraries and the model runtime
    from streams.ops.classify import find_package  # noqa: PLC0415
    from streams.ops.demo.run import read_posts  # noqa: PLC0415

    notes = progress_console()
    samples, refused = read_posts(posts, settings)
    for line in refused.describe():
        notes.print(f"refused: {line}", markup=False, soft_wrap=True)
    with exit_on_signals(), Display(notes) as display:
        report = run_bench(
            settings,
            find_package(settings, model),
            samples,
            seconds=seconds,
            keywords=keywords,
            processes=processes or settings.worker_processes or 1,
            rates=rates or DEFAULT_RATES,
            display=display,
        )
    for warning in report.warnings:
        notes.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
        return
    out = console()
    out.print(measured_table(report))
    out.print(size_table(report.sizes))
    out.print(assumptions_line(report), soft_wrap=True)


class Display:
    """Shows the current step and its progress bar on a terminal; elsewhere prints a line for each step.

    A context manager.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._progress: Progress | None = None
        if out.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[posts]}"),
                TimeElapsedColumn(),
                console=out,
                transient=True,
            )

    def __enter__(self) -> Display:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def step(self, text: str) -> None:
        """Show that a step begins."""
        if self._progress is None:
            self._out.print(text, markup=False, soft_wrap=True)
            return
        # A new task, because a task keeps its total once it has one.
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(text, total=None, posts="")

    def count(self, done: int, total: int) -> None:
        """Show the progress of the step, in posts."""
        if self._progress is not None:
            for task in self._progress.task_ids:
                self._progress.update(task, completed=done, total=total, posts=f"{done:,} of {total:,} posts")


def format_figure(value: float) -> str:
    """Returns a number with three significant digits, such as `0.0123`, `1.23` or `12,300`."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value else "0"


def format_bytes(value: float) -> str:
    """Returns a number of bytes in units of powers of 1,000, such as `1.2 GB`."""
    return decimal(round(value))


_ROWS: tuple[tuple[str, Callable[[Size], str]], ...] = (
    ("cores for the workers", lambda size: format_figure(size.cores)),
    ("worker processes", lambda size: f"{size.workers:,}"),
    ("partitions, at least", lambda size: f"{size.partitions:,}"),
    ("memory of the workers", lambda size: format_bytes(size.worker_bytes)),
    ("cores for Kafka", lambda size: format_figure(size.broker_cores)),
    ("cores for Redis", lambda size: format_figure(size.redis_cores)),
    ("windows in Redis", lambda size: format_figure(size.redis_windows)),
    ("memory of Redis", lambda size: format_bytes(size.redis_bytes)),
    ("cores for sink and Postgres", lambda size: format_figure(size.sink_cores)),
    ("Postgres a day, posts", lambda size: format_bytes(size.postgres_posts_bytes_per_day)),
    ("Postgres a day, windows", lambda size: format_bytes(size.postgres_windows_bytes_per_day)),
    ("Kafka a day, posts", lambda size: format_bytes(size.kafka_posts_bytes_per_day)),
    ("Kafka a day, windows", lambda size: format_bytes(size.kafka_windows_bytes_per_day)),
)


def size_table(sizes: Sequence[Size]) -> Table:
    """Returns a table of what each rate needs, with a column for each rate."""
    table = Table(title="what a rate of posts needs", title_justify="left")
    table.add_column("posts/s")
    for size in sizes:
        table.add_column(f"{size.rate:,g}", justify="right")
    for name, show in _ROWS:
        table.add_row(name, *map(show, sizes))
    return table


def measured_table(report: Report) -> Table:
    """Returns a table of the measured figures."""
    costs, pipeline, postgres = report.costs, report.pipeline, report.postgres
    workers = format_figure(pipeline.posts_per_second)
    rows = [
        ("the model alone, one thread", f"{format_figure(report.model.posts_per_second)} posts/s"),
        (f"workers at full speed, processes: {report.processes}", f"{workers} posts/s"),
        ("posts/s per core of the worker", format_figure(1 / costs.worker_cpu_s)),
        *(
            (f"CPU of {name} for 1,000 posts", f"{format_figure(1_000 * seconds)} s")
            for name, seconds in (
                ("the model alone", report.model.cpu_s),
                ("the worker", costs.worker_cpu_s),
                ("Kafka", costs.broker_cpu_s),
                ("Redis", costs.redis_cpu_s),
                ("the sink", costs.sink_cpu_s),
                ("Postgres", costs.postgres_cpu_s),
            )
        ),
        ("memory of a worker process", format_bytes(costs.worker_bytes)),
        *(
            (f"Redis for a window of {format_duration(memory.size)}", format_bytes(memory.bytes_each))
            for memory in report.redis
        ),
        ("Postgres for a post", format_bytes(postgres.post_bytes)),
        ("Postgres for a window", format_bytes(postgres.window_bytes)),
        ("Kafka for a raw post", format_bytes(costs.raw_bytes)),
        ("Kafka for a classified post", format_bytes(costs.classified_bytes)),
        ("Kafka for an update of a window", format_bytes(costs.window_record_bytes)),
    ]
    table = Table(title=f"measured in {pipeline.seconds:.1f} s on {pipeline.measured:,} posts", title_justify="left")
    table.add_column("what")
    table.add_column("here", justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table


def assumptions_line(report: Report) -> str:
    """Returns the assumptions of the table of sizes, as one line."""
    assumptions = report.assumptions
    return (
        f"{assumptions.keywords:,} keywords, {format_figure(report.costs.keywords_per_post)} in a post; windows "
        f"{', '.join(map(str, assumptions.sizes))}; worker cores used to {100 * assumptions.utilization:.0f} %, the "
        "others without headroom; one copy of everything. docs/sizing.md has the formulas."
    )
