"""What the commands share: loading settings, consoles, logging."""

from __future__ import annotations

import logging
import sys
from typing import Any

from rich.console import Console

from streams.redact import RedactingFilter, remember_secrets
from streams.settings import Settings, load_settings

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def read_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - settings by field name
    """The settings from the environment and `.env`, with their secrets registered for masking.

    Args:
        overrides: settings by field name that win over the environment; None means not given.

    Raises:
        SettingsError: if any setting is wrong.
    """
    settings = load_settings(**{key: value for key, value in overrides.items() if value is not None})
    remember_secrets(settings.secrets())
    return settings


def console() -> Console:
    """For results, on stdout."""
    return Console(highlight=False)


def progress_console() -> Console:
    """For progress and summaries, on stderr, so that stdout can be piped."""
    return Console(stderr=True, highlight=False)


LIBRARY_LEVELS = {
    # They tell at INFO of every step.
    **dict.fromkeys(("faust", "mode", "botocore", "boto3", "httpx", "urllib3", "aiohttp.access"), logging.WARNING),
    # Faust's transport, for the control topic alone. While the broker is away it writes 40 errors a second; that the
    # broker is away our own clients say once.
    "aiokafka": logging.CRITICAL,
}
"""Levels of libraries, unless ours is DEBUG."""


def log_to_stderr(level: str, process: str = "") -> None:
    """Send log records to stderr, one line each, secrets masked.

    Args:
        level: from which on.
        process: what each line begins with, where several processes write to one stderr.
    """
    if level != "DEBUG":
        for name, quiet in LIBRARY_LEVELS.items():
            logging.getLogger(name).setLevel(quiet)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter())
    logging.basicConfig(level=level, format=f"{process} {LOG_FORMAT}".lstrip(), handlers=[handler], force=True)
