"""Feeds a Faust agent with whole batches: a thread polls Kafka and puts each batch on a channel.

The element of the stream is a batch, so Faust's cost per event is paid once in hundreds of posts, and nothing is
acknowledged event by event. The agent's side is one rule:

    async for batch in source.channel:
        with source.busy(), source.in_flight(batch) as current:
            if current:
                ...deliver everything...
                source.done(batch)

Batches are as large as the stage is busy. While it has nothing to do, what comes is handed over after `batch_wait_s`;
while it works, what comes is gathered, and only full batches are handed over before it asks. So an idle stage answers
soon, and a backlog comes in full batches.

A batch that fails must end in `source.rewind` (it is fetched again) or in `source.halt` and a stop of the worker; going
on with the next one would leave a hole that nothing finds.
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
from connectors.kafka.own_writes import OwnWrites

logger = logging.getLogger(__name__)

PAUSE_AFTER_S = 1.0
"""How long a full channel may hold up polling before fetching is paused. Pausing throws away what was fetched ahead, so
it is not done for the length of a normal batch; not polling stalls rebalances, so it is done well before that hurts."""

LEAVE_S = 2.0
"""For leaving the group, after the batch in flight. Whoever does not make it is missed after the session timeout."""

_IDLE_POLL_S = 0.25

_FILL_POLL_S = 0.005
"""Between two looks at whether the stage is free, while a batch that has waited long enough grows on."""


class BatchChannel(faust.Channel):  # type: ignore[misc] # faust ships no types
    """A Faust channel with one queue for all its clones, outside Faust's flow control.

    Faust empties the queues under its flow control whenever its own consumer rebalances. That is right for events it
    will fetch again, but would silently drop our batches, which it did not fetch.
    """

    _queue: ThrowableQueue | None

    @property
    def queue(self) -> ThrowableQueue:
        """The one queue, bounded by `maxsize` batches."""
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
    """Consumes a topic in a thread of its own and feeds `channel`; stops the app if consuming fails for good."""

    def __init__(
        self,
        app: faust.App,
        config: KafkaConfig,
        *,
        group: str,
        topic: str,
        positions: PositionLookup,
        batch_max: int,
        batch_wait_s: Callable[[], float],
        on_assign: Callable[[frozenset[int]], None] | None = None,
        prefetch: int = 2,
        own_writes: OwnWrites | None = None,
        **kwargs: Any,  # noqa: ANN401 - mode's
    ) -> None:
        """Prepare the source; it joins `group` when the service starts.

        Args:
            app: the application, crashed if consuming fails for good.
            config: how to reach Kafka.
            group: consumer group; must differ from the app's own.
            topic: topic to consume.
            positions: start offsets, called in the polling thread (see `PositionedConsumer`).
            batch_max: messages in a batch at most.
            batch_wait_s: how long a batch waits to fill while the stage has none before it, in seconds; asked again and
                again, in the polling thread.
            on_assign: told the partitions owned from now on; called in the polling thread.
            prefetch: batches waiting in the channel at most.
            own_writes: what this process writes to the topic, and tells; it is not fetched.
            kwargs: for `mode.Service`.
        """
        super().__init__(**kwargs)
        self.app = app
        self.topic = topic
        self.channel = BatchChannel(app, maxsize=prefetch)
        _ = self.channel.queue  # made here, and in no thread that asks whether we are behind
        self._revoke_deadline_s = config.revoke_deadline_s
        self._batch_max = batch_max
        self._batch_wait_s = batch_wait_s
        self._make_consumer: Callable[[], PositionedConsumer] = lambda: PositionedConsumer(
            config,
            group=group,
            topic=topic,
            positions=positions,
            on_assign=on_assign,
            on_revoke=self._await_idle,
            own_writes=own_writes,
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
        """Hold up revocation while a batch is processed; yields False if the batch is stale and must be skipped."""
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
        """Whether a batch may be processed for all that is known now; `in_flight` says whether it may have effects."""
        return self._consumer is not None and self._consumer.is_current(batch) and not self._halted

    @property
    def behind(self) -> bool:
        """Whether the channel is full: more than a full batch waits for the stage. Thread-safe."""
        return bool(self.channel.queue.full())

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The stage has a batch in hand and could not take another: what is fetched meanwhile adds to the next."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def done(self, batch: Batch) -> None:
        """Every output of the batch is confirmed."""
        if self._consumer is not None:
            self._consumer.done(batch)

    def rewind(self, reason: str) -> None:
        """Fetch again from the looked-up positions; batches fetched before are stale from now on."""
        if self._consumer is not None:
            self._consumer.rewind(reason)

    def halt(self) -> None:
        """Let no further batch begin: one has failed for good, and the next must not leave a hole behind it."""
        self._halted = True

    @property
    def _stage_waiting(self) -> bool:
        """Whether the stage waits for a batch. While it has one, a small one would just stand in the channel."""
        return not self._busy and bool(self.channel.queue.empty())

    def _await_idle(self) -> None:
        with self._begin_lock:
            pass  # an agent that was about to begin has either begun, or will see the new epoch
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
                logger.warning("%s: could not leave the group; is the broker away?", self.topic)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            consumer = self._consumer = self._make_consumer()
            try:
                self._feed(consumer, loop)
            finally:
                consumer.close()
        except Exception as exc:  # noqa: BLE001 - crosses from the thread to the app, which stops with it
            if self._stopping.is_set():
                logger.info("%s: while stopping: %s", self.topic, exc)
            else:
                asyncio.run_coroutine_threadsafe(self.app.crash(exc), loop)

    def _feed(self, consumer: PositionedConsumer, loop: asyncio.AbstractEventLoop) -> None:
        """Poll, gather and hand over, one batch at a time, so that batches cannot overtake each other."""
        builder = BatchBuilder(self._batch_max, self._batch_wait_s)
        handed: Future[None] | None = None
        handed_at = 0.0
        paused_epoch: int | None = None
        while not self._stopping.is_set():
            if handed is not None and handed.done():
                handed.result()
                handed = None
            now = time.monotonic()
            if handed is None and (batch := builder.take_due(now, stage_waiting=self._stage_waiting)) is not None:
                handed = asyncio.run_coroutine_threadsafe(self.channel.put(batch), loop)
                handed_at = now
            if handed is None:
                if paused_epoch is not None:
                    if paused_epoch == consumer.epoch:
                        consumer.resume()
                    paused_epoch = None
                count, wait_s = builder.next_poll(now)
            elif now - handed_at < PAUSE_AFTER_S:
                wait([handed], timeout=_IDLE_POLL_S)
                continue
            else:
                # A new assignment starts unpaused, so the pause belongs to an epoch.
                if paused_epoch != consumer.epoch:
                    consumer.pause()
                    paused_epoch = consumer.epoch
                count, wait_s = self._batch_max, _IDLE_POLL_S
            found = consumer.poll(count, wait_s)
            if found is not None:
                # The agent would skip what is stale, but may be busy for many rebalances.
                builder.keep_only(consumer.is_current)
                builder.add(found, time.monotonic())
        if handed is not None:
            handed.cancel()


class BatchBuilder:
    """What was fetched and not handed over yet: full batches, and one that may still grow. Pure."""

    def __init__(self, batch_max: int, batch_wait_s: Callable[[], float]) -> None:
        """Gather batches of at most `batch_max` messages, the last of which waits what `batch_wait_s` says at least."""
        self._batch_max = batch_max
        self._batch_wait_s = batch_wait_s
        self._full: deque[Batch] = deque()
        self._filling: Batch | None = None
        self._since = 0.0

    def add(self, batch: Batch, now: float) -> None:
        """Take in what was fetched; it may be more than is wanted, of a new epoch, and is never split."""
        if self._filling is None:
            self._since = now
        elif len(self._filling) + len(batch) > self._batch_max or self._filling.epoch != batch.epoch:
            self._full.append(self._filling)
            self._filling, self._since = None, now
        self._filling = batch if self._filling is None else self._filling.followed_by(batch)

    def keep_only(self, wanted: Callable[[Batch], bool]) -> None:
        """Forget the batches that are not wanted any more."""
        self._full = deque(batch for batch in self._full if wanted(batch))
        if self._filling is not None and not wanted(self._filling):
            self._filling = None

    def take_due(self, now: float, *, stage_waiting: bool) -> Batch | None:
        """The next batch, if it is full, or if the stage has none before it and it has waited long enough."""
        if self._full:
            return self._full.popleft()
        batch = self._filling
        if batch is None:
            return None
        waited = stage_waiting and now >= self._since + self._batch_wait_s()
        if not waited and len(batch) < self._batch_max:
            return None
        self._filling = None
        return batch

    def next_poll(self, now: float) -> tuple[int, float]:
        """How many messages to fetch next, and how long to wait for them, in seconds."""
        if self._filling is None:
            # The first one ends the wait.
            return 1, _IDLE_POLL_S
        left_s = self._since + self._batch_wait_s() - now
        # Never for long: meanwhile no stop is heard, and the wait may become a shorter one.
        wait_s = min(left_s, _IDLE_POLL_S) if left_s > 0 else _FILL_POLL_S
        return self._batch_max - len(self._filling), wait_s
