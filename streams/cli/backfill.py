"""`emostream backfill`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from streams.cli.common import progress_console, read_settings
from streams.errors import BackfillStoppedError, HolesError
from streams.process.signals import stop_on_signals

if TYPE_CHECKING:
    import threading

    from streams.settings import Settings
    from streams.sink.backfill.holes import Findings
    from streams.sink.gate.rule import GateState

INTERRUPTED = 130


@click.command(
    epilog="Exit code: 0 if nothing is missing, or everything was filled; 1 on an error, and with --check if something "
    "is missing; 130 after Ctrl-C: what was filled stays.",
)
@click.option("--check", is_flag=True, help="Only look, and name what is missing.")
@click.option("--force", is_flag=True, help="Write whatever the load of the machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def backfill(*, check: bool, force: bool, as_json: bool) -> int:
    """Find what Postgres lacks, and fill it.

    Compares the ledger of what the sink wrote with its offsets, and with the rows that are really there (their number
    and a checksum of each range). Ranges that were skipped, and rows that are gone or changed, are read again from
    Kafka and written; windows that Postgres lacks are copied from Redis. What neither has any more is noted in the
    table sink_gaps.

    It waits for the machine to be idle as the sink does; the sink may run meanwhile, and does the same by itself every
    EMOSTREAM_SINK_BACKFILL_INTERVAL_S. With --check it only reads, and at once.
    """
    try:
        findings = _run(read_settings(), stop_on_signals(), fill=not check, ignore_load=check or force)
    except BackfillStoppedError:
        progress_console().print("stopped; what was filled stays")
        return INTERRUPTED
    if as_json:
        from streams.sink.backfill.standalone import findings_document  # noqa: PLC0415 - loads the client libraries

        click.echo(json.dumps(findings_document(findings), indent=2))
    else:
        for line in to_lines(findings, filled=not check):
            click.echo(line)
    if check and not findings.whole:
        raise HolesError("Postgres lacks something; `emostream backfill` fills what can be filled")
    return 0


def _run(settings: Settings, stop: threading.Event, *, fill: bool, ignore_load: bool) -> Findings:
    from streams.sink.backfill.standalone import run_standalone  # noqa: PLC0415 - loads the client libraries

    with progress_console().status("looking") as status:

        def show_waiting(state: GateState) -> None:
            status.update(f"waiting: the machine is {state.reason}")

        def show_findings(findings: Findings) -> None:
            status.update(
                f"{findings.ranges:,} ranges, {findings.rows:,} rows and {findings.windows or 0:,} windows looked at; "
                f"{len(findings.holes):,} holes"
            )

        return run_standalone(
            settings,
            stop,
            fill=fill,
            ignore_load=ignore_load,
            on_waiting=show_waiting,
            on_findings=show_findings,
        )


def to_lines(findings: Findings, *, filled: bool) -> list[str]:
    """The findings for people."""
    lines = [str(hole) for hole in findings.holes]
    lines.append(
        f"{findings.ranges:,} ranges with {findings.rows:,} rows and {findings.windows or 0:,} windows looked at: "
        f"{len(findings.holes):,} holes, {findings.windows_missing:,} windows missing, "
        f"{findings.windows_behind:,} behind"
    )
    if filled and not findings.whole:
        lines.append(f"{findings.rows_filled:,} rows and {findings.windows_filled:,} windows filled")
    if findings.windows_refused:
        lines.append(f"{findings.windows_refused:,} windows are none that PostgreSQL takes")
    if findings.dead:
        lines.append(f"{len(findings.dead):,} records are dead letters now")
    lines += [
        f"{topic}[{gap.partition}] {gap.start} to {gap.end - 1} is nowhere any more; noted in sink_gaps"
        for topic, gap in findings.gaps
    ]
    return lines
