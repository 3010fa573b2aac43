"""`emostream alerts`: the commands for alerts. Each kind of command has a module of its own."""

from __future__ import annotations

import logging
from typing import Final

import click

from streams.cli.common import LIBRARY_LEVELS
from streams.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Final = {
    "run": LazyCommand("streams.cli.alerts_run", "run", "Evaluate the rules, and tell the channels of incidents."),
    "rules": LazyCommand("streams.cli.alerts_rules", "rules", "List and change the rules."),
    "list": LazyCommand("streams.cli.alerts_incidents", "list_incidents", "List the incidents with their reasons."),
    "show": LazyCommand("streams.cli.alerts_incidents", "show", "Show why an incident is one, and who was told."),
    "mute": LazyCommand("streams.cli.alerts_mutes", "mute", "Tell no channel of some incidents for a while."),
    "unmute": LazyCommand("streams.cli.alerts_mutes", "unmute", "End a mute."),
    "mutes": LazyCommand("streams.cli.alerts_mutes", "mutes", "List the mutes."),
    "channels": LazyCommand("streams.cli.alerts_channels", "list_channels", "List the channels that are told."),
    "backtest": LazyCommand(
        "streams.cli.alerts_backtest", "backtest", "Run rules over the history, and show what they would have found."
    ),
    "test": LazyCommand("streams.cli.alerts_channels", "send_test", "Send a test message to a channel."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def alerts() -> None:
    """Tell people when the emotions or the number of posts change.

    Rules, incidents and what was told to whom are in Postgres. An incident is decided once, and told at least once.

    \b
    Example:
      emostream alerts rules apply alerts.toml
      emostream alerts run
      emostream alerts test ops
      emostream alerts list --open
      emostream alerts mute brand-anger --for 2h --reason "known"
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    # While Postgres does not answer, it logs each attempt; the command prints the error.
    logging.getLogger("psycopg.pool").setLevel(LIBRARY_LEVELS["psycopg.pool"])
