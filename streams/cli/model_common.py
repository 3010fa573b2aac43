"""Functions that the commands of `emostream model` share: the registry, JSON, and a progress bar for transfers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from connectors.s3 import client as s3_connector
from connectors.s3.client import S3, OnBytes
from models.registry.channels import ChannelEntry
from models.registry.location import S3Location, registry_at
from streams.cli.common import progress_console
from streams.connections import s3_config
from streams.records import rfc3339
from streams.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add the option `--json` to a command, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def registry_option(command: F) -> F:
    """Add the option `--uri` to a command, as `uri`. `open_registry` takes its value."""
    return click.option(
        "--uri",
        metavar="URI",
        show_default="EMOSTREAM_MODEL_URI",
        help="Registry, s3://bucket/prefix, such as that of a model for one language.",
    )(command)


@contextmanager
def open_registry(settings: Settings, uri: str | None) -> Iterator[tuple[S3Location, S3]]:
    """Connect to a registry; yields its location and the connection.

    Args:
        settings: how to reach S3.
        uri: the registry; None for that of `EMOSTREAM_MODEL_URI`.

    Raises:
        ModelError: The URI is not that of a registry.
        RejectedError: The S3 endpoint is not valid.
    """
    location = registry_at(uri or settings.model_uri)
    with s3_connector.connect(s3_config(settings)) as s3:
        yield location, s3


@contextmanager
def transfer_bar(verb: str, total: int) -> Iterator[OnBytes]:
    """Show a progress bar of bytes on stderr, if that is a terminal; yields the function to call with new bytes."""
    console = progress_console()
    if not console.is_terminal:
        yield lambda count: None
        return
    columns = [TextColumn(verb), BarColumn(), DownloadColumn(), TransferSpeedColumn()]
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)


def entry_json(entry: ChannelEntry) -> dict[str, Any]:
    """Returns the JSON document of a version that a channel points to, or pointed to before."""
    return {
        "name": entry.name,
        "version": entry.version,
        "moved_at": rfc3339(entry.moved_at) if entry.moved_at else None,
        "moved_by": entry.moved_by,
        "withdrawn": entry.withdrawn,
    }


def megabytes(count: int) -> str:
    """Returns a number of bytes in megabytes, such as `12.3 MB`."""
    return f"{count / 1e6:,.1f} MB"
