"""`emostream settings`: every setting with its value, its default and what it is for."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from rich.table import Table
from rich.text import Text

from streams.cli.common import console, read_settings
from streams.settings import PREFIX, Settings

MASK = "***"
_PIPED_WIDTH = 200
_QUERY_PASSWORD = re.compile(r"(?<=password=)[^&]*")


class Entry(NamedTuple):
    """A setting as it is shown; secrets are masked. An empty string is no value."""

    name: str
    value: str
    default: str
    description: str


@click.command(short_help="List every setting with its value; secrets masked.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table of names, defaults and descriptions.")
def settings(*, as_json: bool, markdown: bool) -> None:
    """List every setting: its environment variable, value, default and what it is for.

    Values come from the environment, then from .env in the current folder, then from the defaults. Passwords are
    masked. --markdown shows no values, and so needs no valid settings.
    """
    if as_json and markdown:
        raise click.UsageError("give --json or --markdown, not both")
    if markdown:
        click.echo(markdown_table(entries(None)))
        return
    listed = entries(read_settings())
    if as_json:
        click.echo(json.dumps([entry._asdict() for entry in listed], indent=2))
        return
    out = console()
    if not out.is_terminal:
        out.width = _PIPED_WIDTH
    out.print(_table(listed))


def entries(current: Settings | None) -> list[Entry]:
    """Every setting, in the order of the class.

    Args:
        current: where the values are from; None shows the defaults as values.
    """
    listed = []
    for name, field in Settings.model_fields.items():
        default = shown(field.get_default(call_default_factory=True, validated_data={}))
        value = default if current is None else shown(getattr(current, name))
        listed.append(Entry(PREFIX + name.upper(), value, default, _description(field)))
    return listed


def shown(value: Any) -> str:  # noqa: ANN401 - a setting of any type
    """A value as one would write it in the environment, with secrets masked."""
    match value:
        case None:
            return ""
        case SecretStr():
            secret = value.get_secret_value()
            return mask_address(secret) if "://" in secret else MASK if secret else ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def mask_address(address: str) -> str:
    """An address with the passwords in it masked: that of the user, and those among its parameters."""
    parts = urlsplit(address)
    netloc = parts.netloc
    if parts.password is not None:
        credentials, _, host = netloc.rpartition("@")
        netloc = f"{credentials.partition(':')[0]}:{MASK}@{host}"
    return urlunsplit(parts._replace(netloc=netloc, query=_QUERY_PASSWORD.sub(MASK, parts.query)))


def markdown_table(listed: list[Entry]) -> str:
    """Names, defaults and descriptions as a Markdown table."""
    lines = ["| Setting | Default | What it is for |", "|---|---|---|"]
    for entry in listed:
        default = f"`{entry.default}`" if entry.default else "none"
        description = entry.description.replace("|", r"\|")
        lines.append(f"| `{entry.name}` | {default} | {description} |")
    return "\n".join(lines)


def _description(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _table(listed: list[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=16)
    table.add_column("default", style="dim", overflow="fold", min_width=12)
    table.add_column("what it is for", min_width=20)
    for entry in listed:
        changed = "bold" if entry.value != entry.default else ""
        # Plain Text, because a value could be taken for markup.
        table.add_row(entry.name, Text(entry.value, style=changed), Text(entry.default), Text(entry.description))
    return table
