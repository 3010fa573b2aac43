"""`emostream stress`: sends requests to the HTTP service at a steady rate, and shows how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from streams.cli.api_client import KeywordType, api_options, opened_client
from streams.cli.common import INTERRUPTED, FiniteFloatRange, console, progress_console, read_settings
from streams.cli.stress_inputs import lines_of, texts_of
from streams.errors import InputError, MeasurementError
from streams.ops.demo.sample import sample_posts
from streams.ops.stress.generator import Job, Progress
from streams.ops.stress.latencies import Distribution
from streams.ops.stress.load import run_load
from streams.ops.stress.report import Limits, Report
from streams.ops.stress.schedule import Schedule
from streams.ops.stress.workload import Target, Workload, drawn, requests_of
from streams.settings import Settings

_TOP_KEYWORDS = 100
_SEED = 1
_ALL = "*"

REFUSED = frozenset({401, 403})
"""The statuses of answers to callers that may not ask."""


@click.command(
    epilog="Exit code: 0; 1 on an error, or if a limit of --max-errors or --max-p99-ms was exceeded; 130 after Ctrl-C."
)
@click.option(
    "--workload",
    type=click.Choice([workload.value for workload in Workload]),
    default=Workload.QUERY.value,
    show_default=True,
    help="What is asked. predict-batch sends 32 texts in a request.",
)
@click.option(
    "--rate",
    type=FiniteFloatRange(0, 1_000_000, min_open=True),
    default=100,
    show_default=True,
    metavar="N",
    help="Requests a second of all processes together.",
)
@click.option(
    "--duration",
    type=FiniteFloatRange(0, 86_400, min_open=True),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long requests are counted.",
)
@click.option(
    "--warm-up",
    type=FiniteFloatRange(0, 3_600),
    default=3,
    show_default=True,
    metavar="SECONDS",
    help="How long requests are sent before, which are not counted.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 20_000),
    default=64,
    show_default=True,
    metavar="N",
    help="Most connections; a request without a free one waits, and its latency contains that.",
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Processes that send."
)
@click.option(
    "--timeout",
    type=FiniteFloatRange(0, 600, min_open=True),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer may take.",
)
@click.option(
    "--keyword",
    "keywords",
    type=KeywordType(),
    multiple=True,
    help="Ask for this keyword; may be repeated.",
)
@click.option(
    "--keywords-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Ask for the keywords of this file, one a line, the most frequent first.",
)
@click.option(
    "--zipf",
    type=FiniteFloatRange(0, 5),
    default=1,
    show_default=True,
    metavar="S",
    help="The n-th keyword is asked for n^-S times as often as the first; 0 for all alike.",
)
@click.option(
    "--texts-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help='Classify these texts: JSON lines with "text". By default, those of the demo.',
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="FILE.png",
    help="Write a chart of latency and throughput to this file; its name may end in .svg.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
@click.option(
    "--max-errors",
    type=FiniteFloatRange(0, 100),
    default=1,
    show_default=True,
    metavar="PERCENT",
    help="Exit with 1 if more requests failed.",
)
@click.option(
    "--max-p99-ms",
    type=FiniteFloatRange(0, min_open=True),
    metavar="MS",
    help="Exit with 1 if the p99 from the planned time is higher.",
)
@api_options
def stress(
    *,
    workload: str,
    rate: float,
    duration: float,
    warm_up: float,
    connections: int,
    processes: int,
    timeout: float,
    keywords: tuple[str, ...],
    keywords_file: Path | None,
    zipf: float,
    texts_file: Path | None,
    plot: Path | None,
    as_json: bool,
    max_errors: float,
    max_p99_ms: float | None,
    url: str | None,
) -> int:
    """Send requests to the HTTP service at a steady rate, and show how fast it answers.

    Requests leave at planned times, whatever the answers do. A latency counts from the planned time, so the time in
    which a slow service keeps others waiting is not left out (coordinated omission). The keywords of `query` and
    `windows` are the service's most frequent ones, drawn by Zipf's law.

    \b
    Examples:
      emostream stress --rate 500 --duration 60 --plot load.png
      emostream stress --workload predict --rate 200 --connections 128
      emostream stress --keyword coffee --max-errors 0 --max-p99-ms 200 --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if processes > connections:
        raise InputError(f"--processes: {processes} processes need at least {processes} --connections")
    if plot is not None and plot.suffix not in {".png", ".svg"}:
        raise InputError(f"--plot: {plot}: the name must end in .png or .svg")
    settings = read_settings(api_url=url)
    asked, target = Workload(workload), Target.of(settings.api_url)
    words = [*keywords, *(lines_of(keywords_file) if keywords_file else ())]
    if asked.needs_keywords and not words:
        words = _top_keywords(url)
    texts = [] if asked.needs_keywords else texts_of(texts_file or sample_posts())
    _check_admitted(url, asked, words or texts)
    requests = requests_of(asked, target, keywords=words, texts=texts, key=_key(settings))
    job = Job(
        target,
        Schedule(rate, warm_up, duration),
        requests,
        drawn(len(requests), zipf if asked.needs_keywords else 0, _SEED),
        connections,
        timeout,
    )
    result = run_load(job, processes, _Shown(progress_console(), job.schedule, quiet=as_json))
    report, limits = Report.of(workload, rate, result), Limits(max_errors, max_p99_ms)
    if as_json:
        click.echo(json.dumps(report.as_dict(limits)))
    else:
        show(report, console())
    if plot is not None:
        _write_plot(report, plot)
    if result.is_interrupted:
        click.echo("emostream: interrupted; the figures are those until then", err=True)
        return INTERRUPTED
    if failures := report.failures(limits):
        raise MeasurementError("; ".join(failures))
    return 0


def _key(settings: Settings) -> str | None:
    return settings.api_key.get_secret_value() if settings.api_key is not None else None


def _top_keywords(url: str | None) -> list[str]:
    """Returns the service's most frequent keywords; those of all posts alone if there are none.

    Raises:
        UnavailableError, RejectedError: The service does not tell.
    """
    with opened_client(url) as client:
        found = [row.keyword for row in client.keywords(limit=_TOP_KEYWORDS).keywords]
    return [word for word in found if word != _ALL] or [_ALL]


def _check_admitted(url: str | None, workload: Workload, asked: Sequence[str]) -> None:
    """Ask what the load asks first, once, so that a wrong key does not become a load of refusals.

    All other failures are the load's to measure.

    Raises:
        RejectedError: The key is missing or wrong, or may not do this.
    """
    from api.client import ApiError  # noqa: PLC0415 - loads httpx

    with opened_client(url) as client:
        ask: dict[Workload, Callable[[], object]] = {
            Workload.QUERY: lambda: client.query(asked[0]),
            Workload.WINDOWS: lambda: client.windows(asked[0], limit=1),
            Workload.PREDICT: lambda: client.predict(asked[0]),
            Workload.PREDICT_BATCH: lambda: client.predict_batch(asked[:1]),
        }
        try:
            ask[workload]()
        except ApiError as exc:
            if exc.status in REFUSED:
                raise


def _write_plot(report: Report, file: Path) -> None:
    from streams.charts.render import render  # noqa: PLC0415 - loads the drawing library
    from streams.ops.stress.chart import load_chart  # noqa: PLC0415

    try:
        file.write_bytes(render(load_chart(report), "svg" if file.suffix == ".svg" else "png", scale=2))
    except OSError as exc:
        raise InputError(f"{file}: cannot be written: {exc.strerror}") from exc


class _Shown:
    """Prints the state of a running load on stderr: one line that changes on a terminal, else nothing."""

    def __init__(self, out: Console, schedule: Schedule, *, quiet: bool) -> None:
        self._out = out
        self._schedule = schedule
        self._is_quiet = quiet or not out.is_terminal
        self._last_ok = 0

    def __call__(self, now: Progress) -> None:
        if self._is_quiet:
            return
        phase = "warm-up" if now.at < self._schedule.warm_up_s else "measuring"
        line = (
            f"{phase} {now.at:.0f} of {self._schedule.end_s:.0f} s: {now.ok - self._last_ok:,} answered in the last "
            f"second, {now.failed:,} failed, {now.open:,} open"
        )
        self._last_ok = now.ok
        self._out.print(line.ljust(self._out.width - 1)[: self._out.width - 1], end="\r", style="dim", soft_wrap=True)


def show(report: Report, out: Console) -> None:
    """Print a report for people."""
    tally = report.result.tally
    head = f"/v1/{report.workload.replace('-', '/')}: {report.rate:,g} requests a second for"
    out.print(f"{head} {report.result.measured_s:.1f} s", style="bold", soft_wrap=True)
    counts = Table(box=None, show_header=False, pad_edge=False)
    counts.add_column(justify="left")
    counts.add_column(justify="right")
    counts.add_row("offered", f"{tally.offered:,}")
    counts.add_row("sent", f"{tally.sent:,}")
    counts.add_row("answered", f"{tally.ok:,}", f"{report.answered_per_s:,.1f} a second")
    if tally.from_cache:
        counts.add_row("from the cache", f"{tally.from_cache:,}", f"{100 * tally.from_cache / tally.ok:.1f} %")
    counts.add_row("failed", f"{tally.failed:,}", f"{report.failed_pct:.2f} %")
    for status, count in sorted(tally.statuses.items()):
        counts.add_row(f"  status {status}", f"{count:,}", {429: "rate limit", 503: "too busy"}.get(status, ""))
    for error, count in sorted(tally.errors.items()):
        counts.add_row(f"  {error}", f"{count:,}")
    if tally.unfinished:
        counts.add_row("unfinished", f"{tally.unfinished:,}")
    out.print(counts)
    latencies = Table(box=None, pad_edge=False)
    latencies.add_column("ms", no_wrap=True)
    for name in ("p50", "p90", "p95", "p99", "p99.9", "max"):
        latencies.add_column(name, justify="right", min_width=6)
    for name, found in (("from the planned time", report.from_plan), ("from sending", report.from_send)):
        latencies.add_row(name, *_figures(found))
    out.print(latencies)
    for warning in report.warnings():
        out.print(f"note: {warning}", style="yellow", soft_wrap=True)


def _figures(found: Distribution) -> list[str]:
    values = (found.p50, found.p90, found.p95, found.p99, found.p999, found.max)
    return ["-" if value is None else f"{value:,.2f}" for value in values]
