"""`emostream warm`: refreshes the answers that are asked for most."""

from __future__ import annotations

import asyncio

import click

from streams.cli.common import log_to_stderr, read_settings


@click.command
@click.option("--once", is_flag=True, help="Refresh the answers that are due now, then end.")
@click.option("--force", is_flag=True, help="Refresh at any load of the machine.")
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_WARM_WEB_PORT",
    help="Port of /metrics; 0 for no web server.",
)
def warm(*, once: bool, force: bool, web_port: int | None) -> None:
    """Refresh the answers that are asked for most and of keywords that rise, until SIGTERM or Ctrl-C.

    The warmer computes an answer again before it is stale, so that questions find it in the cache. It does so while the
    other processes use less of the CPU than EMOSTREAM_WARM_CPU_PERCENT, 35 % by default, one answer at a time. It reads
    windows and history, and does not search networks. It logs to stderr. With --once there is no web server.

    \b
    Examples:
      emostream warm
      emostream warm --once --force     # before a presentation
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings(warm_web_port=web_port)
    log_to_stderr(settings.log_level)
    from streams.gate.cpu_aware import OpenGate  # noqa: PLC0415
    from streams.warm.run import run  # noqa: PLC0415 - loads the client libraries

    asyncio.run(run(settings, once=once, gate=OpenGate() if force else None))
