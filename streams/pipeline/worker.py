"""Runs a worker: checks everything it needs, loads the model, runs the Faust app until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from connectors.kafka.admin import KafkaAdmin
from models.serving.served import ServedModel
from streams.connections import kafka_config, model_source
from streams.metrics import Metrics
from streams.pipeline.app import Pipeline, create_pipeline
from streams.process.background import in_background
from streams.process.listening import check_port_free
from streams.settings import Settings
from streams.topology import check_topics
from streams.windows.connect import open_store

logger = logging.getLogger(__name__)

FAUST_STOP_S = 5.0
"""For Faust's own consumer to stop. While the broker is away it may wait for ever; it has nothing to lose."""

LOAD_STOP_S = 2.0
"""For a download to end and to remove what it has written. A read from a silent S3 server takes longer; it is left."""

YOUNG_OBJECTS = 50_000
"""Containers made, and not freed, between two looks of the cycle collector: more than all batches in flight have, which
are freed when they are done and hardly ever in a cycle. To look at them time and again cost 1.3 us a post."""


async def run_worker(settings: Settings, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run until SIGTERM or SIGINT, or until something fails for good.

    Args:
        settings: all settings.
        on_ready: told once everything is checked and the model is loaded.

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
            closing(ServedModel(model_source(settings), metrics.model)) as model,
            tempfile.TemporaryDirectory(prefix="emostream-faust-") as data_dir,
        ):
            # From here on a signal is a wish: the first download may take minutes, and must end cleanly.
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            try:
                if not await _load(model, stop):
                    logger.info("stopped before the model was loaded")
                    return
                on_ready()
                pipeline = create_pipeline(settings, kafka, model, store, metrics, data_dir=Path(data_dir))
                try:
                    await _run_until_stopped(pipeline, stop)
                finally:
                    await pipeline.close()
            finally:
                model.cancel()


async def _load(model: ServedModel, stop: asyncio.Event) -> bool:
    """Load the model, in a thread that nothing waits for at the end; False if told to stop first."""
    loading = asyncio.wrap_future(in_background(model.start, name="model-load"))
    stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            await loading
            return True
        model.cancel()
        await asyncio.wait([loading], timeout=LOAD_STOP_S)
        return False
    finally:
        stopping.cancel()
        if not loading.cancel():
            loading.exception()  # or asyncio complains that nobody asked


async def _run_until_stopped(pipeline: Pipeline, stop: asyncio.Event) -> None:
    app = pipeline.app
    starting = asyncio.ensure_future(app.start())
    stopping = asyncio.ensure_future(stop.wait())
    crashed = asyncio.ensure_future(app.wait_until_stopped())
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _settle_garbage_collector()
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


def _settle_garbage_collector() -> None:
    """Have Python's cycle collector leave alone what the start has made, and look at the rest less often.

    Libraries and the app are some hundred thousand objects that stay for good; going through them time and again cost
    two percent of a core. What a batch makes is freed when the batch is done, and hardly any of it is in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def _expect_leftovers() -> None:
    """From here on only Faust's consumer of the control topic is left.

    Stopped while the broker is away it dies of its own cancellation, in a thread of its own, and leaves tasks behind.
    Nothing depends on it any more, so that is one line in the log and not two stack traces.
    """

    def report(failure: threading.ExceptHookArgs) -> None:
        logger.warning("thread %s ended with %s", failure.thread and failure.thread.name, failure.exc_type.__name__)

    threading.excepthook = report
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
