"""`emostream alerts backtest`: runs rules over the history, and prints what they would have found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streams.cli.alerts_words import summary_of
from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable, printable_json, printable_name, quiet_pipe
from streams.cli.windows_rebuild import TimeType
from streams.errors import InputError
from streams.records import from_ms
from streams.window_sizes import format_duration
from streams.wording import counted

if TYPE_CHECKING:
    from streams.alerts.backtest.result import Incident, Result, RuleResult
    from streams.alerts.engine.engine import RevisedRule
    from streams.settings import Settings


@click.command(
    short_help="Run rules over the history, and show what they would have found.",
    epilog="Exit code: 0, whatever the rules find; 1 on an error, 130 after Ctrl-C.",
)
@click.option(
    "--rules",
    "rules_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The rules to run, as a TOML file.",
)
@click.option("--stored", is_flag=True, help="Run the rules that are stored in Postgres.")
@click.option("--from", "since", type=TimeType(), metavar="T", required=True, help="Begin with the windows at T.")
@click.option("--to", "until", type=TimeType(), metavar="T", required=True, help="End with the windows before T.")
@click.option(
    "--keyword", "keywords", metavar="K", multiple=True, help="Limit the rules to keyword K. May be repeated."
)
@click.option("--onset", type=TimeType(), metavar="T", help="When what should be found began: show how late it was.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="Show at most N incidents in the table; --json has all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def backtest(
    *,
    rules_file: Path | None,
    stored: bool,
    since: int,
    until: int,
    keywords: tuple[str, ...],
    onset: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Run rules over the history in Postgres, and show what they would have found, how late and how often.

    The rules are evaluated as `emostream alerts run` evaluates them, on the final windows that start in the time from
    --from to --to. What is usual is read from the hours of four weeks before. Nothing is written and nobody is told.

    T is a date or a time in UTC, such as 2026-03-01 or 2026-03-01T12:00:00Z. An incident is late by the time from the
    start of its first window to the end of the window with which it was certain.

    \b
    Examples:
      emostream alerts backtest --rules rules.toml --from 2026-03-01 --to 2026-03-29
      emostream alerts backtest --stored --from 2026-03-01 --to 2026-03-08 --keyword coffee
      emostream alerts backtest --rules rules.toml --from 2026-03-01 --to 2026-03-08 --onset 2026-03-05T14:00:00Z
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if stored == (rules_file is not None):
        raise click.UsageError("give --rules FILE or --stored")
    if until <= since:
        raise click.UsageError("--to must be after --from")
    if onset is not None and not since <= onset < until:
        raise click.UsageError("--onset must be in the time from --from to --to")
    settings = read_settings()
    from streams.alerts.backtest.backtest import run  # noqa: PLC0415 - loads the client library
    from streams.alerts.backtest.past_windows import past_windows  # noqa: PLC0415

    rules = _rules(settings, rules_file)
    if not any(one.rule.enabled for one in rules):
        raise InputError("there are no rules that are enabled")
    with past_windows(settings.postgres_dsn.get_secret_value()) as history, _Bar(progress_console()) as bar:
        result = run(history, rules, since, until, only=keywords, progress=bar.show)
    with quiet_pipe():
        if as_json:
            click.echo(printable_json(json.dumps(_document(result, since, until, onset), ensure_ascii=False)))
        else:
            _print(console(), result, onset, limit)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)


def _rules(settings: Settings, file: Path | None) -> list[RevisedRule]:
    """Returns the rules of a file, or those that are stored."""
    from streams.alerts.engine.engine import RevisedRule  # noqa: PLC0415 - takes time
    from streams.alerts.manage import with_connection  # noqa: PLC0415 - loads the client library
    from streams.alerts.rules.file import read_rules as read_file  # noqa: PLC0415
    from streams.alerts.storage.store import read_rules  # noqa: PLC0415

    if file is not None:
        return [RevisedRule(rule, 0) for rule in read_file(file)]
    found, unreadable = with_connection(settings, "reading the rules", read_rules)
    for one in unreadable:
        click.echo(f"emostream: rule {printable(one.id)} cannot be read: {printable(one.error)}", err=True)
    return [RevisedRule(one.rule, one.revision) for one in found]


class _Bar:
    """A progress bar on a terminal; elsewhere nothing. A context manager."""

    def __init__(self, out: Console) -> None:
        self._progress = Progress(
            TextColumn("evaluating"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._task = self._progress.add_task("", total=1.0)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, share: float) -> None:
        """Show the share of the work that is done, 0 to 1."""
        self._progress.update(self._task, completed=share)


def _print(out: Console, result: Result, onset: int | None, limit: int) -> None:
    out.print(_rule_table(result.rules, onset))
    incidents = _in_order(result)
    if incidents and limit:
        out.print()
        out.print(_incident_table(incidents[:limit]))
    if len(incidents) > limit:
        out.print(f"{counted(len(incidents) - limit, 'more incident')}; --limit or --json shows them", soft_wrap=True)


def _rule_table(rules: list[RuleResult], onset: int | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", overflow="fold")
    for column in ("keywords", "windows", "too small", "no baseline", "incidents", "a week", "late", "open"):
        table.add_column(column, justify="right")
    if onset is not None:
        table.add_column("after the onset", justify="right")
    for found in rules:
        late = sorted(incident.late_ms for incident in found.incidents)
        row = [
            escape(printable(found.rule.id)),
            f"{found.series:,}",
            f"{found.windows:,}",
            f"{found.too_small:,}",
            f"{found.without_baseline:,}",
            f"{len(found.incidents):,}",
            "" if found.per_week is None else f"{found.per_week:.3g}",
            _span(late[len(late) // 2]) if late else "",
            f"{sum(incident.closed is None for incident in found.incidents):,}",
        ]
        if onset is not None:
            first = found.first_after(onset)
            row.append("not found" if first is None else _span(first.opened.decided - onset))
        table.add_row(*row)
    return table


def _incident_table(incidents: list[Incident]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("rule", "keyword", "began", "certain after", "ended", "what"):
        table.add_column(column, overflow="fold")
    for incident in incidents:
        opened, closed = incident.opened, incident.closed
        table.add_row(
            escape(printable(opened.rule)),
            escape(printable_name(opened.keyword)),
            f"{from_ms(opened.began):%Y-%m-%d %H:%M}",
            _span(incident.late_ms),
            "open" if closed is None else f"{from_ms(closed.ended):%Y-%m-%d %H:%M}",
            escape(summary_of(opened.reason.summary)),
        )
    return table


def _in_order(result: Result) -> list[Incident]:
    incidents = [incident for rule in result.rules for incident in rule.incidents]
    return sorted(incidents, key=lambda incident: (incident.opened.decided, incident.opened.incident))


def _span(milliseconds: int) -> str:
    seconds = milliseconds // 1_000
    if seconds < 7_200:
        return format_duration(seconds)
    return f"{seconds / 3_600:.1f}h" if seconds < 172_800 else f"{seconds / 86_400:.1f}d"


def _document(result: Result, since: int, until: int, onset: int | None) -> dict[str, Any]:
    return {
        "from": from_ms(since).rfc3339(),
        "to": from_ms(until).rfc3339(),
        "onset": None if onset is None else from_ms(onset).rfc3339(),
        "notes": result.notes,
        "rules": [_rule_document(found, onset) for found in result.rules],
        "incidents": [_incident_document(incident) for incident in _in_order(result)],
    }


def _rule_document(found: RuleResult, onset: int | None) -> dict[str, Any]:
    first = None if onset is None else found.first_after(onset)
    return {
        "rule": found.rule.id,
        "revision": found.revision,
        "keywords": found.series,
        "keywords_without_data": found.series_without_data,
        "keywords_without_baseline": found.series_without_baseline,
        "windows": found.windows,
        "windows_too_small": found.too_small,
        "windows_without_baseline": found.without_baseline,
        "incidents": len(found.incidents),
        "per_week": found.per_week,
        "after_onset_s": None if first is None or onset is None else (first.opened.decided - onset) / 1_000,
    }


def _incident_document(incident: Incident) -> dict[str, Any]:
    opened, closed = incident.opened, incident.closed
    return {
        "incident": opened.incident,
        "rule": opened.rule,
        "keyword": opened.keyword,
        "size": opened.size,
        "began": from_ms(opened.began).rfc3339(),
        "decided": from_ms(opened.decided).rfc3339(),
        "late_s": incident.late_ms / 1_000,
        "ended": None if closed is None else from_ms(closed.ended).rfc3339(),
        "ended_because": None if closed is None else closed.because,
        "reason": json.loads(opened.reason.to_json()),
    }
