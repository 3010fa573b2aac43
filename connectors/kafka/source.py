"""Feeds a Faust agent with batches: a thread polls Kafka and puts each batch on a channel.

The element of the stream is a batch, so Faust's cost per event is paid once for hundreds of posts, and no post is
acknowledged by itself. An agent must process batches in this form:

    async for batch in source.channel:
        with source.busy(), source.in_flight(batch) as current:
            if current:
                ...deliver everything...
                source.done(batch)

The size of a batch follows the load. While the stage is idle, a batch is handed over `batch_wait_s` after its first
record. While the stage is busy, batches are filled, and only full batches are put on the channel. So an idle stage
answers soon, and a backlog is processed in full batches.

If a batch fails, its agent must call `source.rewind`, which fetches the batch again, or `source.halt`, after which the
worker must stop. If the agent went on with the next batch, the records of the failed one would be lost.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

import faust
from mode import Service
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.consumer import PositionedConsumer, PositionLookup
from connectors.kafka.memory import BATCH_MEMORY
from connectors.kafka.own_records import OwnRecords

logger = logging.getLogger(__name__)

PAUSE_AFTER_S = 1.0
"""Seconds after which fetching is paused, and polling goes on, if the channel stays full. A pause drops the records
that were fetched ahead, so this is longer than a normal batch takes. A rebalance needs polling, so it is not much
longer."""

LEAVE_S = 2.0
"""Seconds to wait until the consumer has left the group, after the batch in flight. If it takes longer, the group
notices after the session timeout that the member is gone."""

_IDLE_POLL_S = 0.5
"""Longest poll in seconds: between two polls the thread checks whether it must stop."""

_FILL_POLL_S = 0.005
"""Seconds of a poll while a batch is due and the stage is busy. It is short, so that the batch is handed over soon
after the stage is free."""


class BatchChannel(faust.Channel):  # type: ignore[misc] # faust ships no types
    """A Faust channel with one queue for all its clones, outside of Faust's flow control.

    Faust empties the queues under its flow control whenever its own consumer rebalances, because it fetches their
    events again. It did not fetch these batches, so it would drop them.
    """

    _queue: ThrowableQueue | None

    @property
    def queue(self) -> ThrowableQueue:
        """The queue, of at most `maxsize` batches."""
        if self._queue is None:
            always_open = FlowControlEvent(initially_suspended=False)
            self._queue = ThrowableQueue(maxsize=self.maxsize, flow_control=always_open)
        return self._queue

    def _clone_args(self) -> dict[str, Any]:
        return {**super()._clone_args(), "queue": self.queue}

    async def put(self, value: Batch) -> None:
        """Wait for room, then queue a batch."""
        await self.queue.put(value)


class BatchSource(Service):  # type: ignore[misc]
    """Consumes a topic in a thread of its own and puts batches on `channel`; crashes the app if consuming fails."""

    mundane_level = "debug"  # of mode's lines about starting and stopping

    def __init__(
        self,
        app: faust.App,
        config: KafkaConfig,
        *,
        group: str,
        client_id: str,
        topic: str,
        positions: PositionLookup,
        batch_max: int,
        batch_wait_s: Callable[[], float],
        on_assign: Callable[[frozenset[int]], None] | None = None,
        prefetch: int = 2,
        own_records: OwnRecords | None = None,
        **kwargs: Any,  # noqa: ANN401 - mode's
    ) -> None:
        """Prepare the source. The consumer joins `group` when the service starts.

        Args:
            app: The application; crashed if consuming fails for good.
            config: How to reach Kafka.
            group: The consumer group; must differ from the app's own.
            client_id: The client id of the consumer (see `PositionedConsumer`).
            topic: The topic to consume.
            positions: Looks up the positions; called in the polling thread (see `PositionedConsumer`).
            batch_max: Greatest number of records in a batch.
            batch_wait_s: Returns how long a batch waits to be filled while the stage is idle, in seconds. Called often,
                in the polling thread.
            on_assign: Called in the polling thread with the partitions that are assigned from now on.
            prefetch: Greatest number of batches in the channel.
            own_records: The own records: those that this process writes to the topic. They are then not fetched.
            kwargs: Arguments for `mode.Service`.
        """
        super().__init__(**kwargs)
        self.app = app
        self.topic = topic
        self.channel = BatchChannel(app, maxsize=prefetch)
        _ = self.channel.queue  # make the queue now, so that a thread that reads `behind` does not make it
        self._revoke_deadline_s = config.revoke_deadline_s
        self._batch_max = batch_max
        self._batch_wait_s = batch_wait_s
        self._make_consumer: Callable[[], PositionedConsumer] = lambda: PositionedConsumer(
            config,
            group=group,
            client_id=client_id,
            topic=topic,
            positions=positions,
            on_assign=on_assign,
            on_revoke=self._await_idle,
            own_records=own_records,
        )
        self._consumer: PositionedConsumer | None = None
        self._begin_lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._busy = False
        self._halted = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def in_flight(self, batch: Batch) -> Iterator[bool]:
        """Make a revocation wait while a batch is processed. Yields False if the batch is stale and must be skipped."""
        with self._begin_lock:
            current = self.is_current(batch)
            if current:
                self._idle.clear()
        try:
            yield current
        finally:
            if current:
                self._idle.set()

    def is_current(self, batch: Batch) -> bool:
        """Returns whether a batch is current so far. Only inside `in_flight` is that certain."""
        return self._consumer is not None and self._consumer.is_current(batch) and not self._halted

    @property
    def behind(self) -> bool:
        """Whether the channel is full, so that more than a full batch waits for the stage. Thread-safe."""
        return bool(self.channel.queue.full())

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark the stage as busy: what is fetched meanwhile fills the next batch."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def done(self, batch: Batch) -> None:
        """Record that every output of the batch is confirmed."""
        if self._consumer is not None:
            self._consumer.done(batch)

    def rewind(self, reason: str) -> None:
        """Make the batches fetched so far stale, look the positions up, and fetch from there."""
        if self._consumer is not None:
            self._consumer.rewind(reason)

    def halt(self) -> None:
        """Make every further batch stale: one has failed for good, and its records must not be passed over."""
        self._halted = True

    @property
    def _stage_waiting(self) -> bool:
        """Whether the stage waits for a batch. While it has one, a batch in the channel would not be filled further."""
        return not self._busy and bool(self.channel.queue.empty())

    def _await_idle(self) -> None:
        with self._begin_lock:
            pass  # an agent that was about to begin has begun by now, or will find that its batch is stale
        if not self._idle.wait(self._revoke_deadline_s):
            logger.warning("%s: the batch in flight did not finish in %.1f s", self.topic, self._revoke_deadline_s)

    async def on_start(self) -> None:
        """Start polling."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name=f"source-{self.topic}", daemon=True)
        self._thread.start()

    async def on_stop(self) -> None:
        """Stop polling, wait for the batch in flight, and leave the group."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self._revoke_deadline_s + LEAVE_S)
            if self._thread.is_alive():
                logger.warning("%s: could not leave the group in time; does Kafka answer?", self.topic)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            consumer = self._consumer = self._make_consumer()
            try:
                self._feed(consumer, loop)
            finally:
                consumer.close()
        except Exception as exc:  # noqa: BLE001 - the app must stop with any error of its thread
            if self._stopping.is_set():
                logger.info("%s: while stopping: %s", self.topic, exc)
            else:
                asyncio.run_coroutine_threadsafe(self.app.crash(exc), loop)

    def _feed(self, consumer: PositionedConsumer, loop: asyncio.AbstractEventLoop) -> None:
        """Poll, fill batches and hand them over, one at a time, so that batches cannot overtake each other."""
        builder = BatchBuilder(self._batch_max, self._batch_wait_s)
        handed: Future[None] | None = None
        handed_at = 0.0
        while not self._stopping.is_set():
            if handed is not None and handed.done():
                handed.result()
                handed = None
            now = time.monotonic()
            if handed is None and (batch := builder.take_due(now, stage_waiting=self._stage_waiting)) is not None:
                handed = asyncio.run_coroutine_threadsafe(self.channel.put(batch), loop)
                handed_at = now
            if handed is None:
                if consumer.is_paused:
                    consumer.resume()
                count, wait_s = builder.next_poll(now)
            elif now - handed_at < PAUSE_AFTER_S:
                wait([handed], timeout=_IDLE_POLL_S)
                continue
            else:
                if not consumer.is_paused:
                    consumer.pause()
                count, wait_s = self._batch_max, _IDLE_POLL_S
            found = consumer.poll(count, wait_s)
            if found is not None:
                # The agent skips stale batches, but it may be busy for many rebalances, and they would pile up here.
                builder.keep_only(consumer.is_current)
                builder.add(found, time.monotonic())
        if handed is not None:
            handed.cancel()


class BatchBuilder:
    """Joins polled batches into larger ones: full batches, and one that is being filled. Does no I/O."""

    def __init__(self, batch_max: int, batch_wait_s: Callable[[], float]) -> None:
        """Start without records.

        Args:
            batch_max: Greatest number of records in a batch.
            batch_wait_s: Returns how long a batch that is not full waits to be filled, in seconds.
        """
        self._batch_max = batch_max
        self._batch_wait_s = batch_wait_s
        self._full: deque[Batch] = deque()
        self._filling: Batch | None = None
        self._memory = 0
        self._since = 0.0

    def add(self, batch: Batch, now: float) -> None:
        """Add a polled batch, which is never split. Batches of two epochs are not joined."""
        if self._filling is None:
            self._since = now
        elif (
            len(self._filling) + len(batch) > self._batch_max
            or self._memory >= BATCH_MEMORY
            or self._filling.epoch != batch.epoch
        ):
            self._full.append(self._filling)
            self._filling, self._since = None, now
        self._memory = batch.memory() + (0 if self._filling is None else self._memory)
        self._filling = batch if self._filling is None else self._filling.followed_by(batch)

    def keep_only(self, wanted: Callable[[Batch], bool]) -> None:
        """Drop the batches for which `wanted` returns False."""
        self._full = deque(batch for batch in self._full if wanted(batch))
        if self._filling is not None and not wanted(self._filling):
            self._filling = None

    def take_due(self, now: float, *, stage_waiting: bool) -> Batch | None:
        """Remove and return the next batch that is due; None if none is.

        A batch is due if it is full, or if the stage waits for it and it has waited long enough itself.
        """
        if self._full:
            return self._full.popleft()
        batch = self._filling
        if batch is None:
            return None
        waited = stage_waiting and now >= self._since + self._batch_wait_s()
        if not waited and len(batch) < self._batch_max and self._memory < BATCH_MEMORY:
            return None
        self._filling = None
        return batch

    def next_poll(self, now: float) -> tuple[int, float]:
        """Returns how many records to poll next, and how long to wait for them in seconds."""
        if self._filling is None:
            # The first record must end the poll, because the batch's wait begins with it.
            return 1, _IDLE_POLL_S
        left_s = self._since + self._batch_wait_s() - now
        # Only for a short time: a poll does not notice a stop, and `batch_wait_s` may become shorter.
        wait_s = min(left_s, _IDLE_POLL_S) if left_s > 0 else _FILL_POLL_S
        return self._batch_max - len(self._filling), wait_s
