"""`emostream tail`: show the records of a topic as they come."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import click
from pydantic_core import from_json

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.tail import KafkaRecord, Tail
from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable_json, quiet_pipe
from streams.cli.render import renderer
from streams.connections import kafka_config
from streams.ingest.produce import partitions_of
from streams.settings import Settings

ROLES = ("raw", "classified", "dead", "late", "windows", "totals")

T = TypeVar("T")


@click.command(short_help="Follow a topic, readably.")
@click.argument("topic", metavar="TOPIC")
@click.option("--from-beginning", is_flag=True, help="Show everything that the topic holds first.")
@click.option(
    "-n",
    "--last",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Show the last N records first.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for further records.")
@click.option("--json", "as_json", is_flag=True, help="Print the values as JSON lines, unabridged.")
def tail(*, topic: str, from_beginning: bool, last: int, limit: int | None, follow: bool, as_json: bool) -> None:
    """Show the records of TOPIC: its name, or one of raw, classified, dead, late, windows, totals.

    Reads beside every consumer group: nothing is committed and no one's position changes. Control characters in a
    record are shown as escapes, never sent to the terminal.

    \b
      emostream tail classified
      emostream tail windows --from-beginning --no-follow --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    name = topic_of(settings, topic)
    config = kafka_config(settings)
    known = name in {topic_of(settings, role) for role in ROLES}
    hint = "run `emostream init`" if known else f"give a topic's name, or one of {', '.join(ROLES)}"
    partitions = partitions_of(KafkaAdmin(config), name, hint)
    notes = progress_console()
    reader = Tail(
        config,
        name,
        partitions,
        group=f"{settings.group_prefix}-tail",
        on_unreachable=lambda: notes.print("Kafka does not answer; waiting for it …", style="dim"),
    )
    show = _json_printer() if as_json else _line_printer(settings, name)
    try:
        with quiet_pipe():
            records = reader.records(last=None if from_beginning else last, follow=follow)
            for record in first(records, limit):
                show(record)
                sys.stdout.flush()
    finally:
        reader.close()


def topic_of(settings: Settings, topic: str) -> str:
    """The topic that is meant by its name or by its role."""
    name: str = getattr(settings, f"topic_{topic}") if topic in ROLES else topic
    return name


def first(items: Iterator[T], limit: int | None) -> Iterator[T]:
    """The first `limit` items; the one after them is not waited for."""
    if limit is None:
        yield from items
        return
    for number, item in enumerate(items, start=1):
        yield item
        if number == limit:
            return


def _line_printer(settings: Settings, topic: str) -> Callable[[KafkaRecord], None]:
    out = console()
    render = renderer(settings, topic)

    def show(record: KafkaRecord) -> None:
        line = render(record)
        if out.is_terminal:
            line.truncate(out.width, overflow="ellipsis")
        out.print(line, soft_wrap=True)

    return show


def _json_printer() -> Callable[[KafkaRecord], None]:
    return lambda record: click.echo(json_line(record.value))


def json_line(value: bytes | None) -> str:
    """A value as one line of JSON: as it is if it is JSON, else as a string; null for a tombstone."""
    if value is None:
        return "null"
    try:
        document = value.decode("utf-8")
        from_json(document, allow_inf_nan=False)
    except ValueError:
        return printable_json(json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False))
    return printable_json(document)
