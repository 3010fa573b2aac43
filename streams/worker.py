"""Runs a worker: checks everything it needs, loads the model, runs the Faust app until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
import threading
from contextlib import closing
from pathlib import Path

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.admin import KafkaAdmin
from streams.app import Pipeline, create_pipeline
from streams.metrics import Metrics
from streams.model_watch import ServedModel
from streams.settings import Settings
from streams.topology import check_topics
from streams.windows.opening import open_store
from streams.wiring import kafka_config

logger = logging.getLogger(__name__)

FAUST_STOP_S = 5.0
"""For Faust's own consumer to stop. While the broker is away it may wait for ever; it has nothing to lose."""


async def run_worker(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, or until something fails for good.

    Raises:
        EmostreamError, ConnectorError, ModelError: the user can act on it.
    """
    kafka = kafka_config(settings)
    if settings.web_port:
        check_port_free(settings.web_bind, settings.web_port)
    check_topics(settings, await asyncio.to_thread(KafkaAdmin(kafka).partition_counts))
    async with open_store(settings) as store:
        await store.check_topology(settings.partitions)
        metrics = Metrics()
        with (
            closing(ServedModel(settings, metrics)) as model,
            tempfile.TemporaryDirectory(prefix="emostream-faust-") as data_dir,
        ):
            await asyncio.to_thread(model.start)
            pipeline = create_pipeline(settings, kafka, model, store, metrics, data_dir=Path(data_dir))
            try:
                await _run_until_stopped(pipeline)
            finally:
                await pipeline.close()


async def _run_until_stopped(pipeline: Pipeline) -> None:
    app = pipeline.app
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.ensure_future(app.start())
    stopping = asyncio.ensure_future(stop.wait())
    crashed = asyncio.ensure_future(app.wait_until_stopped())
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            logger.info("worker is running")
        await asyncio.wait([stopping, crashed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        logger.info("worker is stopping")
        starting.cancel()
        stopping.cancel()
        await pipeline.stop_services()
        _expect_leftovers()
        try:
            async with asyncio.timeout(FAUST_STOP_S):
                await app.stop()
        except TimeoutError:
            logger.warning("Faust's consumer did not stop in %.0f s; is the broker away?", FAUST_STOP_S)
        crashed.cancel()
    if app.crash_reason is not None:
        raise app.crash_reason


def _expect_leftovers() -> None:
    """From here on only Faust's consumer of the control topic is left.

    Stopped while the broker is away it dies of its own cancellation, in a thread of its own, and leaves tasks behind.
    Nothing depends on it any more, so that is one line in the log and not two stack traces.
    """

    def report(failure: threading.ExceptHookArgs) -> None:
        logger.warning("thread %s ended with %s", failure.thread and failure.thread.name, failure.exc_type.__name__)

    threading.excepthook = report
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def check_port_free(host: str, port: int) -> None:
    """Raise if the web server's port is taken.

    Raises:
        RejectedError: with what to do about it.
        UnavailableError: the address is not one of this machine.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as exc:
            raise RejectedError(f"the web server may not listen on {host}:{port}: {exc.strerror}") from exc
        except OSError as exc:
            if exc.errno == 98:  # EADDRINUSE
                raise RejectedError(
                    f"port {port} is in use; choose another with EMOSTREAM_WEB_PORT, or 0 for no web server"
                ) from exc
            raise UnavailableError(f"the web server cannot listen on {host}:{port}: {exc.strerror}") from exc
