"""`emostream windows`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.table import Table

from streams.cli.common import console, progress_console, read_settings

if TYPE_CHECKING:
    from streams.records import EmotionWindow
    from streams.windows.store import WindowStore


@click.group(invoke_without_command=True)
@click.option("--keyword", metavar="K", help="Only this keyword; * is all posts together.")
@click.option("--size", type=int, metavar="SECONDS", help="Only windows of this size.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Windows to show, latest first."
)
@click.option("--follow", is_flag=True, help="Show the latest state once a second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON record a line, as in the windows topic.")
@click.pass_context
def windows(
    ctx: click.Context, *, keyword: str | None, size: int | None, limit: int, follow: bool, as_json: bool
) -> None:
    """Show the emotion windows from Redis, latest first.

    A dot marks a window that is still open. If the model has sentiment, `mood` is the mean of its posts, -1 to 1.
    """
    if ctx.invoked_subcommand is None:
        asyncio.run(_show(keyword, size, limit, follow=follow, as_json=as_json))


@windows.command()
def republish() -> None:
    """Have the workers write every window in Redis to the windows topic again, each under its present revision."""
    from connectors.kafka.admin import KafkaAdmin  # noqa: PLC0415 - loads the client library
    from connectors.kafka.producer import ConfirmedProducer, Outgoing  # noqa: PLC0415
    from streams.records import ControlCommand, ControlRecord  # noqa: PLC0415
    from streams.topology import check_topics  # noqa: PLC0415
    from streams.wiring import kafka_config  # noqa: PLC0415

    settings = read_settings()
    kafka = kafka_config(settings)
    check_topics(settings, KafkaAdmin(kafka).partition_counts())
    producer = ConfirmedProducer(kafka, client_id="emostream-control")
    try:
        command = ControlRecord(command=ControlCommand.REPUBLISH_WINDOWS).model_dump_json().encode()
        producer.submit([Outgoing(settings.topic_control, command)]).result(settings.kafka_timeout_s)
    finally:
        producer.close()
    click.echo("asked the workers to publish every window again")


async def _show(keyword: str | None, size: int | None, limit: int, *, follow: bool, as_json: bool) -> None:
    from streams.windows.opening import open_store  # noqa: PLC0415 - loads the client library

    async with open_store(read_settings()) as store:
        if follow:
            await _follow(store, keyword, size, limit, as_json=as_json)
            return
        found = (await store.read(keyword=keyword, size=size))[:limit]
    if as_json:
        for window in found:
            click.echo(window.model_dump_json())
    elif found:
        console().print(_table(found))
    else:
        progress_console().print("no windows yet")


async def _follow(store: WindowStore, keyword: str | None, size: int | None, limit: int, *, as_json: bool) -> None:
    if as_json:
        shown: dict[str, int] = {}
        while True:
            for window in reversed((await store.read(keyword=keyword, size=size))[:limit]):
                if shown.get(window.key) != window.revision:
                    shown[window.key] = window.revision
                    click.echo(window.model_dump_json())
            await asyncio.sleep(1)
    with Live(console=console(), auto_refresh=False) as live:
        while True:
            found = (await store.read(keyword=keyword, size=size))[:limit]
            live.update(_table(found) if found else "no windows yet", refresh=True)
            await asyncio.sleep(1)


def _table(found: list[EmotionWindow]) -> Table:
    from streams.cli.window_table import windows_table  # noqa: PLC0415

    return windows_table(found, width=console().width)
