"""`emostream sources`: shows what each source of posts does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from streams.cli.common import FiniteFloatRange, confirm, console, progress_console, read_settings
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.sink.report import age
from streams.wording import counted

if TYPE_CHECKING:
    from streams.ingest.sources.status import SourceStatus, Statuses

NOTHING = "no source has run yet"
_COLOURS = {"running": "green", "waiting": "yellow", "stopped": "red", "failed": "red"}


@click.group(invoke_without_command=True)
@click.option("--follow", is_flag=True, help="Refresh until Ctrl-C.")
@click.option(
    "--interval",
    type=FiniteFloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds between two refreshes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; with --follow, one a line.")
@click.pass_context
def sources(context: click.Context, *, follow: bool, interval: float, as_json: bool) -> None:
    """Show what each source of posts does, and what it has counted.

    The figures come from Kafka, where a source stores them once a second with its position. So the command works on any
    machine, also for a source that does not run. The totals go on after a restart.

    \b
    posts/s      posts a second in the last minute
    last event   how long ago the network sent something, a keep-alive included
    behind       how old the last event was when it was confirmed; of a source that is stopped: how old it is now
    reconnects   connections that failed or ended
    gaps         times whose posts the network could no longer send; `emostream tail emostream.gaps` has them

    \b
    Examples:
      emostream sources
      emostream sources --follow --interval 5
      emostream sources forget old-feeds
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if context.invoked_subcommand is not None:
        if follow or as_json:
            raise click.UsageError("--follow and --json belong to the table of the sources")
        return
    from streams.ingest.sources.status import StatusReader, to_json  # noqa: PLC0415 - loads the Kafka client

    reader, out = StatusReader(read_settings()), console()
    if follow and not as_json and out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                live.update(_screen(reader.read()), refresh=True)
                time.sleep(interval)
    with quiet_pipe():
        while True:
            statuses = reader.read()
            if as_json:
                document = json.dumps(to_json(statuses), ensure_ascii=False)
                click.echo(printable_json(document))
            else:
                show(statuses, out)
            if not follow:
                return
            time.sleep(interval)


@sources.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(*, name: str, yes: bool) -> None:
    """Remove the source NAME, which no longer runs, from the list.

    Its position and its totals are lost. If it runs again, it begins as for the first time, and records no gap. Its
    posts and its gaps stay. The command is refused while a process runs the source, or waits for it.

    \b
    Example:
      emostream sources forget old-feeds
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ingest.sources.forget import forget as remove  # noqa: PLC0415 - loads the Kafka client
    from streams.ingest.sources.forget import forgettable  # noqa: PLC0415

    settings = read_settings()
    one = forgettable(settings, name)
    if not yes:
        confirm(f"{_lost(name, one)} Forget it?", otherwise=f"{printable(name)} was not forgotten")
    remove(settings, name)
    click.echo(f"{printable(name)} is forgotten")


def _lost(name: str, one: SourceStatus | None) -> str:
    named = printable(name)
    if one is None:
        return f"The position of {named} cannot be read."
    position, report = one.position, one.position.report
    at = "" if position.at is None else f" at {position.at:%Y-%m-%d %H:%M:%S}Z"
    posts = "" if report is None else f", and its totals, with {counted(report.posts, 'post')}"
    return f"{named} ({printable(position.source)}) loses its position{at}{posts}."


def show(statuses: Statuses, out: Console) -> None:
    """Print the status of all sources."""
    if not statuses.sources and not statuses.unreadable:
        progress_console().print(NOTHING)
        return
    now = datetime.now(UTC)
    out.print(source_table(statuses.sources, now))
    for line in lines_below(statuses, now):
        out.print(line, soft_wrap=True)


def lines_below(statuses: Statuses, now: datetime) -> list[str]:
    """Returns what each source has counted, why some have failed, and which positions cannot be read, with markup."""
    lines = [count_line(one, now) for one in statuses.sources]
    lines += [
        f"[red]{escape(printable(one.position.instance))} has failed: {escape(printable(one.failure))}[/]"
        for one in statuses.sources
        if one.failure is not None
    ]
    return lines + [
        f"[red]{escape(printable(instance))}: its position cannot be read: {escape(problem)}[/]"
        for instance, problem in statuses.unreadable.items()
    ]


def _screen(statuses: Statuses) -> Group:
    if not statuses.sources and not statuses.unreadable:
        return Group(NOTHING)
    now = datetime.now(UTC)
    return Group(source_table(statuses.sources, now), *lines_below(statuses, now))


def source_table(found: Sequence[SourceStatus], now: datetime) -> Table:
    """Returns the table of the sources."""
    table = Table()
    table.add_column("source", overflow="fold")
    table.add_column("state")
    for column in ("posts", "posts/s", "last event", "behind", "gaps"):
        table.add_column(column, justify="right")
    for one in found:
        report, gaps = one.position.report, one.position.gaps
        table.add_row(
            escape(printable(one.position.instance)),
            f"[{_COLOURS[one.state.value]}]{one.state.value}[/]",
            "" if report is None else f"{report.posts:,}",
            "" if report is None else f"{one.posts_per_second(now):,.1f}",
            _ago(one.idle_s(now)),
            _duration(one.lag_s(now)),
            f"[red]{gaps:,}[/]" if gaps else "0",
        )
    return table


def state_text(one: SourceStatus, now: datetime) -> str:
    """Returns whether a source runs and where, or since when it does not, with rich markup."""
    if one.runner is not None:
        where = escape(printable(one.runner.host))
        text = f"running on {where}" + ("" if one.runner.pid is None else f" (pid {one.runner.pid})")
        if one.waiting:
            text += f" while {counted(len(one.waiting), 'process waits', 'processes wait')}"
        return text
    if one.waiting:
        return f"waiting on {', '.join(escape(printable(process.host)) for process in one.waiting)}"
    return f"{one.state.value} {age((now - one.position.saved_at).total_seconds())} ago"


def count_line(one: SourceStatus, now: datetime) -> str:
    """Returns where a source runs and what it has counted, with rich markup."""
    name, report = f"{escape(printable(one.position.instance))} {state_text(one, now)}", one.position.report
    if report is None:
        return f"{name}: its position is of an earlier version and has no counts"
    parts = [
        f"reconnects {report.reconnects:,}",
        f"keywords kept {report.kept:,}, dropped {one.dropped:,}, cut {report.cut:,}",
        f"repeated {report.duplicates:,}",
        f"edits {one.edits:,}, deletions {report.deletions:,}",
        f"skipped {_by_name(one.skipped)}",
    ]
    if report.repaired:
        parts.append(f"repaired {_by_name(report.repaired)}")
    if report.gap_seconds:
        parts.append(f"gaps of {age(report.gap_seconds)} in all")
    return f"{name}; since {report.since:%Y-%m-%d %H:%M}Z: {'; '.join(parts)}"


def _by_name(counts: Mapping[str, int]) -> str:
    named = [f"{escape(printable(name))} {count:,}" for name, count in sorted(counts.items()) if count]
    return ", ".join(named) or "0"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 10 else age(seconds)


def _ago(seconds: float | None) -> str:
    return f"{_duration(seconds)} ago" if seconds is not None else ""
