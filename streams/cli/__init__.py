"""The command line `emostream`: one click command per module, imported only when it is called.

A user's mistake, or a system that does not answer, is one line on stderr and exit code 1; a wrong option is click's
own message and exit code 2; Ctrl-C is exit code 130. Any other exception is a defect and keeps its stack trace.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from streams import __version__
from streams.cli.lazy import LazyCommand, LazyGroup
from streams.errors import USER_ERRORS, SettingsError
from streams.redact import redact

_COMMANDS: Final = {
    "demo": LazyCommand(
        "streams.cli.demo", "demo", "Run everything on this machine on a few hundred posts, and audit it."
    ),
    "local": LazyCommand(
        "streams.cli.local", "local", "The embedded stack: Kafka, Valkey, PostgreSQL and S3 on loopback."
    ),
    "init": LazyCommand("streams.cli.init", "init", "Create topics, apply SQL migrations, upload the bundled model."),
    "worker": LazyCommand("streams.cli.worker", "worker", "Classify posts and keep the windows (Faust)."),
    "sink": LazyCommand("streams.cli.sink", "sink", "Write classified posts and windows to Postgres."),
    "backfill": LazyCommand("streams.cli.backfill", "backfill", "Find what Postgres lacks, and fill it."),
    "model": LazyCommand("streams.cli.model", "model", "The model registry: list, publish, promote, roll back, pull."),
    "train": LazyCommand("streams.cli.train", "train", "Train a model and write it as a package."),
    "produce": LazyCommand("streams.cli.produce", "produce", "Send posts from a file to Kafka."),
    "classify": LazyCommand("streams.cli.classify", "classify", "Classify a file offline, to JSON lines."),
    "evaluate": LazyCommand(
        "streams.cli.evaluate",
        "evaluate_command",
        "Measure a model package on the public data sets, or your own texts.",
    ),
    "tail": LazyCommand("streams.cli.tail", "tail", "Follow a topic, readably."),
    "windows": LazyCommand("streams.cli.windows", "windows", "Show the emotion windows from Redis."),
    "bench": LazyCommand("streams.cli.bench", "bench", "Measure this machine, and size an installation by it."),
    "audit": LazyCommand("streams.cli.audit", "audit", "Prove that nothing is lost or counted twice."),
    "settings": LazyCommand("streams.cli.settings", "settings", "List every setting with its value; secrets masked."),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
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
