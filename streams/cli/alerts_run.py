"""`emostream alerts run`: evaluates the rules, and delivers what was decided."""

from __future__ import annotations

import click

from streams.cli.common import log_to_stderr, read_settings


@click.command()
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_ALERT_WEB_PORT",
    help="Port of /metrics and /health; 0 for no web server.",
)
def run(*, web_port: int | None) -> None:
    """Evaluate the rules and tell the channels of incidents, until SIGTERM or Ctrl-C.

    You can run several of these processes. One evaluates at a time, and another goes on within
    EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS if it dies. All of them deliver. A server that does not answer is waited for.
    Rules and mutes that change take effect within seconds. It logs to stderr. On one machine, give each process its
    own --web-port.

    \b
    Example:
      emostream alerts run
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings(alert_web_port=web_port)
    log_to_stderr(settings.log_level)
    from streams.alerts.run import run_alerts  # noqa: PLC0415 - loads the client libraries

    run_alerts(settings)
