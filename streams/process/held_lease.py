"""Runs work in the event loop while this process holds a lease.

The lease has a thread of its own (`GroupLease`). The thread tells the event loop of each change. Before it lets go of
the lease, it waits until the work has stopped, so that the work of two processes does not overlap.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from connectors.errors import ConnectorError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.lease import GroupLease
from streams.process.waiting import first_of


class HeldLease:
    """Whether this process holds a lease.

    Attributes:
        is_held: whether it does.
        changed: set after each change. Whoever waits for it clears it first.
    """

    def __init__(self, config: KafkaConfig, *, group: str, topic: str, client_id: str | None = None) -> None:
        """Prepare to ask for the lease. The arguments are those of `GroupLease`."""
        self._config = config
        self._group = group
        self._topic = topic
        self._client_id = client_id
        self._failure: ConnectorError | None = None
        self._idle = threading.Event()
        self._idle.set()
        self.is_held = False
        self.changed = asyncio.Event()

    @asynccontextmanager
    async def asked_for(self) -> AsyncIterator[None]:
        """Ask for the lease while the block runs, and give it up after that.

        Raises:
            ConnectorError: The client does not accept the configuration.
        """
        lease = await asyncio.to_thread(self._join, asyncio.get_running_loop())
        try:
            yield
        finally:
            self._idle.set()
            await asyncio.to_thread(lease.close)

    async def wait_for_change(self, stop: asyncio.Event) -> None:
        """Wait until the lease was got or lost, or until `stop`."""
        await first_of(self.changed, stop)
        self.changed.clear()

    def check(self) -> None:
        """Raise the error with which Kafka has rejected the membership for good, if it has."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep the lease from the next process while the block runs, at most `KafkaConfig.revoke_deadline_s`."""
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    def _join(self, loop: asyncio.AbstractEventLoop) -> GroupLease:
        def note(is_held: bool, failure: ConnectorError | None) -> None:
            self.is_held, self._failure = is_held, failure or self._failure
            self.changed.set()

        # These run in the thread of the lease.
        def held() -> None:
            loop.call_soon_threadsafe(note, True, None)

        def lost() -> None:
            loop.call_soon_threadsafe(note, False, None)
            self._idle.wait(self._config.revoke_deadline_s)

        def failed(failure: ConnectorError) -> None:
            loop.call_soon_threadsafe(note, False, failure)

        return GroupLease(
            self._config,
            group=self._group,
            topic=self._topic,
            client_id=self._client_id,
            on_held=held,
            on_lost=lost,
            on_failed=failed,
        )
