"""`emostream demo`: runs the whole application on this machine, on a few hundred posts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from streams.cli.audit import audit_table
from streams.cli.common import console
from streams.cli.sources import show
from streams.cli.window_table import windows_table
from streams.errors import EmostreamError
from streams.ops.demo.sample import sample_posts

if TYPE_CHECKING:
    from streams.ops.demo.run import DemoProgress

SHOWN_WINDOWS = 14

STARTING = "the worker is starting: it fetches the model from S3 and loads it"
"""What is shown until the first post is classified."""


@click.command(epilog="Exit code: 0; 1 on an error, or if a check of the audit failed.")
@click.option(
    "--posts",
    type=click.Path(path_type=Path),
    default=sample_posts,
    metavar="FILE",
    show_default="360 posts that come with the project",
    help="Posts to feed, as JSON lines (.jsonl), CSV (.csv), TSV (.tsv) or text (.txt).",
)
@click.option(
    "--source",
    type=click.Choice(["jetstream"]),
    help="Let the posts come from a live source: `jetstream` is a server on this machine that speaks the protocol of "
    "Bluesky. `emostream ingest` reads it, and is killed once.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".emostream/demo"),
    show_default=True,
    help="Folder of the demo. Its content is deleted at the start.",
)
@click.option("--keep", is_flag=True, help="Leave the servers and the HTTP service running at the end.")
def demo(*, posts: Path, source: str | None, data_dir: Path, keep: bool) -> None:
    """Run the whole application on this machine on a few hundred posts, and audit the result.

    Starts Kafka, Valkey, PostgreSQL and an S3 server on 127.0.0.1, a worker, a sink and an HTTP service. Feeds the
    posts, shows the windows as they fill, asks the service a question, checks that no post was lost or counted twice,
    draws a chart of the emotions by keyword, and writes a Tableau workbook for its database. Prints the checks and the
    paths, and stops everything. It takes about half a minute. It needs no settings and no Docker; only the first run
    needs the network, to download Kafka.

    \b
    Examples:
      emostream demo
      emostream demo --source jetstream
      emostream demo --posts my_posts.csv --keep
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    try:
        from streams.ops.audit import require_balance  # noqa: PLC0415 - loads the client libraries
        from streams.ops.demo.run import run_demo  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise EmostreamError(f"the demo needs {exc.name}; run `pip install 'emostream[local]'`") from exc

    out = console()
    display = Display(out)
    with display:
        outcome = asyncio.run(
            run_demo(
                posts,
                data_dir.resolve(),
                keep=keep,
                live=source is not None,
                on_line=display.line,
                on_progress=display.update,
                on_service=display.ask,
            )
        )
    for line in outcome.refused:
        out.print(f"refused: {line}", markup=False)
    out.print()
    out.print(audit_table(outcome.checks))
    if outcome.sources is not None:
        out.print("emostream sources:")
        show(outcome.sources, out)
    out.print(f"emotions by keyword: {outcome.chart}", soft_wrap=True)
    out.print(f"Tableau workbook: {outcome.workbook}", soft_wrap=True)
    out.print(f"done in {outcome.seconds:.0f} s")
    if keep:
        out.print(f"the HTTP service is still running; kill {outcome.service_pid} stops it", soft_wrap=True)
        out.print(f'the servers are still running: eval "$(emostream local env --data-dir {data_dir})"', soft_wrap=True)
        out.print(f"emostream local down --data-dir {data_dir} stops the servers", soft_wrap=True)
        out.print("the worker and the sink have ended: `emostream worker` and `emostream sink` start them again")
        out.print("the password for Tableau is the one in EMOSTREAM_POSTGRES_DSN", soft_wrap=True)
    require_balance(outcome.checks)


class Display:
    """Prints lines and, below them, progress bars and windows. A context manager.

    If the console is not a terminal, it prints a summary whenever the progress has changed instead of the bars.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live = Live(console=out, auto_refresh=False) if out.is_terminal else None
        self._last = ""

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """Print one line."""
        self._out.print(text, style="dim", markup=False, soft_wrap=True)

    def ask(self, address: str) -> None:
        """Ask the HTTP service about all posts, and print the answer."""
        from api.client import Client  # noqa: PLC0415 - loads httpx
        from streams.cli.query import show as show_answer  # noqa: PLC0415

        with Client(address) as client:
            question = """curl -s -H 'Content-Type: application/json' -d '{"keyword": "*"}' """
            pages = f"the dashboard: {address}/ (the HTTP service: {address}/docs)"
            self._out.print(pages, soft_wrap=True, markup=False)
            self._out.print(f"a question for it: {question}{address}/v1/query", soft_wrap=True, markup=False)
            show_answer(client.query("*"), self._out)

    def update(self, progress: DemoProgress) -> None:
        """Show how many posts have arrived where."""
        counts = progress.counts
        has_begun = counts.classified + counts.dead > 0
        if self._live is not None:
            windows = progress.windows[:SHOWN_WINDOWS]
            below = windows_table(windows, self._out) if windows else "" if has_begun else STARTING
            self._live.update(Group(_bars(progress), "", below), refresh=True)
            return
        text = STARTING
        if has_begun:
            text = (
                f"produced {progress.produced}/{progress.total}, classified {counts.classified}, "
                f"dead-lettered {counts.dead}, in windows {counts.in_windows}, in Postgres {counts.in_postgres}"
            )
        if text != self._last:
            self._last = text
            self._out.print(text, soft_wrap=True)


def _bars(progress: DemoProgress) -> Table:
    counts = progress.counts
    stages = [
        ("produced", progress.produced),
        ("classified" if not counts.dead else "classified + dead", counts.classified + counts.dead),
        ("in windows", counts.in_windows + counts.dead),
        ("in Postgres", counts.in_postgres + counts.dead),
    ]
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=18)
    for name, done in stages:
        bar = ProgressBar(total=progress.total, completed=done, width=40)
        table.add_row(name, bar, f"{done:,} of {progress.total:,}")
    return table
