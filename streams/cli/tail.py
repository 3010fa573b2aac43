"""`emostream tail`: shows the records of a topic."""

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
from streams.cli.label_styles import LabelStyles
from streams.cli.output import printable_json, quiet_pipe
from streams.cli.render import renderer
from streams.connections import kafka_config
from streams.ingest.produce import partitions_of
from streams.settings import Settings

SHORT_NAMES = ("raw", "classified", "dead", "late", "windows", "totals")

T = TypeVar("T")


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.option("--from-beginning", is_flag=True, help="Begin with the first record that the topic holds.")
@click.option(
    "-n",
    "--last",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Begin with the last N records.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for new records, or stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole values, as JSON lines.")
def tail(*, topic: str, from_beginning: bool, last: int, limit: int | None, follow: bool, as_json: bool) -> None:
    """Show the records of a topic, and wait for new ones until Ctrl-C.

    TOPIC is the name of a topic, or one of raw, classified, dead, late, windows and totals. Each record is one line,
    cut to the width of the terminal. Records that are not of these kinds are shown as partition, offset, key and value.

    The command belongs to no consumer group and commits nothing. Control characters in a record are printed as escapes.

    \b
    Examples:
      emostream tail classified
      emostream tail dead -n 100 --no-follow
      emostream tail windows --from-beginning --no-follow --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    name = topic_name(settings, topic)
    config = kafka_config(settings)
    known = name in {topic_name(settings, short_name) for short_name in SHORT_NAMES}
    hint = "run `emostream init`" if known else f"give a topic's name, or one of {', '.join(SHORT_NAMES)}"
    partitions = partitions_of(KafkaAdmin(config), name, hint)
    notes = progress_console()
    reader = Tail(
        config,
        name,
        partitions,
        group=f"{settings.group_prefix}-tail",
        on_unreachable=lambda: notes.print("Kafka does not answer; waiting for it …", style="dim"),
        on_unreadable=lambda batch: notes.print(str(batch), style="red", markup=False),
    )
    show = _json_printer() if as_json else _line_printer(settings, name)
    try:
        with quiet_pipe():
            records = reader.records(last=None if from_beginning else last, follow=follow)
            for record in limited(records, limit):
                show(record)
                sys.stdout.flush()
    finally:
        reader.close()


def topic_name(settings: Settings, topic: str) -> str:
    """Returns the name of a topic that is given in full or by its short name, such as `raw`."""
    name: str = getattr(settings, f"topic_{topic}") if topic in SHORT_NAMES else topic
    return name


def limited(items: Iterator[T], limit: int | None) -> Iterator[T]:
    """Yield the first `limit` items, without waiting for the one after them; all items if `limit` is None."""
    if limit is None:
        yield from items
        return
    for number, item in enumerate(items, start=1):
        yield item
        if number == limit:
            return


def _line_printer(settings: Settings, topic: str) -> Callable[[KafkaRecord], None]:
    out = console()
    render = renderer(settings, topic, LabelStyles(out))

    def show(record: KafkaRecord) -> None:
        line = render(record)
        if out.is_terminal:
            line.truncate(out.width, overflow="ellipsis")
        out.print(line, soft_wrap=True)

    return show


def _json_printer() -> Callable[[KafkaRecord], None]:
    return lambda record: click.echo(value_as_json(record.value))


def value_as_json(value: bytes | None) -> str:
    """Returns a record's value as one line of JSON: JSON as it is, other bytes as a string, a tombstone as null."""
    if value is None:
        return "null"
    try:
        document = value.decode("utf-8")
        from_json(document, allow_inf_nan=False)
    except ValueError:
        return printable_json(json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False))
    return printable_json(document)
