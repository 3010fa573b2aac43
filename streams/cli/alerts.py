"""`emostream alerts`: the commands for alerts. Each kind of command has a module of its own."""

from __future__ import annotations

from typing import Final

import click

from streams.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Final = {
    "channels": LazyCommand("streams.cli.alert_channels", "list_channels", "List the channels that are told."),
    "test": LazyCommand("streams.cli.alert_channels", "send_test", "Send a test message to a channel."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def alerts() -> None:
    """Tell people when the emotions or the number of posts change.

    \b
    Example:
      emostream alerts channels
      emostream alerts test ops
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
