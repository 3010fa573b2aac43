"""Functions that all commands share: they load the settings, make consoles and set up logging."""

from __future__ import annotations

import logging
import math
import sys
from typing import Any

import click
from rich.console import Console

from streams.cli.output import escaped
from streams.errors import USER_ERRORS
from streams.redact import RedactingFilter, remember_secrets
from streams.settings import Settings, load_settings

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class FiniteFloatRange(click.FloatRange):
    """A number in a range. Unlike `click.FloatRange` it rejects `nan`, which is neither below nor above a limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Returns the number; fails if it is not finite or not in the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def read_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - settings by field name
    """Load the settings from the environment and `.env`, and register their secrets for masking.

    Args:
        overrides: settings by field name, as given by options. A value other than None replaces that of the
            environment.

    Raises:
        SettingsError: A setting is unknown, malformed or impossible.
    """
    settings = load_settings(**{key: value for key, value in overrides.items() if value is not None})
    remember_secrets(settings.secrets())
    return settings


def confirm(question: str, *, otherwise: str) -> None:
    """Ask a question of yes or no on stderr, and return if the answer is yes.

    After any other answer the command prints `otherwise`, which says what was not done, and exits with 1. Ctrl-C is no
    answer: it ends the command as everywhere.
    """
    try:
        if click.confirm(question, err=True):
            return
    except click.Abort as exc:
        if not isinstance(exc.__context__, EOFError):
            raise
        click.echo(err=True)
        otherwise += "; nobody can answer here, so give --yes"
    click.echo(f"emostream: {otherwise}", err=True)
    raise click.exceptions.Exit(1)


def console() -> Console:
    """Returns a console on stdout, for results."""
    return Console(highlight=False)


def progress_console() -> Console:
    """Returns a console on stderr, for progress bars and messages, so that stdout can be piped."""
    return Console(stderr=True, highlight=False)


LIBRARY_LEVELS = {
    # At INFO these libraries log every step.
    **dict.fromkeys(
        ("faust", "mode", "botocore", "boto3", "httpx", "urllib3", "aiohttp.access", "uvicorn"), logging.WARNING
    ),
    # Faust's transport, which reads the control topic only. It logs 40 errors a second while no broker answers; the
    # application's own clients log that once.
    "aiokafka": logging.CRITICAL,
    # It may log addresses with tokens; `connectors.notify` returns what went wrong.
    "apprise": logging.CRITICAL,
    # It logs every connection that is handed out, and every attempt while no server answers; callers get the error.
    "psycopg.pool": logging.CRITICAL,
}
"""Log levels of libraries. They do not apply if the application's own level is DEBUG."""


class _ExpectedErrors(logging.Filter):
    """Drops the stack traces of errors that a user can mend. Libraries log them when such an error ends a task."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], USER_ERRORS):
            record.exc_info = record.exc_text = None
        return True


class _OneLine(logging.Formatter):
    """Escapes what is not safe for a terminal, so that the name of a file cannot look like a line of the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of logging
        return escaped(super().formatMessage(record))


def log_to_stderr(level: str, process: str = "") -> None:
    """Log to stderr, one line a record, with secrets masked. Stack traces of a user's errors are for DEBUG only.

    Args:
        level: the lowest level that is logged.
        process: a name that each line begins with, to tell apart processes that share a stderr.
    """
    if level != "DEBUG":
        for name, quiet in LIBRARY_LEVELS.items():
            logging.getLogger(name).setLevel(quiet)
    handler = logging.StreamHandler(sys.stderr)
    if level != "DEBUG":
        handler.addFilter(_ExpectedErrors())
    handler.addFilter(RedactingFilter())
    handler.setFormatter(_OneLine(f"{process} {LOG_FORMAT}".lstrip()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
