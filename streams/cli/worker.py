"""`emostream worker`."""

from __future__ import annotations

import asyncio
import logging

import click

from streams.cli.common import log_to_stderr, read_settings
from streams.process.lifeline import Lifeline
from streams.settings import Settings

logger = logging.getLogger(__name__)


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(0, 256),
    metavar="N",
    help="Run as N processes, which share the partitions. 0, the default: one per core, but no more than partitions.",
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    help="Port of /metrics of the first process; each other one has the next port. 0 turns them off.",
)
# For the processes that a supervisor starts.
@click.option("--name", default="", hidden=True)
@click.option("--lifeline", type=click.IntRange(0), hidden=True)
def worker(processes: int | None, web_port: int | None, name: str, lifeline: int | None) -> int:
    """Classify posts and keep the windows, until SIGTERM or Ctrl-C.

    One worker takes all cores of its machine. Start one on each machine that you like: Kafka divides the partitions
    among all processes of all workers. Give several on one machine each its own --web-port, or 0, and --processes.

    If one of its processes ends, the worker ends, with that one's exit code; whoever runs it starts it again.
    """
    settings = read_settings(worker_processes=processes, web_port=web_port)
    log_to_stderr(settings.log_level, name)
    if lifeline is not None:
        return _run(settings, Lifeline(lifeline))
    from streams.process.worker_processes import plan_processes, supervise  # noqa: PLC0415 - not for the processes that it starts

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
