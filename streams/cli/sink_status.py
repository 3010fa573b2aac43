"""`emostream sink status`: shows the backlog of the sink and what the running sinks report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable
from streams.sink.report import SinkReport, age, percent
from streams.wording import counted

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.sink.status import Answer, TopicStatus

_COLOURS = {"ok": "green", "waiting": "yellow", "retrying": "red", "danger": "red"}


class _StatusUrl(click.ParamType):
    """An http address; /status is added if it has no path."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        import httpx  # noqa: PLC0415 - takes time, and no other command of the sink needs it

        try:
            url = httpx.URL(value)
        except httpx.InvalidURL as exc:
            self.fail(f"{value!r} is not an address: {exc}", param, ctx)
        if url.scheme not in ("http", "https") or not url.host:
            self.fail(f"{value!r} is not an address; give http://host:port", param, ctx)
        return str(url if url.path.strip("/") else url.copy_with(path="/status"))


@click.command(
    short_help="Show what waits to be written, and what is missing.",
    epilog="Exit code: 0; 1 if Kafka or Postgres does not answer.",
)
@click.option(
    "--url",
    "urls",
    type=_StatusUrl(),
    multiple=True,
    metavar="URL",
    show_default="this machine, EMOSTREAM_SINK_WEB_PORT",
    help="Address of a sink's web server, such as http://host:6068. May be repeated for several sinks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the status as a JSON object.")
def status(*, urls: tuple[str, ...], as_json: bool) -> None:
    """Show what waits to be written to Postgres, why it waits, and what is missing.

    The running sinks report whether their gate is open, how much of the CPU all other processes use, and their last
    backfill. A table, from Kafka and Postgres, has these figures for each partition; no sink needs to run for it:

    \b
    records        records that wait in Kafka
    oldest         how long the oldest of them has waited
    of retention   that time as a share of the topic's retention
    skipped        offsets that the sink has passed without writing them
    gaps           offsets in the table sink_gaps: neither Kafka nor Postgres has them

    `emostream backfill` reads skipped offsets again, and checks the rows in Postgres, which this command does not read.

    \b
    Examples:
      emostream sink status
      emostream sink status --url http://host-a:6065 --url http://host-b:6065
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    from streams.sink.status import ask, default_urls, read_topics, to_json  # noqa: PLC0415 - loads the client libraries

    with progress_console().status("asking"):
        answers = [ask(url) for url in urls or default_urls(settings)]
    if as_json:
        click.echo(json.dumps(to_json(answers, read_topics(settings)), indent=2))
        return
    # Printed before Kafka and Postgres are read: if one of these does not answer, the user still sees the reports.
    for line in sink_lines(answers, settings, datetime.now(UTC)):
        console().print(line, soft_wrap=True)
    with progress_console().status("reading"):
        topics = read_topics(settings)
    console().print(backlog_table(topics))
    for line in [*written_lines(topics, datetime.now(UTC)), *hole_lines(topics)]:
        console().print(line, soft_wrap=True)


def sink_lines(answers: Sequence[Answer], settings: Settings, now: datetime) -> list[str]:
    """Returns the reports of the sinks, as lines with rich markup."""
    if not answers:
        return [f"no sink was asked: EMOSTREAM_SINK_WEB_PORT is {settings.sink_web_port}; give --url"]
    lines = []
    for answer in answers:
        url = escape(printable(answer.url))
        if answer.report is None:
            lines.append(f"no sink answers at {url}: {escape(printable(answer.error or ''))}")
        else:
            lines += _report_lines(url, answer.report, now)
    return lines


def _report_lines(url: str, report: SinkReport, now: datetime) -> list[str]:
    gate = report.gate
    written = ", ".join(f"{topic.written:,} of {topic.topic}" for topic in report.topics)
    lines = [
        f"sink at {url}: [{_COLOURS.get(report.health, 'red')}]{report.health}[/]",
        f"  gate: {'open' if gate.is_open else 'closed'} for {age((now - gate.since).total_seconds())}: "
        f"{escape(printable(gate.why))}",
        f"  written in {age((now - report.started_at).total_seconds())}: {escape(printable(written))}",
    ]
    if (last := report.backfill) is None:
        lines.append("  backfill: none since the start")
    else:
        lines.append(
            f"  backfill: {age((now - last.ended_at).total_seconds())} ago; {counted(last.rows, 'row')} checked, "
            f"{counted(last.holes, 'hole')}, {counted(last.rows_filled, 'row')} and "
            f"{counted(last.windows_filled, 'window')} filled, {counted(last.gaps, 'gap')}"
        )
    closed = f"the gate is closed: {gate.why}"  # the line of the gate says this already
    lines += [f"  {escape(printable(reason))}" for reason in report.reasons if reason != closed]
    return lines


def backlog_table(topics: Sequence[TopicStatus]) -> Table:
    """Returns a table of what waits and what is missing: a row for each topic, and one for each of its partitions."""
    table = Table(title="backlog", title_justify="left")
    table.add_column("topic", overflow="fold")
    for column in ("records", "oldest", "of retention", "skipped", "gaps"):
        table.add_column(column, justify="right", no_wrap=True)

    def add(name: str, records: int, oldest_s: float | None, share: str, *counts: int, style: str = "") -> None:
        table.add_row(
            name, f"{records:,}", "" if oldest_s is None else age(oldest_s), share, *map(_count, counts), style=style
        )

    for topic in topics:
        gaps = topic.gap_offsets
        share = "" if topic.retention_share is None else percent(topic.retention_share)
        add(
            escape(printable(topic.topic)),
            topic.records,
            topic.oldest_s,
            f"[red]{share}[/]" if topic.in_danger else share,
            sum(one.skipped_offsets for one in topic.partitions),
            sum(gaps.values()),
            style="bold",
        )
        for one in topic.partitions:
            in_gaps = gaps.get(one.partition, 0)
            add(f"  partition {one.partition}", one.records, one.oldest_s, "", one.skipped_offsets, in_gaps)
        table.add_section()
    oldest = max((topic.oldest_s for topic in topics if topic.oldest_s is not None), default=None)
    add(
        "total",
        sum(topic.records for topic in topics),
        oldest,
        "",
        sum(one.skipped_offsets for topic in topics for one in topic.partitions),
        sum(sum(topic.gap_offsets.values()) for topic in topics),
        style="bold",
    )
    return table


def written_lines(topics: Iterable[TopicStatus], now: datetime) -> list[str]:
    """Returns when each topic was last written, as lines with rich markup."""
    return [
        f"{escape(printable(topic.topic))}: "
        + (
            "nothing has been written yet"
            if topic.last_written_at is None
            else f"last written {age((now - topic.last_written_at).total_seconds())} ago"
        )
        for topic in topics
    ]


def _count(number: int) -> str:
    return f"[red]{number:,}[/]" if number else "0"


def hole_lines(topics: Iterable[TopicStatus]) -> list[str]:
    """Returns what is missing and what to do about it, as lines with rich markup."""
    lines = []
    for topic in topics:
        name = escape(topic.topic)
        for one in topic.partitions:
            lines += [
                f"{name}\\[{one.partition}] {start} to {end - 1}: skipped; `emostream backfill` reads them again"
                for start, end in one.skipped
            ]
            if one.expired:
                lines.append(
                    f"{name}\\[{one.partition}]: {counted(one.expired, 'offset')} left Kafka before being written; the "
                    "sink will record this in sink_gaps"
                )
        lines += [
            f"{name}\\[{gap.partition}]: lost: {counted(gap.offsets, 'offset')} in {counted(gap.ranges, 'range')}, "
            f"which neither Kafka nor Postgres has ({gap.reason}; see sink_gaps)"
            for gap in topic.gaps
        ]
    return lines
