"""`emostream backfill`: finds what Postgres lacks, and writes it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click

from streams.cli.common import INTERRUPTED, progress_console, read_settings
from streams.errors import BackfillStoppedError, HolesError
from streams.process.signals import stop_on_signals
from streams.wording import counted

if TYPE_CHECKING:
    import threading

    from streams.gate.rule import GateState
    from streams.settings import Settings
    from streams.sink.backfill.holes import Findings


@click.command(
    epilog="Exit code: 0 if nothing is missing, or what can be written was written; 1 on an error, and with --check if "
    "something is missing; 130 after Ctrl-C: what was written stays.",
)
@click.option("--check", is_flag=True, help="Print what is missing, at any load, and write nothing.")
@click.option("--force", is_flag=True, help="Write at any load of the machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON object.")
def backfill(*, check: bool, force: bool, as_json: bool) -> int:
    """Find what Postgres lacks, and write it.

    Compares the sink's ledger, which has every range of offsets that the sink wrote, with the sink's offsets and with
    the rows of each range (their number and a checksum). Ranges that were skipped, and ranges whose rows are missing or
    have changed, are read from Kafka and written again. Windows that Postgres lacks are copied from Redis. Offsets that
    Kafka no longer has are recorded in the table sink_gaps. Prints a line for each such range, and a summary.

    The command writes only while the machine is idle, as the sink does. The sink may run meanwhile; it does the same
    work itself every EMOSTREAM_SINK_BACKFILL_INTERVAL_S seconds.

    \b
    Examples:
      emostream backfill --check
      emostream backfill --force
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    try:
        findings = _run(read_settings(), stop_on_signals(), fill=not check, ignore_load=check or force)
    except BackfillStoppedError:
        progress_console().print("stopped; what was written stays")
        return INTERRUPTED
    if as_json:
        from streams.sink.backfill.standalone import findings_document  # noqa: PLC0415 - loads the client libraries

        click.echo(json.dumps(findings_document(findings), indent=2))
    else:
        for line in to_lines(findings, filled=not check):
            click.echo(line)
    if check and not findings.complete:
        raise HolesError("Postgres lacks rows or windows; `emostream backfill` writes those that can be read again")
    return 0


def _run(settings: Settings, stop: threading.Event, *, fill: bool, ignore_load: bool) -> Findings:
    from streams.sink.backfill.standalone import run_standalone  # noqa: PLC0415 - loads the client libraries
    from streams.sink.report import gate_report  # noqa: PLC0415

    with progress_console().status("checking") as status:

        def show_waiting(state: GateState) -> None:
            status.update(f"waiting: {gate_report(state, settings).why}")

        def show_findings(findings: Findings) -> None:
            status.update(
                f"{counted(findings.ranges, 'range')}, {counted(findings.rows, 'row')} and "
                f"{counted(findings.windows or 0, 'window')} checked; {counted(len(findings.holes), 'hole')}"
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
    """Returns the findings as lines for people. `filled` says whether the backfill was allowed to write."""
    lines = [str(hole) for hole in findings.holes]
    lines.append(
        f"{counted(findings.ranges, 'range')} with {counted(findings.rows, 'row')} and "
        f"{counted(findings.windows or 0, 'window')} checked: {counted(len(findings.holes), 'hole')}, "
        f"{counted(findings.windows_missing, 'window')} missing, "
        f"{counted(findings.windows_outdated, 'window')} outdated"
    )
    if filled and not findings.complete:
        lines.append(f"{counted(findings.rows_filled, 'row')} and {counted(findings.windows_filled, 'window')} written")
    if findings.windows_rejected:
        lines.append(f"PostgreSQL rejected {counted(findings.windows_rejected, 'window')}")
    if findings.dead:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in Counter(findings.dead).most_common())
        lines.append(f"{counted(len(findings.dead), 'dead letter')} written: {reasons}")
    lines += [
        f"{topic}[{gap.partition}] {gap.start} to {gap.end - 1}: lost, cannot be read from Kafka; recorded in sink_gaps"
        for topic, gap in findings.gaps
    ]
    return lines
