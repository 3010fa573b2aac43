"""A member of a consumer group that starts where its own output proves it should, not where a commit says.

Life of an assignment (eager protocol), all in the thread that calls `poll`:

1. assign: the epoch rises, the start offsets are looked up, fetching begins there. If the lookup's source does not
   answer, nothing is fetched and the lookup is tried again; membership is kept by going on polling.
2. poll: batches carry the epoch in which they were fetched, and where each partition continues.
3. rewind (any thread): the epoch rises at once, so that batches fetched before are stale; step 1 is repeated.
4. revoke: the epoch rises, `on_revoke` waits for the batch in flight, what is done is committed for lag monitoring.
5. lost: another member may own the partitions already; the epoch rises, and that is all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import UnavailableError
from connectors.kafka.batch import Batch, Run, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_passing, kafka_error_of, log_client_error, to_connector_error
from connectors.kafka.own_writes import Following, OwnWrites

logger = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
"""Pace of the commits that only lag monitoring reads."""

LOOKUP_BACKOFF_S = (0.5, 1.0, 2.0, 5.0)
"""Waits between tries of a failed position lookup; the last one repeats. A second or two costs less than the
session timeout, and a Redis that restarts is back within the first few tries."""

MAX_POLL_INTERVAL_MS = 300_000
"""A batch in flight may hold up polling for this long, in the worst case a lookup during a slow fail-over."""

MIXED_POLL_S = 0.2
"""Pace of the looks at what was fetched, while what we write ourselves is waited for in other partitions."""

Positions = Callable[[Sequence[int]], Mapping[int, int]]
"""Start offsets by partition. Raises UnavailableError to be called again, anything else to stop."""


class PositionedConsumer:
    """A consumer of one topic. `poll` and `close` belong to one thread; the other methods are thread-safe."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        topic: str,
        positions: Positions,
        on_assign: Callable[[frozenset[int]], None] | None = None,
        on_revoke: Callable[[], None] | None = None,
        own_writes: OwnWrites | None = None,
    ) -> None:
        """Prepare a member of `group`; it joins with the first `poll`.

        Args:
            config: how to reach Kafka.
            group: the consumer group.
            topic: the topic to consume.
            positions: looks start offsets up; called in the polling thread.
            on_assign: told the partitions owned from now on, after every change (empty when revoked or lost).
            on_revoke: waits for the batch in flight; called while the partitions are still ours.
            own_writes: what this process writes to the topic, and tells; it is not fetched.
        """
        self.topic = topic
        self._positions = positions
        self._on_assign = on_assign or (lambda partitions: None)
        self._on_revoke = on_revoke or (lambda: None)
        self._own_writes = own_writes
        self._following = Following()
        self._paused = False
        self._lock = threading.Lock()
        self._epoch = 0
        self._positioned_epoch = 0  # the epoch of the last positioning: that of every batch fetched since
        self._assigned: frozenset[int] = frozenset()
        self._next: dict[int, int] = {}
        self._lookup_due: float | None = None
        self._lookup_failures = 0
        self._done: dict[int, int] = {}
        self._commit_due = 0.0
        self._failure: Exception | None = None
        options = config.librdkafka(
            group_id=group,
            client_id=group,
            enable_auto_commit=False,
            auto_offset_reset="error",
            allow_auto_create_topics=False,
            session_timeout_ms=config.session_timeout_ms,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            partition_assignment_strategy="range,roundrobin",
            # Bounds the memory of what is fetched ahead, per partition.
            queued_max_messages_kbytes=16_384,
            fetch_wait_max_ms=100,
        )
        self._consumer = Consumer({**options, "error_cb": log_client_error}, logger=logger)
        self._consumer.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lost)

    @property
    def epoch(self) -> int:
        """Rises whenever batches fetched so far must no longer be processed."""
        return self._epoch

    @property
    def next_offsets(self) -> dict[int, int]:
        """Where each assigned partition continues: after what was fetched last. Of the polling thread."""
        return dict(self._next)

    def poll(self, max_messages: int, timeout_s: float) -> Batch | None:
        """Consume about `max_messages`, waiting up to `timeout_s` for them; None if there are none.

        Raises:
            ConnectorError: if Kafka or the source of the positions refuses for good.
        """
        if self._lookup_due is not None and time.monotonic() >= self._lookup_due:
            self._position()
        if time.monotonic() >= self._commit_due:
            self._commit()
        try:
            fetched = self._consumer.consume(max_messages, self._await_own_writes(timeout_s))
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), f"consuming {self.topic}") from exc
        if self._failure is not None:
            raise self._failure
        starts: dict[int, int] = {}
        messages = self._continued(fetched, starts)
        runs = self._follow_own_writes(max_messages - len(messages), starts)
        # A rewind asked for since the fetch makes the batch stale: it carries the epoch of its positions.
        return Batch(self._positioned_epoch, messages, starts, runs) if messages or runs else None

    def _await_own_writes(self, timeout_s: float) -> float:
        """Wait for what we write ourselves, where some partition follows it; returns how long to wait for others."""
        following = self._following.partitions
        if self._own_writes is None or self._paused or not following:
            return timeout_s
        self._own_writes.wait(min(timeout_s, MIXED_POLL_S) if following < self._next.keys() else timeout_s)
        return 0.0

    def _follow_own_writes(self, most: int, starts: dict[int, int]) -> list[Run[Any]]:
        """Consume what we have written ourselves and need not fetch, and fetch where we must."""
        # While paused they wait as well; those that find no room are fetched later.
        if self._own_writes is None or self._paused:
            return []
        runs = self._own_writes.take(most)
        step = self._following.step(runs, self._next, time.monotonic(), all_taken=not len(self._own_writes))
        for run in step.consumed:
            starts.setdefault(run.partition, run.first)
            self._next[run.partition] = run.end
        try:
            if step.pause:
                self._consumer.pause(self._partitions(step.pause))
            for partition in step.fetch:
                self._consumer.seek(TopicPartition(self.topic, partition, self._next[partition]))
            if step.fetch:
                self._consumer.resume(self._partitions(step.fetch))
        except KafkaException as exc:
            # The client has no such partition yet, or none any more. Assigned again they are fetched.
            self.rewind(f"{self.topic} could not be turned to: {kafka_error_of(exc).str()}")
        return step.consumed

    def _partitions(self, numbers: Collection[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, number) for number in numbers]

    def _continued(self, fetched: list[Message], starts: dict[int, int]) -> list[Message]:
        """What was fetched and comes next in its partition; notes in `starts` where that was."""
        messages: list[Message] = []
        for message in fetched:
            error = message.error()
            if error is not None:
                self._on_message_error(error)
                continue
            partition, offset = partition_of(message), offset_of(message)
            continues_at = self._next.get(partition)
            if continues_at is None or offset < continues_at:
                continue  # of no partition of ours, or below its position; the client drops what an assign made stale
            starts.setdefault(partition, continues_at)
            self._next[partition] = offset + 1
            messages.append(message)
        return messages

    def _on_message_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            # Retention passed our position between the lookup and the fetch: look again.
            self.rewind(f"{self.topic} no longer holds the offset: {error.str()}")
        elif is_passing(error):
            logger.warning("consuming %s: %s", self.topic, error.str())
        else:
            raise to_connector_error(error, f"consuming {self.topic}")

    def rewind(self, reason: str) -> None:
        """Make every batch fetched so far stale, and go back to the looked-up positions at the next poll."""
        with self._lock:
            self._epoch += 1
            self._lookup_due = time.monotonic()
        logger.info("rewinding %s: %s", self.topic, reason)

    def is_current(self, batch: Batch) -> bool:
        """Whether the batch was fetched in the present epoch."""
        return batch.epoch == self._epoch

    def done(self, batch: Batch) -> None:
        """Note that a batch's output is confirmed, so that its end is committed for lag monitoring."""
        ends = batch.ends()
        with self._lock:
            if batch.epoch == self._positioned_epoch:
                self._done.update(ends)

    @property
    def paused(self) -> bool:
        """Whether nothing is fetched since a `pause` that has not ended."""
        return self._paused

    def pause(self) -> None:
        """Stop fetching while going on as a member of the group; `resume`, a rewind or an assignment ends it."""
        self._paused = True
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """Fetch again after `pause`; harmless where nothing is paused."""
        self._paused = False
        following = self._following.partitions
        self._consumer.resume([found for found in self._consumer.assignment() if found.partition not in following])

    def close(self) -> None:
        """Leave the group. Revokes first, with all that step 4 does.

        While the broker is away this may take a minute: the client waits for the answer to its last commit.
        """
        self._consumer.close()

    # The group's callbacks. An exception inside one would be lost in the client, so it is kept for `poll`.

    def _assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = frozenset(partition.partition for partition in partitions)
        self._lookup_failures = 0
        try:
            self._position()
            self._on_assign(self._assigned)
        except Exception as exc:  # noqa: BLE001 - raised by poll
            self._failure = exc

    def _revoke(self, _: Consumer, __: list[TopicPartition]) -> None:
        with self._lock:
            self._epoch += 1
        try:
            self._on_revoke()
        except Exception as exc:  # noqa: BLE001 - raised by poll
            self._failure = exc
        self._commit()
        self._drop_assignment()
        self._consumer.unassign()

    def _lost(self, _: Consumer, __: list[TopicPartition]) -> None:
        self._drop_assignment()
        self._consumer.unassign()

    def _drop_assignment(self) -> None:
        with self._lock:
            self._epoch += 1
            self._positioned_epoch = self._epoch
            self._done.clear()
            self._lookup_due = None
        self._assigned = frozenset()
        self._next = {}
        self._fetch_all()
        try:
            self._on_assign(self._assigned)
        except Exception as exc:  # noqa: BLE001 - raised by poll
            self._failure = exc

    def _position(self) -> None:
        with self._lock:
            self._epoch += 1
            self._positioned_epoch = self._epoch
            self._lookup_due = None
            self._done.clear()
        self._next = {}
        self._fetch_all()
        if not self._assigned:
            return
        try:
            starts = self._positions(sorted(self._assigned))
        except UnavailableError as exc:
            wait = LOOKUP_BACKOFF_S[min(self._lookup_failures, len(LOOKUP_BACKOFF_S) - 1)]
            self._lookup_failures += 1
            self._lookup_due = time.monotonic() + wait
            logger.warning("cannot look up the positions of %s, trying again in %.1f s: %s", self.topic, wait, exc)
            self._consumer.assign([])
            return
        self._lookup_failures = 0
        self._next = dict(starts)
        logger.info("consuming %s from %s", self.topic, dict(sorted(starts.items())))
        partitions = [TopicPartition(self.topic, number, at) for number, at in starts.items()]
        self._consumer.assign(partitions)
        # Assigning a partition again keeps its pause, and whoever paused it did so in an earlier epoch.
        self._consumer.resume(partitions)

    def _fetch_all(self) -> None:
        """Nothing is paused in a new epoch, and what we have written before it is fetched."""
        self._paused = False
        self._following.clear()
        if self._own_writes is not None:
            self._own_writes.clear()

    def _commit(self) -> None:
        # Never waits: positions come from the output, so a commit that is lost only shows as lag until the next one.
        self._commit_due = time.monotonic() + COMMIT_INTERVAL_S
        with self._lock:
            done, self._done = self._done, {}
        if not done:
            return
        offsets = [TopicPartition(self.topic, partition, offset) for partition, offset in done.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            logger.info("lag commit for %s failed: %s", self.topic, kafka_error_of(exc).str())
