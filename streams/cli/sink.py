"""`emostream sink`: writes classified posts and windows to Postgres."""

from __future__ import annotations

import click

from streams.cli.common import log_to_stderr, read_settings
from streams.cli.sink_status import status
from streams.process.signals import stop_on_signals


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Write the records that Kafka has at the start, then end.")
@click.option("--force", is_flag=True, help="Write at any load of the machine.")
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_SINK_WEB_PORT",
    help="Port of /metrics, /health and /status; 0 for no web server.",
)
@click.pass_context
def sink(context: click.Context, *, once: bool, force: bool, web_port: int | None) -> None:
    """Write classified posts and windows to Postgres, until SIGTERM or Ctrl-C.

    The sink writes while the other processes use less of the CPU than EMOSTREAM_SINK_CPU_PERCENT, 20 % by default;
    until then the backlog waits in Kafka. EMOSTREAM_SINK_MAX_DELAY_S limits how long a record waits. Offsets are in
    Postgres and change in the transaction that writes the rows, so every record is written exactly once, even if the
    sink is killed. It logs to stderr. You can run several sinks: Kafka divides the partitions among them. On one
    machine, give each its own --web-port. With --once there is no web server.

    \b
    Examples:
      emostream sink
      emostream sink --once --force     # write the backlog now, before maintenance
      emostream sink status             # show what waits to be written, and why
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if context.invoked_subcommand is not None:
        if once or force or web_port is not None:
            raise click.UsageError("--once, --force and --web-port belong to `emostream sink` without a command")
        return
    settings = read_settings(sink_web_port=web_port)
    log_to_stderr(settings.log_level)
    from streams.gate.cpu_aware import OpenGate  # noqa: PLC0415
    from streams.process.garbage import collect_less_often  # noqa: PLC0415
    from streams.sink.runner import GC_THRESHOLDS, open_sink  # noqa: PLC0415 - loads the client libraries

    collect_less_often(*GC_THRESHOLDS)
    stop = stop_on_signals()
    with open_sink(settings, gate=OpenGate() if force else None) as opened:
        opened.run(stop, once=once)


sink.add_command(status)
