"""One instance of a source: waits for its lease, continues from its position, and reconnects until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from connectors.errors import UnavailableError
from connectors.kafka.transactional import FencedError
from connectors.sources.protocol import FilteredSource, Source
from streams.connections import kafka_config
from streams.errors import USER_ERRORS
from streams.ingest.sources.backoff import Backoff
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.keywords import KeywordSelection
from streams.ingest.sources.members import client_id, lease_group
from streams.ingest.sources.metrics import IngestMetrics, InstanceMetrics
from streams.ingest.sources.pump import Pump, StorageError
from streams.ingest.sources.session import open_session
from streams.process.held_lease import HeldLease
from streams.process.waiting import first_of
from streams.settings import Settings

logger = logging.getLogger(__name__)


@runtime_checkable
class ClosableOpener(Protocol):
    """Makes the sources of an instance, and keeps something open between two of them, such as a port."""

    def __call__(self) -> Source:
        """Make a source for the next connection."""
        ...

    async def close(self) -> None:
        """Close what is open, so that another process can open it. A source that is made later opens it again."""
        ...


class SourceInstance:
    """Runs one instance of a source, while no other process does."""

    def __init__(
        self,
        spec: SourceSpec,
        settings: Settings,
        metrics: IngestMetrics,
        *,
        open_source: Callable[[], Source],
        selection: KeywordSelection,
        from_now: bool = False,
    ) -> None:
        """Prepare an instance.

        Args:
            spec: what to run.
            settings: where Kafka is.
            metrics: counts what happens.
            open_source: makes a source for the next connection.
            selection: decides which posts are kept.
            from_now: whether to begin with new posts, and to record what lies between as a gap.
        """
        self._spec = spec
        self._settings = settings
        self._kafka = kafka_config(settings)
        self._metrics = InstanceMetrics(metrics, spec.instance)
        self._open_source = open_source
        self._selection = selection
        self._from_now = from_now
        self._backoff = Backoff(spec.backoff)
        group = lease_group(settings, spec.instance)
        self._lease = HeldLease(self._kafka, group=group, topic=settings.topic_sources, client_id=client_id(group))

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, or until the source has an end.

        Raises:
            ConnectorError: The network or Kafka rejects what the instance does.
            EmostreamError: The stored position cannot be used, or a topic is missing.
        """
        async with self._lease.asked_for():
            logger.info("%s: waits until no other process runs it", self._spec.instance)
            while not stop.is_set():
                self._lease.check()
                if not self._lease.is_held:
                    await self._lease.wait_for_change(stop)
                    continue
                with self._lease.working():
                    is_over = await self._work_while_held(stop)
                if is_over:
                    return

    async def _work_while_held(self, stop: asyncio.Event) -> bool:
        """Work until the source has ended, the lease is lost, or `stop`. Returns whether the instance is to end."""
        self._metrics.active.set(1)
        work = asyncio.create_task(self._work(stop))
        ended = asyncio.Event()
        work.add_done_callback(lambda _: ended.set())
        try:
            while self._lease.is_held and not work.done() and not stop.is_set():
                self._lease.changed.clear()
                await first_of(ended, self._lease.changed, stop)
            if stop.is_set():
                await first_of(ended, timeout_s=self._settings.kafka_timeout_s)
                if not work.done():
                    logger.warning("%s: Kafka did not take the last posts; a restart reads them again", self._name)
                    return True
            if not work.done():
                logger.warning("%s: it has lost its lease; another process may run it now", self._name)
                return False
            await work
            return True
        except FencedError as exc:
            logger.warning("%s: %s", self._name, exc)
            await first_of(stop, timeout_s=self._backoff.wait_s(exc))
            return False
        finally:
            work.cancel()
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # it was raised above, or does not matter without the lease
            if isinstance(self._open_source, ClosableOpener):
                await self._open_source.close()
            self._metrics.active.set(0)

    @property
    def _name(self) -> str:
        return self._spec.instance

    async def _work(self, stop: asyncio.Event) -> None:
        """Continue from the stored position, again after each failure of Kafka."""
        while not stop.is_set():
            pump: Pump | None = None
            try:
                async with open_session(
                    self._spec,
                    self._settings,
                    selection=self._selection,
                    metrics=self._metrics,
                    from_now=self._from_now,
                ) as pump:
                    await self._run_until_ended(pump, stop)
                return
            except StorageError as exc:
                if not isinstance(exc.__cause__, UnavailableError):
                    raise exc.__cause__ or exc from None
                if pump is not None and pump.has_saved:
                    self._backoff.reset()
                await self._wait(exc, stop)

    async def _run_until_ended(self, pump: Pump, stop: asyncio.Event) -> None:
        """Connect until the source has ended. An error that ends it for good is stored beside its position."""
        try:
            await self._connect_until_ended(pump, stop)
        except FencedError:
            raise
        except USER_ERRORS as exc:
            try:
                await pump.fail(exc)
            except (StorageError, FencedError) as unstored:
                logger.warning("%s: why it ends cannot be stored: %s", self._name, unstored)
            raise

    async def _connect_until_ended(self, pump: Pump, stop: asyncio.Event) -> None:
        while not stop.is_set():
            source = self._open_source()
            if isinstance(source, FilteredSource):
                source.follow(self._selection.keywords)
            try:
                if await pump.run(source, stop):
                    return
            except UnavailableError as exc:
                failure: Exception | None = exc
            else:
                failure = None
            finally:
                # A position that was stored has the gap of --from-now, and another connection must not repeat it.
                self._from_now = self._from_now and not pump.begun
                await source.close()
            if failure is not None and not stop.is_set():
                self._metrics.reconnects.inc()
                if pump.take_progress():
                    self._backoff.reset()
                await self._wait(failure, stop)

    async def _wait(self, failure: Exception, stop: asyncio.Event) -> None:
        wait_s = self._backoff.wait_s(failure)
        logger.warning("%s: %s; it tries again in %.1f s", self._name, failure, wait_s)
        await first_of(stop, timeout_s=wait_s)
