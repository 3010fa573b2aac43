"""`emostream sink`."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click

from streams.cli.common import log_to_stderr, read_settings


@click.command()
def sink() -> None:
    """Write classified posts and windows to Postgres, until SIGTERM or Ctrl-C.

    It resumes from its offsets in Postgres, which change only in the transaction that writes the rows; so it can be
    killed at any moment and every record is still written exactly once. Several may run: Kafka divides the partitions.
    """
    settings = read_settings()
    log_to_stderr(settings.log_level)
    from streams.sink.runner import run_sink  # noqa: PLC0415 - loads the client libraries

    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    run_sink(settings, stop)
