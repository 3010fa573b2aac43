"""`emostream api`: runs the HTTP service."""

from __future__ import annotations

import asyncio

import click

from streams.cli.common import log_to_stderr, read_settings
from streams.process.lifeline import Lifeline
from streams.settings import Settings


@click.command(epilog="Exit code: 0 after SIGTERM or Ctrl-C; 1 on an error; otherwise that of the process that ended.")
@click.option("--host", metavar="ADDRESS", show_default="EMOSTREAM_API_HOST", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_API_PORT",
    help="Port to listen on; 0 for any free one.",
)
@click.option(
    "--processes", type=click.IntRange(1, 256), metavar="N", default=1, show_default=True, help="Processes on the port."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_API_METRICS_PORT",
    help="Port for the metrics of this process alone; the others take the ports that follow. 0 for none.",
)
# A supervisor passes these to the processes that it starts.
@click.option("--name", default="", hidden=True)
@click.option("--lifeline", type=click.IntRange(0), hidden=True)
@click.option("--restarts", type=click.IntRange(0), default=0, hidden=True)
def api(
    *,
    host: str | None,
    port: int | None,
    processes: int,
    metrics_port: int | None,
    name: str,
    lifeline: int | None,
    restarts: int,
) -> int:
    """Answer questions over HTTP: what do people feel about a keyword?

    Classifies texts, too, and streams the live windows. /docs has the documentation with examples. The service keeps
    no state, so any number of processes can run. It logs to stderr.

    On a loopback address it needs no authentication, until you make the first key. On any other address it does not
    start without authentication: see `emostream keys`.

    A process of several that ends is started again. If it ends six times in a row, the service stops.

    \b
    Examples:
      emostream api
      emostream api --port 8080 --processes 4 --metrics-port 6070
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings(api_host=host, api_port=port, api_metrics_port=metrics_port)
    log_to_stderr(settings.log_level, name)
    if lifeline is not None:
        return _serve(settings, Lifeline(lifeline), restarts)
    if processes > 1:
        from streams.process.api_processes import supervise  # noqa: PLC0415 - a single process does without it

        return asyncio.run(supervise(settings, processes))
    return _serve(settings)


def _serve(settings: Settings, lifeline: Lifeline | None = None, restarts: int = 0) -> int:
    import uvloop  # noqa: PLC0415

    from api.server import run  # noqa: PLC0415 - loads the web server and the model runtime

    if lifeline is None:
        uvloop.run(run(settings))
    else:
        lifeline.wait_for_go()
        uvloop.run(run(settings, on_ready=lifeline.report_ready, share_port=True, restarts=restarts))
    return 0
