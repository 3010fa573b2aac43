"""Runs all sources of a process, until each has ended or a signal stops them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.sources.protocol import Source
from streams.connections import kafka_config
from streams.errors import USER_ERRORS, InputError, TopologyError
from streams.ingest.authors import Authors
from streams.ingest.keywords.follower import KeywordFollower
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.keywords.selection import Selection
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.instance import SourceInstance
from streams.ingest.sources.keywords import fixed_keywords
from streams.ingest.sources.kinds import opener_of
from streams.ingest.sources.metrics import IngestMetrics
from streams.process.garbage import collect_less_often
from streams.process.metrics_server import metrics_server
from streams.redact import redact
from streams.settings import Settings
from streams.wording import counted

logger = logging.getLogger(__name__)

GC_THRESHOLDS = (50_000, 50, 1_000)
"""Thresholds of the garbage collector in a process that runs sources. Posts wait in a buffer until they are sent."""


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
    openers = [opener_of(spec, settings, from_now=from_now) for spec in specs]
    fixed = [fixed_keywords(spec.keywords) if spec.keywords else None for spec in specs]
    _check_topics(settings)
    if Authors.of(settings).omitted_for_want_of_a_key:
        logger.warning(
            "EMOSTREAM_AUTHOR_KEY is not set, so posts get no authors, and deletions of accounts cannot be applied; "
            "make a key with `openssl rand -hex 32`, or set EMOSTREAM_AUTHORS=omit"
        )
    collect_less_often(*GC_THRESHOLDS)
    metrics = IngestMetrics()
    with ExitStack() as stack:
        host, port = settings.web_bind, settings.ingest_web_port
        stack.enter_context(metrics_server(host, port, metrics.registry, setting="EMOSTREAM_INGEST_WEB_PORT"))
        selections = [one for one in fixed if one is not None]
        if len(selections) < len(fixed):
            live, keep = stack.enter_context(_live_keywords(settings)), settings.unmatched_posts == "keep"
            selections = [one or Selection(live, keep_unmatched=keep) for one in fixed]
        failures = asyncio.run(_run(settings, specs, openers, selections, metrics, from_now=from_now))
    if failures:
        raise InputError(f"{counted(len(failures), 'source')} failed: {'; '.join(failures)}")


def _check_topics(settings: Settings) -> None:
    existing = KafkaAdmin(kafka_config(settings)).partition_counts()
    wanted = (
        settings.topic_raw,
        settings.topic_deletions,
        settings.topic_sources,
        settings.topic_gaps,
        settings.topic_keywords,
    )
    if missing := [topic for topic in wanted if topic not in existing]:
        raise TopologyError(f"missing topics: {', '.join(missing)}; run `emostream init`")


@contextmanager
def _live_keywords(settings: Settings) -> Iterator[Callable[[], Matcher]]:
    """Follow the live set of keywords, for all sources; yields what returns the present matcher, when it is known.

    Raises:
        ConnectorError: Kafka does not answer, or the topic cannot be followed.
    """
    group = f"{settings.group_prefix}-keywords"
    with KeywordFollower(kafka_config(settings), settings.topic_keywords, group=group) as follower:
        if not follower.wait_until_complete(settings.kafka_timeout_s):
            raise UnavailableError(
                f"Kafka did not answer within {settings.kafka_timeout_s:g} s while reading {settings.topic_keywords}"
            )
        yield follower.matcher


async def _run(
    settings: Settings,
    specs: Sequence[SourceSpec],
    openers: Sequence[Callable[[], Source]],
    selections: Sequence[Selection],
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

    async def run_one(spec: SourceSpec, opener: Callable[[], Source], selection: Selection) -> None:
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
        for spec, opener, selection in zip(specs, openers, selections, strict=True):
            group.create_task(run_one(spec, opener, selection))
    return failures
