"""`emostream sink`."""

from __future__ import annotations

import gc

import click

from streams.cli.common import log_to_stderr, read_settings
from streams.cli.sink_status import status
from streams.process.signals import stop_on_signals

GC_THRESHOLDS = (100_000, 50, 1_000)
"""A slice is tens of thousands of objects in no cycle, which the defaults walk through again and again: a tenth of the
rate."""


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Write what Kafka has now, then end.")
@click.option("--force", is_flag=True, help="Write whatever the load of the machine.")
@click.option("--web-port", type=click.IntRange(0, 65535), help="Port of /metrics and /health; 0 turns it off.")
@click.pass_context
def sink(context: click.Context, *, once: bool, force: bool, web_port: int | None) -> None:
    """Write classified posts and windows to Postgres, until SIGTERM or Ctrl-C.

    It writes only while the CPU utilization of everything else is below EMOSTREAM_SINK_CPU_PERCENT, 20 by default; the
    backlog waits in Kafka. It resumes from its offsets in Postgres, which change only in the transaction that writes
    the rows; so it can be killed at any moment and every record is still written exactly once. Several may run: Kafka
    divides the partitions. Give each on a machine its own --web-port, or 0; with --once there is no web server.

    `emostream sink status` shows what waits, and why.
    """
    if context.invoked_subcommand is not None:
        if once or force or web_port is not None:
            raise click.UsageError("--once, --force and --web-port belong to `emostream sink` without a command")
        return
    settings = read_settings(sink_web_port=web_port)
    log_to_stderr(settings.log_level)
    from streams.sink.gate.cpu_aware import OpenGate  # noqa: PLC0415
    from streams.sink.runner import Sink  # noqa: PLC0415 - loads the client libraries

    gc.set_threshold(*GC_THRESHOLDS)
    stop = stop_on_signals()
    Sink(settings, gate=OpenGate() if force else None).run(stop, once=once)


sink.add_command(status)
