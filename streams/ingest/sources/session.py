"""Takes an instance over from its former process: fences it, reads its position, and what it has sent since."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.config import KafkaConfig
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer
from connectors.sources.events import SourceGap
from streams.connections import kafka_config, scan_group
from streams.errors import InputError
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules
from streams.ingest.produce import partitions_of
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.history import OffsetHistory
from streams.ingest.sources.intake import Intake
from streams.ingest.sources.keywords import KeywordSelection
from streams.ingest.sources.metrics import InstanceMetrics
from streams.ingest.sources.positions import PositionStore, UnreadablePositionError, transactional_id
from streams.ingest.sources.pump import REREAD_S, Pump, StorageError
from streams.ingest.sources.sent import read_sent
from streams.records import SourcePosition, Timestamp
from streams.settings import Settings
from streams.topology import RAW_COMPRESSION

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CLOSE_S = 2.0
"""Seconds to wait at the end for posts that are not confirmed. A post that arrives later is sent a second time, because
the next process has read the topic by then."""


@asynccontextmanager
async def open_session(
    spec: SourceSpec,
    settings: Settings,
    *,
    selection: KeywordSelection,
    metrics: InstanceMetrics,
    from_now: bool,
) -> AsyncIterator[Pump]:
    """Take an instance over, and yield the pump that continues from its position.

    Args:
        spec: the instance.
        settings: where Kafka is.
        selection: decides which posts are kept.
        metrics: counts what happens.
        from_now: whether to begin with new posts, and to record what lies between as a gap.

    Raises:
        InputError: The position cannot be read, or is that of another kind of source.
        StorageError: Kafka did not answer.
        ConnectorError: Kafka rejected the call.
        TopologyError: The raw topic does not exist.
    """
    config, topic = kafka_config(settings), settings.topic_raw
    former = await _answered(asyncio.to_thread(_take_over, spec, settings, config, from_now=from_now))
    store, position = former.store, former.position
    producer = ConfirmedProducer(config, client_id=f"emostream-ingest-{spec.instance}", compression=RAW_COMPRESSION)
    reader = OffsetReader(config, group=scan_group(settings), uncommitted=True)

    # A call that was cancelled goes on in its thread. In one thread, no client is closed while it is in use.
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"source-{spec.instance}")

    def in_thread(work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(thread, work)

    def read_ends() -> dict[int, int]:
        return {number: high for number, (_, high) in reader.all_bounds(topic, range(count)).items()}

    try:
        count = await _answered(asyncio.to_thread(partitions_of, KafkaAdmin(config), topic))
        counted = None
        if position is not None and position.raw_topic == topic:
            reread, counted = _by_number(position.reread), _by_number(position.offsets)
        else:
            reread = await _answered(in_thread(read_ends))
        sent = await _answered(
            asyncio.to_thread(read_sent, config, topic, spec.kind, reread, counted=counted, group=scan_group(settings))
        )
        begin = _without_place(position) if from_now else position
        _log_start(spec, begin, from_now=from_now)
        metrics.resume(begin)
        intake = Intake(
            instance=spec.instance,
            source=spec.kind,
            raw_topic=topic,
            deletions_topic=settings.topic_deletions,
            rules=TextRules.of(settings),
            authors=Authors.of(settings),
            selection=selection,
            sent=sent,
            position=begin,
            metrics=metrics,
        )
        if from_now and (former.is_unreadable or (position is not None and position.begun)):
            since = position.at if position is not None else None
            intake.add_gap(SourceGap(since=since, until=Timestamp.now(UTC), reason="--from-now began with new posts"))
        yield Pump(
            intake,
            instance=spec.instance,
            source=spec.kind,
            raw_topic=topic,
            producer=producer,
            save=lambda position, gaps: in_thread(partial(store.save, position, gaps)),
            ends=lambda: in_thread(read_ends),
            history=OffsetHistory(reread, time.monotonic(), seconds=REREAD_S),
            position=begin,
            former=position,
            metrics=metrics,
            rate=spec.rate,
        )
    finally:
        await asyncio.to_thread(producer.close, _CLOSE_S)
        await in_thread(store.close)
        await in_thread(reader.close)
        thread.shutdown(wait=False)


class _Former(NamedTuple):
    """What the former process of an instance has left: its position, or that it cannot be read."""

    store: PositionStore
    position: SourcePosition | None
    is_unreadable: bool = False


def _take_over(spec: SourceSpec, settings: Settings, config: KafkaConfig, *, from_now: bool) -> _Former:
    store = PositionStore(
        config,
        topic=settings.topic_sources,
        gaps_topic=settings.topic_gaps,
        instance=spec.instance,
        transactional_id=transactional_id(settings, spec.instance),
        group=scan_group(settings),
    )
    try:
        position = store.load()
        if position is not None and position.source != spec.kind:
            raise InputError(
                f"the instance {spec.instance} is one of {position.source}, and not of {spec.kind}; give this source "
                "another name with --instance"
            )
    except UnreadablePositionError:
        if from_now:
            return _Former(store, None, is_unreadable=True)
        store.close()
        raise
    except Exception:
        store.close()
        raise
    return _Former(store, position)


def _by_number(offsets: Mapping[str, int]) -> dict[int, int]:
    return {int(partition): offset for partition, offset in offsets.items()}


def _without_place(position: SourcePosition | None) -> SourcePosition | None:
    """Returns a position that keeps the number of the gaps, and not the place."""
    return None if position is None else msgspec.structs.replace(position, cursor=None, at=None)


def _log_start(spec: SourceSpec, position: SourcePosition | None, *, from_now: bool) -> None:
    if position is not None and position.begun:
        logger.info("%s: continues from %s", spec.instance, position.at or f"its position of {position.saved_at}")
    elif not from_now and (spec.options.get("begin") == "earliest" or spec.options.get("history") is True):
        logger.info("%s: begins with the posts that are there already", spec.instance)
    else:
        logger.info("%s: begins with new posts", spec.instance)


async def _answered(work: Awaitable[T]) -> T:
    try:
        return await work
    except UnavailableError as exc:
        raise StorageError(str(exc)) from exc
