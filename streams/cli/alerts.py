"""`emostream alerts`: evaluates the rules of alerts, and manages them. Each kind of command has a module of its own."""

from __future__ import annotations

from typing import Final

import click

from streams.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Final = {
    "run": LazyCommand("streams.cli.alerts_run", "run", "Evaluate the rules, and tell the channels of incidents."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def alerts() -> None:
    """Watch the emotion windows by rules, and tell people of incidents.

    Rules, incidents and what was told to whom are in Postgres. Each incident is decided once, and told at least once.

    \b
    Example:
      emostream alerts run
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
