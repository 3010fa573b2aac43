"""`emostream windows rebuild`: rebuilds the windows in Redis from the posts in Kafka and Postgres."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streams.cli.common import INTERRUPTED, progress_console, read_settings
from streams.records import to_ms
from streams.wording import counted

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.windows.rebuild.run import Summary


class TimeType(click.ParamType):
    """A date or time in ISO 8601, as milliseconds since 1970; in UTC if it has no time zone."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the time in milliseconds since 1970."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date or time; give 2026-03-01 or 2026-03-01T12:00:00Z", param, ctx)
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@click.command(
    short_help="Rebuild the windows from the posts in Kafka and Postgres.",
    epilog="Exit code: 0 if the windows were rebuilt; 1 on an error, 130 after Ctrl-C: the windows are as they were.",
)
@click.option("--from", "since", type=TimeType(), metavar="T", help="Rebuild only windows that end after T.")
@click.option("--to", "until", type=TimeType(), metavar="T", help="Rebuild only windows that start before T.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def rebuild(*, since: int | None, until: int | None, as_json: bool) -> int:
    """Rebuild the windows in Redis from the posts in Kafka, and for earlier times from those in Postgres.

    The workers may run meanwhile. The posts are counted in new tables beside the current ones, which they then replace
    in one step; the workers wait for a second or two before it. A window whose posts are no longer all in Kafka or
    Postgres stays as it is. Windows that have changed are published under a higher revision. A line on stderr says how
    many posts were read and how many windows changed.

    T is a date or a time in UTC, such as 2026-03-01 or 2026-03-01T12:00:00Z. --from and --to select every window that
    overlaps this range, also of hours and days; the other windows stay as they are.

    \b
    Examples:
      emostream windows rebuild
      emostream windows rebuild --from 2026-03-01 --to 2026-03-03
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--from must be before --to")
    summary = asyncio.run(_run(read_settings(), since, until))
    if summary is None:
        progress_console().print("stopped; the windows are as they were")
        return INTERRUPTED
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    else:
        progress_console().print(
            f"rebuilt {counted(summary.windows, 'window')} from {counted(summary.posts, 'post')} in "
            f"{summary.seconds:.1f} s: {summary.changed:,} changed, of which {summary.empty:,} now without posts; "
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
        # The first signal stops the rebuild, which removes its new tables; a second one ends the process at once.
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
