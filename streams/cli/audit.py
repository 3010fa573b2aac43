"""`emostream audit`: checks that no post is lost or counted twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from streams.cli.common import FiniteFloatRange, console, progress_console, read_settings
from streams.cli.output import printable

if TYPE_CHECKING:
    from streams.ops.audit import Check


@click.command(epilog="Exit code: 0 if every check succeeded; 1 on an error, or if a check failed.")
@click.option(
    "--wait",
    type=FiniteFloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Repeat failed checks for up to this many seconds, since posts may still be on their way.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as a JSON array.")
def audit(*, wait: float, as_json: bool) -> None:
    """Check that no post is lost or counted twice.

    Reads the raw, classified and dead-letter topics from their beginning, counts the windows of every keyword and size
    again, and compares them with the windows in Redis and in Postgres. Prints a table with a row for each check: what
    was expected, what was found, and why a check failed. Checks fail while posts are still on their way, so use --wait
    after producing. The HTTP service shows the last result at /v1/audit.

    \b
    Examples:
      emostream audit
      emostream audit --wait 30
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ops.audit import require_balance  # noqa: PLC0415 - loads the client libraries

    checks = asyncio.run(_run(wait))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        console().print(audit_table(checks))
    require_balance(checks)


async def _run(wait: float) -> list[Check]:
    from streams.ops.audit import audit_until_balanced  # noqa: PLC0415 - loads the client libraries
    from streams.ops.audit.last import AuditResult, LastAudit  # noqa: PLC0415
    from streams.windows.connect import open_store, redis_client  # noqa: PLC0415

    settings = read_settings()
    async with open_store(settings) as store:
        with progress_console().status("reading") as status:

            def progress(topic: str, done: int, total: int) -> None:
                status.update(f"reading {topic}: {done} of {total}")

            checks = await audit_until_balanced(settings, store, progress, timeout_s=wait, on_wait=status.update)
    client = redis_client(settings)
    try:
        await LastAudit(client, settings.redis_prefix).store(AuditResult.of(checks))
    finally:
        await client.aclose()
    return checks


def audit_table(checks: list[Check]) -> Table:
    """Returns the checks as a table for the terminal."""
    table = Table("", "check", "expected", "found", "note", title="audit", title_justify="left")
    for column in (2, 3):
        table.columns[column].justify = "right"
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[red]FAILED[/]"
        table.add_row(mark, check.name, f"{check.expected:,}", f"{check.found:,}", escape(printable(check.note)))
    return table
