"""The command line `emostream`: one click command per module, imported only when it is called.

A user's mistake, or a system that does not answer, is one line on stderr and exit code 1; a wrong option is click's
own message and exit code 2; Ctrl-C is exit code 130. Any other exception is a defect and keeps its stack trace.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from streams import __version__
from streams.errors import USER_ERRORS, SettingsError
from streams.redact import redact

# name: (module, attribute, one line of help). The help is here so that `emostream --help` imports nothing.
_COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": (
        "streams.cli.demo",
        "demo",
        "Run everything on this machine on a few hundred posts, and audit it.",
    ),
    "local": (
        "streams.cli.local",
        "local",
        "The embedded stack: Kafka, Valkey, PostgreSQL and S3 on loopback.",
    ),
    "init": ("streams.cli.init", "init", "Create topics, apply SQL migrations, upload the bundled model."),
    "worker": ("streams.cli.worker", "worker", "Classify posts and keep the windows (Faust)."),
    "sink": ("streams.cli.sink", "sink", "Write classified posts and windows to Postgres."),
    "produce": ("streams.cli.produce", "produce", "Send posts from a file to Kafka."),
    "classify": ("streams.cli.classify", "classify", "Classify a file offline, to JSON lines."),
    "tail": ("streams.cli.tail", "tail", "Follow a topic, readably."),
    "windows": ("streams.cli.windows", "windows", "Show the emotion windows from Redis."),
    "audit": ("streams.cli.audit", "audit", "Prove that nothing is lost or counted twice."),
    "settings": ("streams.cli.settings", "settings", "List every setting with its value; secrets masked."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a new user meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None where there is no such command."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="emostream")
def cli() -> None:
    """Live emotion statistics from a Kafka stream of social posts.

    Settings come from the environment and a .env file, with the prefix EMOSTREAM_ (see `emostream settings`).

    \b
    To see it work on this machine:   emostream demo
    To run it by hand:                emostream local up && eval "$(emostream local env)"
                                      emostream init
                                      emostream worker & emostream sink &
                                      emostream produce posts.jsonl
                                      emostream windows --follow
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


def report(error: Exception) -> None:
    """Print a user's error as one line (one per problem for settings), with every secret masked."""
    lines = error.problems if isinstance(error, SettingsError) else [str(error)]
    for line in lines:
        click.echo(f"emostream: error: {redact(' '.join(line.split()))}", err=True)


def main(argv: list[str] | None = None) -> Any:  # noqa: ANN401 - click's exit protocol
    """Run the command line and exit with its code."""
    try:
        code = cli.main(args=argv, prog_name="emostream", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("emostream: interrupted", err=True)
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`). Python would complain once more at exit.
        sys.stderr.close()
        sys.exit(141)
    except USER_ERRORS as exc:
        report(exc)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
