"""`emostream worker`: classifies posts and counts them in windows."""

from __future__ import annotations

import asyncio
import logging

import click

from streams.cli.common import log_to_stderr, read_settings
from streams.process.lifeline import Lifeline
from streams.settings import Settings

logger = logging.getLogger(__name__)


@click.command(epilog="Exit code: 0 after SIGTERM or Ctrl-C; 1 on an error; otherwise that of the process that ended.")
@click.option(
    "--processes",
    type=click.IntRange(0, 256),
    metavar="N",
    show_default="EMOSTREAM_WORKER_PROCESSES",
    help="Run N processes, which share the partitions. 0 for one process per core, but at most one per partition.",
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    show_default="EMOSTREAM_WEB_PORT",
    help="Port of /metrics of the first process; the others take the ports after it. 0 for no metrics.",
)
# A supervisor passes these to the processes that it starts.
@click.option("--name", default="", hidden=True)
@click.option("--lifeline", type=click.IntRange(0), hidden=True)
def worker(processes: int | None, web_port: int | None, name: str, lifeline: int | None) -> int:
    """Classify posts and count them in windows, until SIGTERM or Ctrl-C.

    Reads the raw topic, writes the classified posts to Kafka, counts them in Redis and publishes the windows to Kafka.
    Logs to stderr. One worker uses all cores of its machine. You can start workers on several machines: Kafka divides
    the partitions among their processes. If you start several workers on one machine, give each its own --processes and
    --web-port.

    If a process of the worker ends, the worker stops the others and ends too. Run it under something that restarts it.

    \b
    Examples:
      emostream worker
      emostream worker --processes 4 --web-port 7000
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    settings = read_settings(worker_processes=processes, web_port=web_port)
    log_to_stderr(settings.log_level, name)
    if lifeline is not None:
        return _run(settings, Lifeline(lifeline))
    # The processes of a supervisor do without it.
    from streams.process.worker_processes import plan_processes, supervise  # noqa: PLC0415

    plan = plan_processes(settings)
    if plan.processes > 1:
        return asyncio.run(supervise(settings, plan))
    if plan.capped:
        logger.info(plan.note)
    return _run(settings)


def _run(settings: Settings, lifeline: Lifeline | None = None) -> int:
    from streams.pipeline.worker import run_worker  # noqa: PLC0415 - loads Faust and the model runtime

    if lifeline is None:
        asyncio.run(run_worker(settings))
    else:
        lifeline.wait_for_go()
        asyncio.run(run_worker(settings, lifeline.report_ready))
    return 0
