"""`emostream settings`: lists every setting with its value, its default and its description."""

from __future__ import annotations

import json

import click
from rich.table import Table
from rich.text import Text

from streams.cli.common import console, read_settings
from streams.ops.settings_list import Entry, entries, markdown_table

_PIPED_WIDTH = 200


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the settings as a JSON array.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table with names, defaults and descriptions.")
def settings(*, as_json: bool, markdown: bool) -> None:
    """List every setting: its environment variable, value, default and description.

    A value comes from the environment, else from the file .env in the current folder, else from the default. Values
    that differ from their default are bold. Passwords are shown as ***. --markdown shows no values, so it also works
    if a setting is wrong.

    \b
    Examples:
      emostream settings
      emostream settings --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
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


def _table(listed: list[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=16)
    table.add_column("default", style="dim", overflow="fold", min_width=12)
    table.add_column("description", min_width=20)
    for entry in listed:
        changed = "bold" if entry.value != entry.default else ""
        # Text, because rich would read brackets in a str as markup.
        table.add_row(entry.name, Text(entry.value, style=changed), Text(entry.default), Text(entry.description))
    return table
