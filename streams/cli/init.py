"""`emostream init`."""

from __future__ import annotations

import click

from streams.cli.common import read_settings


@click.command()
def init() -> None:
    """Create the topics, apply the SQL migrations of init_db/, upload the bundled model if the bucket is empty.

    Safe to run again, and from two places at once.
    """
    from streams.ops.init import init_all  # noqa: PLC0415 - loads every client library

    done: list[str] = []

    def report(line: str) -> None:
        done.append(line)
        click.echo(line)

    init_all(read_settings(), report)
    click.echo("ready" if done else "ready; there was nothing to do")
