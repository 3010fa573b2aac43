"""The command line `emostream`. Each command is a module of this package, imported only when the command is called.

An error that the user can act on, such as a wrong file or a server that does not answer, prints one line on stderr and
exits with 1. A wrong option prints click's message and exits with 2. Ctrl-C exits with 130. Any other exception is a
defect and keeps its stack trace.
"""

from __future__ import annotations

import gc
import sys
from typing import Any, Final

import click

from streams import __version__
from streams.cli.lazy import LazyCommand, LazyGroup
from streams.cli.output import printable
from streams.errors import USER_ERRORS, SettingsError
from streams.redact import redact

_COMMANDS: Final = {
    "demo": LazyCommand(
        "streams.cli.demo", "demo", "Run the whole application on this machine on a few hundred posts."
    ),
    "local": LazyCommand(
        "streams.cli.local", "local", "Run Kafka, Valkey, PostgreSQL and S3 on this machine, without Docker."
    ),
    "init": LazyCommand("streams.cli.init", "init", "Create the topics, the SQL schema and the model registry."),
    "worker": LazyCommand("streams.cli.worker", "worker", "Classify posts and count them in windows."),
    "sink": LazyCommand("streams.cli.sink", "sink", "Write classified posts and windows to Postgres."),
    "api": LazyCommand("streams.cli.api", "api", "Answer questions over HTTP, and stream live windows."),
    "warm": LazyCommand("streams.cli.warm", "warm", "Refresh the answers that are asked for most, while it is quiet."),
    "query": LazyCommand("streams.cli.query", "query", "Ask the HTTP service what people feel about a keyword."),
    "alerts": LazyCommand("streams.cli.alerts", "alerts", "Tell people when emotions or the number of posts change."),
    "stress": LazyCommand("streams.cli.stress", "stress", "Load the HTTP service at a steady rate, and measure it."),
    "backfill": LazyCommand("streams.cli.backfill", "backfill", "Find what Postgres lacks, and write it."),
    "model": LazyCommand("streams.cli.model", "model", "List, publish, promote and download model versions."),
    "train": LazyCommand("streams.cli.train", "train", "Train a model and write it as a package."),
    "produce": LazyCommand("streams.cli.produce", "produce", "Send posts from a file or a pipe to Kafka."),
    "ingest": LazyCommand("streams.cli.ingest", "ingest", "Read posts from social networks and feeds."),
    "sources": LazyCommand("streams.cli.sources", "sources", "Show what each source of posts does."),
    "classify": LazyCommand("streams.cli.classify", "classify", "Classify a file or a pipe, without Kafka."),
    "evaluate": LazyCommand(
        "streams.cli.evaluate",
        "evaluate_command",
        "Measure the accuracy and the speed of a model package.",
    ),
    "keywords": LazyCommand(
        "streams.cli.keywords", "keywords", "Add, remove and list the keywords that sources search posts for."
    ),
    "keys": LazyCommand("streams.cli.keys", "keys", "Make, list and revoke the API keys of the HTTP service."),
    "forget": LazyCommand("streams.cli.forget", "forget", "Erase posts, or all posts of accounts, from Postgres."),
    "tail": LazyCommand("streams.cli.tail", "tail", "Show the records of a topic as they come."),
    "windows": LazyCommand(
        "streams.cli.windows", "windows", "Show the emotion windows in Redis; rebuild or republish them."
    ),
    "bench": LazyCommand("streams.cli.bench", "bench", "Measure this machine, and tell what a rate of posts needs."),
    "audit": LazyCommand("streams.cli.audit", "audit", "Check that no post is lost or counted twice."),
    "settings": LazyCommand("streams.cli.settings", "settings", "List every setting with its value and its default."),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="emostream")
def cli() -> None:
    """Live emotion statistics from a Kafka stream of social posts.

    Settings are environment variables with the prefix EMOSTREAM_, or lines of a file .env in the current folder;
    `emostream settings` lists them. Results go to stdout, messages and progress bars to stderr.

    \b
    See it work on this machine:
      emostream demo

    \b
    Run it by hand:
      emostream local up && eval "$(emostream local env)"
      emostream init
      emostream worker & emostream sink &
      emostream produce posts.jsonl
      emostream windows --follow
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


def report(error: Exception) -> None:
    """Print an error as one line on stderr, with secrets masked. A SettingsError prints a line for each problem.

    An error may repeat what a server said, so what is not safe for a terminal is escaped.
    """
    lines = error.problems if isinstance(error, SettingsError) else [str(error)]
    for line in lines:
        click.echo(f"emostream: error: {printable(redact(line))}", err=True)


GC_THRESHOLDS: Final = (10_000, 20, 50)
"""Thresholds of the garbage collector. A start makes some hundred thousand objects that stay. With Python's own
thresholds a tenth of its time goes into examining them again and again."""


def main(argv: list[str] | None = None) -> Any:  # noqa: ANN401 - click's exit protocol
    """Run the command line, and exit the process with the command's exit code."""
    gc.set_threshold(*GC_THRESHOLDS)
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
        # The reader of stdout has gone, as with `| head`. An open stderr would get Python's message about it at exit.
        sys.stderr.close()
        sys.exit(141)
    except USER_ERRORS as exc:
        report(exc)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
