"""`emostream init`: creates the topics, the SQL schema and the model registry."""

from __future__ import annotations

import click

from streams.cli.common import read_settings


@click.command()
def init() -> None:
    """Create the topics, the SQL schema and the model registry.

    Creates the topics that are missing, applies the SQL migrations that are missing, and uploads the bundled model if
    the registry has none. Checks the models of EMOSTREAM_MODELS. Sets the limits of the raw topic, and the compaction
    of the keywords topic. If a topic was deleted and made again, makes Redis and Postgres begin anew in it, and keeps
    their windows and rows. Prints a line for each change. You can run it again, and on two machines at once: what is
    there already stays as it is.

    \b
    Example:
      emostream init
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from streams.ops.init import init_all  # noqa: PLC0415 - loads every client library

    done: list[str] = []

    def report(line: str) -> None:
        done.append(line)
        click.echo(line)

    init_all(read_settings(), report)
    click.echo("ready" if done else "ready; nothing was missing")
