"""Builds the Faust application of a worker: the agents that classify, aggregate and obey commands, and the services."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.web import Request, Response, View

from connectors.errors import UnavailableError
from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.own_records import OwnRecords
from connectors.kafka.producer import ConfirmedProducer
from connectors.kafka.source import BatchSource
from models.serving.served_models import ServedModels
from streams.metrics import Metrics
from streams.pipeline.aggregate import AggregateStage
from streams.pipeline.batches import PipelinedStage, run_batch
from streams.pipeline.classify import ClassifyStage
from streams.pipeline.control_consumer import use_control_consumer
from streams.pipeline.emitter import Emitter
from streams.pipeline.model_watch import ModelWatch
from streams.pipeline.no_tables import NoTables
from streams.pipeline.positions import AggregatePositions, ClassifyPositions
from streams.pipeline.totals import TotalsFeed
from streams.records import ControlCommand, ControlRecord, RecordError
from streams.settings import Settings
from streams.windows.pacing import BEHIND_WAIT_FACTOR
from streams.windows.store import WindowStore
from streams.windows.top import TopKeywords
from streams.wording import counted

logger = logging.getLogger(__name__)


@dataclass
class Pipeline:
    """The parts of a worker: the Faust app, and what must be stopped and closed with it."""

    app: faust.App
    producer: ConfirmedProducer
    readers: list[OffsetReader]
    classify: ClassifyStage
    aggregate: AggregateStage
    services: list[BatchSource | Emitter | ModelWatch | TotalsFeed]

    async def stop_services(self) -> None:
        """Stop the services. Batches in flight have `KafkaConfig.revoke_deadline_s` to finish."""
        await asyncio.gather(*(service.stop() for service in self.services))

    async def close(self) -> None:
        """Close what the app does not own: the stages, the producer and the readers."""
        self.classify.close()
        self.aggregate.close()
        # Nothing waits for a delivery any more, so a second is enough.
        left = await asyncio.to_thread(self.producer.close, 1.0)
        if left:
            logger.warning(
                "Kafka did not confirm %s; a worker will make them again from the raw posts", counted(left, "record")
            )
        for reader in self.readers:
            await asyncio.to_thread(reader.close)


def create_pipeline(
    settings: Settings,
    kafka: KafkaConfig,
    models: ServedModels,
    store: WindowStore,
    metrics: Metrics,
    *,
    topic_ids: Mapping[str, str],
    data_dir: Path,
) -> Pipeline:
    """Build the Faust app and its parts. Call it inside the event loop that will run the app.

    `topic_ids` has the ids of the topics in which the window tables hold positions.
    `models` must be started; the app polls their channels, if they have some. The app serves `metrics` at `/metrics`.
    Faust needs the folder `data_dir`, but keeps nothing durable there.
    """
    app = _faust_app(settings, kafka, data_dir)
    prefix = settings.group_prefix
    # The same for both sources, and another one for each process, so that a process counts what it has classified.
    client_id = f"{prefix}-{socket.gethostname()}-{os.getpid()}"
    producer = ConfirmedProducer(kafka, client_id=f"{prefix}-worker")
    classify_reader = OffsetReader(kafka, group=f"{prefix}-classify")
    # A source may send posts while the transaction of another one is open.
    aggregate_reader = OffsetReader(kafka, group=f"{prefix}-aggregate", uncommitted=True)
    aggregate_positions = AggregatePositions(
        aggregate_reader, settings, store, asyncio.get_running_loop(), metrics, topic_ids=topic_ids
    )
    # To find duplicates the aggregate stage needs the time when the broker appended a record. Only a fetch has that. If
    # only those of sources are found, the classify stage keeps their posts out of the own records.
    own_records = None if settings.deduplication_s else OwnRecords()
    classify = ClassifyStage(settings, models.current, producer, metrics, own_records=own_records)

    def behind() -> bool:
        return raw_source.behind

    def aggregate_wait_s() -> float:
        return settings.aggregate_wait_ms / 1_000 * (BEHIND_WAIT_FACTOR if behind() else 1)

    def on_set_back(shard: int) -> None:
        metrics.rewinds.labels("aggregate", "set_back").inc()
        aggregate.forget_positions()
        classified_source.rewind(f"Redis was set back: its position of shard {shard} is lower than the applied one")

    def is_current(batch: Batch) -> bool:
        return classified_source.is_current(batch)

    aggregate = AggregateStage(
        settings, store, producer, metrics, start_positions=aggregate_positions, is_current=is_current
    )
    raw_source = BatchSource(
        app,
        kafka,
        group=f"{prefix}-classify",
        client_id=client_id,
        topic=settings.topic_raw,
        positions=ClassifyPositions(classify_reader, settings, metrics),
        batch_max=settings.batch_max,
        batch_wait_s=lambda: settings.batch_wait_ms / 1_000,
    )
    emitter = Emitter(
        app,
        settings,
        kafka,
        store,
        metrics,
        applied=aggregate.applied,
        on_set_back=on_set_back,
        behind=behind,
    )
    totals = TotalsFeed(
        app,
        settings,
        TopKeywords(store),
        producer,
        metrics,
        owned=emitter.owned,
        offsets=emitter.offsets,
        behind=behind,
    )
    classified_source = BatchSource(
        app,
        kafka,
        group=f"{prefix}-aggregate",
        client_id=client_id,
        topic=settings.topic_classified,
        positions=aggregate_positions,
        batch_max=settings.aggregate_batch_max,
        batch_wait_s=aggregate_wait_s,
        on_assign=emitter.own,
        own_records=own_records,
    )

    @app.agent(raw_source.channel, name="classify")  # type: ignore[untyped-decorator]
    async def classify_agent(batches: AsyncIterator[Batch]) -> None:
        pipelined = PipelinedStage(
            app, raw_source, classify.prepare, classify.deliver, stage="classify", metrics=metrics
        )
        try:
            async for batch in batches:
                with raw_source.busy():
                    await pipelined.run(batch)
        finally:
            pipelined.cancel()

    @app.agent(classified_source.channel, name="aggregate")  # type: ignore[untyped-decorator]
    async def aggregate_agent(batches: AsyncIterator[Batch]) -> None:
        async for batch in batches:
            with classified_source.busy():
                await run_batch(app, classified_source, batch, aggregate.process, stage="aggregate", metrics=metrics)

    control = app.topic(settings.topic_control, value_type=bytes, value_serializer="raw")

    @app.agent(control, name="control")  # type: ignore[untyped-decorator]
    async def control_agent(commands: faust.StreamT[bytes]) -> None:
        async for event in commands.events():
            place = event.message
            await _run_command(event.value, store, f"{place.topic}[{place.partition}]@{place.offset}")

    _serve_metrics(app, metrics)
    services: list[BatchSource | Emitter | ModelWatch | TotalsFeed] = [totals, emitter, classified_source, raw_source]
    services += [ModelWatch(app, served, served.poll_s) for served in models.watched]
    for service in services:
        app.service(service)
    return Pipeline(app, producer, [classify_reader, aggregate_reader], classify, aggregate, services)


async def _run_command(command: bytes, store: WindowStore, where: str) -> None:
    try:
        record = ControlRecord.from_json(command)
    except RecordError as exc:
        logger.warning("ignoring %s, which is no command: %s", where, exc)
        return
    if record.command is ControlCommand.REPUBLISH_WINDOWS:
        try:
            await store.refresh()
            marked = sum([await store.mark_all_dirty(shard) for shard in range(store.shards)])
        except UnavailableError as exc:
            # The record is not read again, so the operator has to repeat the command.
            logger.error("republishing the windows failed; run `emostream windows republish` again: %s", exc)
        else:
            logger.info("publishing %s again", counted(marked, "window"))


def _faust_app(settings: Settings, kafka: KafkaConfig, data_dir: Path) -> faust.App:
    app = faust.App(
        # The app's name is the consumer group of the control topic. The batch sources have groups of their own.
        f"{settings.group_prefix}-control",
        broker=[f"kafka://{server}" for server in kafka.bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_timeout_ms / 1_000,
        broker_heartbeat_interval=kafka.heartbeat_ms / 1_000,
        datadir=str(data_dir),
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="latest",
        stream_wait_empty=False,
        web_enabled=settings.web_port != 0,
        web_bind=settings.web_bind,
        web_port=settings.web_port or 6066,
        worker_redirect_stdouts=False,
        TableManager=NoTables,
    )
    use_control_consumer(app)
    return app


def _credentials(kafka: KafkaConfig) -> Any:  # noqa: ANN401 - faust's credential classes
    context = kafka.ssl_context()
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=kafka.sasl_mechanism,
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _serve_metrics(app: faust.App, metrics: Metrics) -> None:
    @app.page("/metrics")  # type: ignore[untyped-decorator]
    async def serve(view: View, request: Request) -> Response:
        return view.bytes(metrics.render(), content_type="text/plain; version=0.0.4")
