"""`emostream alerts channels` and `emostream alerts test`: who is told of incidents, and whether they can be told."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from streams.cli.common import console, progress_console, read_settings
from streams.cli.output import printable, printable_json, quiet_pipe
from streams.errors import InputError
from streams.redact import remember_secrets
from streams.timestamps import Timestamp

if TYPE_CHECKING:
    from connectors.notify.outcome import Outcome
    from streams.alerts.delivery.channels import Channel
    from streams.settings import Settings


@click.command("channels")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_channels(*, as_json: bool) -> None:
    """List the channels of EMOSTREAM_ALERT_CHANNELS, without their addresses and secrets.

    The command reads the file as a process that delivers alerts does, so it tells what is wrong with it.

    \b
    Examples:
      emostream alerts channels
      emostream alerts channels --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    channels = _channels(read_settings())
    with quiet_pipe():
        if as_json:
            found = [{"name": name, "type": channel.type} for name, channel in channels.items()]
            click.echo(printable_json(json.dumps({"channels": found}, ensure_ascii=False)))
        elif channels:
            table = Table("name", "type", box=None, pad_edge=False, header_style="bold")
            for name, channel in channels.items():
                table.add_row(name, channel.type)
            console().print(table)
        else:
            progress_console().print("there are no channels; EMOSTREAM_ALERT_CHANNELS names their file")


@click.command("test")
@click.argument("channel")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def send_test(*, channel: str, as_json: bool) -> None:
    """Send a test message to CHANNEL once, and print what the receiver answers.

    The message says that it is a test. It looks like the message of an incident, with a picture if the channel has
    pictures. The command needs no server of emostream. It exits with 1 if the message was not accepted.

    \b
    Examples:
      emostream alerts test ops
      emostream alerts test ops --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings()
    channels = _channels(settings)
    if channel not in channels:
        names = ", ".join(channels) or "none; EMOSTREAM_ALERT_CHANNELS names their file"
        raise InputError(f"there is no channel {channel!r}; there are {names}")
    outcome = asyncio.run(_send(settings, channel, channels[channel]))
    document = _document(outcome)
    if as_json:
        found = {"channel": channel, "type": channels[channel].type, **document}
        click.echo(printable_json(json.dumps(found, ensure_ascii=False)))
    elif document["result"] == "delivered":
        click.echo(f"delivered to {channel}: {printable(document['answer'])}")
    else:
        again = "refused for good" if document["result"] == "refused" else "not accepted now, would be tried again"
        click.echo(f"emostream: error: {channel}: {again}: {printable(document['reason'])}", err=True)
    if document["result"] != "delivered":
        raise click.exceptions.Exit(1)


def _channels(settings: Settings) -> dict[str, Channel]:
    from streams.alerts.delivery.channels import read_channels, secrets_of  # noqa: PLC0415 - for this command only

    channels = read_channels(settings.alert_channels)
    remember_secrets(secrets_of(channels))
    return channels


async def _send(settings: Settings, name: str, channel: Channel) -> Outcome:
    from streams.alerts.delivery.senders import sender_of  # noqa: PLC0415 - loads client libraries
    from streams.alerts.delivery.trial import trial_message  # noqa: PLC0415 - loads matplotlib

    has_picture = getattr(channel, "picture", False)
    message = trial_message(name, Timestamp.now(UTC), public_url=settings.public_url, has_picture=has_picture)
    return await sender_of(channel).send(message)


def _document(outcome: Outcome) -> dict[str, Any]:
    from connectors.notify.outcome import Delivered, Refused  # noqa: PLC0415 - for this command only

    if isinstance(outcome, Delivered):
        return {"result": "delivered", "answer": outcome.answer}
    if isinstance(outcome, Refused):
        return {"result": "refused", "reason": outcome.reason}
    return {"result": "try again", "reason": outcome.reason, "retry_after_s": outcome.after_s}
