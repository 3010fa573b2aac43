"""`emostream windows rebuild`."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streams.cli.common import progress_console, read_settings
from streams.records import to_ms

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.windows.rebuild.run import Summary

INTERRUPTED = 130


class Moment(click.ParamType):
    """An RFC 3339 date or date-time, as milliseconds since 1970; UTC where it does not say."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date or time; give 2026-03-01 or 2026-03-01T12:00:00Z", param, ctx)
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@click.command(
    epilog="Exit code: 0 if the rebuilt tables are in force; 1 on an error, 130 after Ctrl-C: then the old ones are.",
)
@click.option("--from", "since", type=Moment(), metavar="T", help="Only windows that end after this time.")
@click.option("--to", "until", type=Moment(), metavar="T", help="Only windows that start before this time.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def rebuild(*, since: int | None, until: int | None, as_json: bool) -> int:
    """Count the windows anew, from what Kafka holds and before it from Postgres.

    Workers may run, and posts may come: the windows are counted beside the ones in force and replace them at once; for
    that the workers wait a second or two. Windows of which some posts are nowhere any more stay what they are. What has
    changed is published under a higher revision.

    T is a date or a time in UTC, such as 2026-03-01 or 2026-03-01T12:00:00Z. Windows that overlap [--from, --to) are
    counted anew, those of days and hours among them; the others stay what they are.
    """
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--from must lie before --to")
    summary = asyncio.run(_run(read_settings(), since, until))
    if summary is None:
        progress_console().print("stopped; the windows are as they were")
        return INTERRUPTED
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    else:
        progress_console().print(
            f"{summary.posts:,} posts read, {summary.windows:,} windows, {summary.changed:,} of them changed "
            f"({summary.empty:,} are empty now), in {summary.seconds:.1f} s; "
            f"the workers waited {summary.sealed_seconds:.1f} s",
            soft_wrap=True,
        )
    return 0


async def _run(settings: Settings, since: int | None, until: int | None) -> Summary | None:
    from streams.windows.connect import open_store  # noqa: PLC0415 - loads the client libraries
    from streams.windows.rebuild.run import RebuildStoppedError, rebuild  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        # What is half made goes before we do; a second signal does not wait for that.
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = progress_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("counting", total=None)

        def progress(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        async with open_store(settings) as store:
            try:
                return await rebuild(settings, store, since=since, until=until, progress=progress, stopped=stop.is_set)
            except RebuildStoppedError:
                return None
