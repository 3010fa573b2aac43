"""Runs all sources of a process, until each has ended or a signal stops them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence

from connectors.kafka.admin import KafkaAdmin
from connectors.sources.protocol import Source
from streams.connections import kafka_config
from streams.errors import USER_ERRORS, InputError, TopologyError
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.instance import SourceInstance
from streams.ingest.sources.keywords import FixedKeywords, Hashtags
from streams.ingest.sources.kinds import opener_of
from streams.ingest.sources.metrics import IngestMetrics
from streams.ingest.sources.web import metrics_server
from streams.redact import redact
from streams.settings import Settings
from streams.wording import counted

logger = logging.getLogger(__name__)


def run_sources(settings: Settings, specs: Sequence[SourceSpec], *, from_now: bool = False) -> None:
    """Run sources until SIGTERM or Ctrl-C, or until all have ended. A source that fails for good ends alone.

    Args:
        settings: where Kafka is, and the names of the topics.
        specs: the sources; no two have the same instance.
        from_now: whether they begin with new posts instead of at their positions.

    Raises:
        InputError: A source has failed for good; the others have ended too.
        TopologyError: A topic is missing.
        ConnectorError: Kafka does not answer, or the port of the web server is in use.
    """
    openers = [opener_of(spec) for spec in specs]
    _check_topics(settings)
    metrics = IngestMetrics()
    with metrics_server(settings.web_bind, settings.ingest_web_port, metrics.registry):
        failures = asyncio.run(_run(settings, specs, openers, metrics, from_now=from_now))
    if failures:
        raise InputError(f"{counted(len(failures), 'source')} failed: {'; '.join(failures)}")


def _check_topics(settings: Settings) -> None:
    existing = KafkaAdmin(kafka_config(settings)).partition_counts()
    wanted = (settings.topic_raw, settings.topic_sources, settings.topic_gaps)
    if missing := [topic for topic in wanted if topic not in existing]:
        raise TopologyError(f"missing topics: {', '.join(missing)}; run `emostream init`")


async def _run(
    settings: Settings,
    specs: Sequence[SourceSpec],
    openers: Sequence[Callable[[], Source]],
    metrics: IngestMetrics,
    *,
    from_now: bool,
) -> list[str]:
    """Run the sources side by side. Returns a line for each that failed for good."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    failures: list[str] = []

    async def run_one(spec: SourceSpec, opener: Callable[[], Source]) -> None:
        selection = FixedKeywords(spec.keywords) if spec.keywords else Hashtags()
        instance = SourceInstance(spec, settings, metrics, open_source=opener, selection=selection, from_now=from_now)
        try:
            await instance.run(stop)
        except USER_ERRORS as exc:
            failures.append(redact(f"{spec.instance}: {exc}"))
            logger.error("%s ended: %s", spec.instance, exc)
        else:
            logger.info("%s ended", spec.instance)

    # A defect in one source ends all: an exception that is no error of the user cancels the group.
    async with asyncio.TaskGroup() as group:
        for spec, opener in zip(specs, openers, strict=True):
            group.create_task(run_one(spec, opener))
    return failures
