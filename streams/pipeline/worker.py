"""Runs a worker: checks what it needs, loads the models, and runs the Faust app until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from connectors.kafka.admin import KafkaAdmin
from models.serving.served_models import ServedModels
from streams.connections import kafka_config, language_model_sources, model_source
from streams.metrics import Metrics
from streams.pipeline.app import Pipeline, create_pipeline
from streams.pipeline.control_consumer import quiet_left_over_tasks
from streams.process.background import in_background
from streams.process.garbage import collect_less_often
from streams.process.listening import check_port_free
from streams.process.topic_watch import TopicWatch
from streams.settings import Settings
from streams.topology import check_raw_limits, check_same_topics, check_topics, stateful_topics
from streams.windows.connect import open_store

logger = logging.getLogger(__name__)

FAUST_STOP_S = 5.0
"""Seconds to wait for Faust's own consumer to stop.

While the broker is away it may never stop. It reads only the control topic, so nothing is lost."""

LOAD_STOP_S = 2.0
"""Seconds to wait, at a stop, for the download of a model to end and to remove its files.

A read from an S3 server that does not answer takes longer. The worker stops without waiting for it."""

GC_THRESHOLD = 50_000
"""Python's garbage collector runs when this many container objects more were made than freed.

It is above the number of objects in all batches in flight. With Python's own threshold, the collector takes 1.3 us a
post to examine them."""


async def run_worker(settings: Settings, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run a worker until SIGTERM or SIGINT, or until an error that cannot be retried.

    `on_ready` is called when everything is checked and the models are loaded.

    Raises:
        EmostreamError, ConnectorError, ModelError: The worker cannot start, or cannot go on. The message says why.
    """
    kafka = kafka_config(settings)
    if settings.web_port:
        check_port_free(settings.web_bind, settings.web_port)
    admin = KafkaAdmin(kafka)
    check_topics(settings, await asyncio.to_thread(admin.partition_counts))
    check_raw_limits(settings, await asyncio.to_thread(admin.topic_config, settings.topic_raw))
    ids = await asyncio.to_thread(admin.require_topic_ids, stateful_topics(settings))
    async with open_store(settings) as store:
        await store.check_topology(settings.partitions)
        of_positions = {name: ids[name] for name in (settings.topic_raw, settings.topic_classified)}
        check_same_topics(await store.changed_topics(of_positions), "Redis")
        metrics = Metrics()
        sources = model_source(settings), language_model_sources(settings)
        with (
            closing(ServedModels(*sources, metrics.model)) as models,
            tempfile.TemporaryDirectory(prefix="emostream-faust-") as data_dir,
        ):
            # From here on a signal only sets `stop`. The first download may take minutes, and must remove its files.
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            try:
                if not await _load(models, stop):
                    logger.info("stopped before the model was loaded")
                    return
                on_ready()
                pipeline = create_pipeline(
                    settings, kafka, models, store, metrics, topic_ids=of_positions, data_dir=Path(data_dir)
                )
                try:
                    await _run_until_stopped(pipeline, stop, TopicWatch(admin, ids))
                finally:
                    await pipeline.close()
            finally:
                models.cancel()


async def _load(models: ServedModels, stop: asyncio.Event) -> bool:
    """Load the models. Returns False if `stop` was set first.

    The models are loaded in a background thread, which does not keep the process from exiting.
    """
    loading = asyncio.wrap_future(in_background(models.start, name="model-load"))
    stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            await loading
            return True
        models.cancel()
        await asyncio.wait([loading], timeout=LOAD_STOP_S)
        return False
    finally:
        stopping.cancel()
        if not loading.cancel():
            loading.exception()  # read it, or asyncio logs that the exception was never retrieved


async def _run_until_stopped(pipeline: Pipeline, stop: asyncio.Event, watch: TopicWatch) -> None:
    """Start the app, wait until `stop` is set, the app crashes or a topic is deleted, and stop everything.

    Raises:
        TopologyError: A topic was deleted.
        BaseException: The app crashed with this error.
    """
    watch_ends = threading.Event()
    watching = asyncio.wrap_future(in_background(lambda: watch.run(watch_ends), name="topic-watch"))
    app = pipeline.app
    starting = asyncio.ensure_future(app.start())
    stopping = asyncio.ensure_future(stop.wait())
    crashed = asyncio.ensure_future(app.wait_until_stopped())
    try:
        await asyncio.wait([starting, stopping, watching], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            collect_less_often(GC_THRESHOLD)
            logger.info("worker is running")
        await asyncio.wait([stopping, crashed, watching], return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch_ends.set()
        logger.info("worker is stopping")
        starting.cancel()
        stopping.cancel()
        await pipeline.stop_services()
        quiet_left_over_tasks()
        try:
            async with asyncio.timeout(FAUST_STOP_S):
                await app.stop()
        except TimeoutError:
            logger.warning("Faust's consumer did not stop in %.0f s; is the broker away?", FAUST_STOP_S)
        crashed.cancel()
    await watching
    if app.crash_reason is not None:
        raise app.crash_reason
