"""`emostream worker`."""

from __future__ import annotations

import asyncio

import click

from streams.cli.common import log_to_stderr, read_settings


@click.command()
@click.option("--web-port", type=click.IntRange(0, 65535), help="Port of /metrics; 0 turns it off.")
def worker(web_port: int | None) -> None:
    """Classify posts and keep the windows, until SIGTERM or Ctrl-C.

    Start as many as you like, on one machine or many: Kafka divides the partitions among them. Give each worker on a
    machine its own --web-port, or 0.
    """
    settings = read_settings(web_port=web_port)
    log_to_stderr(settings.log_level)
    from streams.worker import run_worker  # noqa: PLC0415 - loads Faust and the model runtime

    asyncio.run(run_worker(settings))
