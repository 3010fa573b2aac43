"""One instance of a source: waits for its lease, continues from its position, and reconnects until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.lease import GroupLease
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
        # The state of the lease. Its thread changes it through the event loop.
        self._holds = False
        self._lease_failure: ConnectorError | None = None
        self._changed = asyncio.Event()
        self._idle = threading.Event()
        self._idle.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, or until the source has an end.

        Raises:
            ConnectorError: The network or Kafka rejects what the instance does.
            EmostreamError: The stored position cannot be used, or a topic is missing.
        """
        lease = self._join(asyncio.get_running_loop())
        logger.info("%s: waits until no other process runs it", self._spec.instance)
        try:
            while not stop.is_set():
                if self._lease_failure is not None:
                    raise self._lease_failure
                if self._holds:
                    if await self._work_while_held(stop):
                        return
                else:
                    await _first_of(self._changed, stop)
                    self._changed.clear()
        finally:
            self._idle.set()
            await asyncio.to_thread(lease.close)

    def _join(self, loop: asyncio.AbstractEventLoop) -> GroupLease:
        def note(holds: bool, failure: ConnectorError | None) -> None:
            self._holds, self._lease_failure = holds, failure or self._lease_failure
            self._changed.set()

        # These run in the thread of the lease.
        def held() -> None:
            loop.call_soon_threadsafe(note, True, None)

        def lost() -> None:
            loop.call_soon_threadsafe(note, False, None)
            self._idle.wait(self._kafka.revoke_deadline_s)

        def failed(failure: ConnectorError) -> None:
            loop.call_soon_threadsafe(note, False, failure)

        group = lease_group(self._settings, self._spec.instance)
        return GroupLease(
            self._kafka,
            group=group,
            topic=self._settings.topic_sources,
            client_id=client_id(group),
            on_held=held,
            on_lost=lost,
            on_failed=failed,
        )

    async def _work_while_held(self, stop: asyncio.Event) -> bool:
        """Work until the source has ended, the lease is lost, or `stop`. Returns whether the instance is to end."""
        self._idle.clear()
        self._metrics.active.set(1)
        work = asyncio.create_task(self._work(stop))
        ended = asyncio.Event()
        work.add_done_callback(lambda _: ended.set())
        try:
            while self._holds and not work.done() and not stop.is_set():
                self._changed.clear()
                await _first_of(ended, self._changed, stop)
            if stop.is_set():
                await _first_of(ended, timeout_s=self._settings.kafka_timeout_s)
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
            await _first_of(stop, timeout_s=self._backoff.wait_s(exc))
            return False
        finally:
            work.cancel()
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # it was raised above, or does not matter without the lease
            if isinstance(self._open_source, ClosableOpener):
                await self._open_source.close()
            self._metrics.active.set(0)
            self._idle.set()

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
        await _first_of(stop, timeout_s=wait_s)


async def _first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, at most `timeout_s`."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
