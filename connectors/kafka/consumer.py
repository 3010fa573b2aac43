"""A member of a consumer group that starts at the positions that its own output proves, not at the committed offsets.

The life of an assignment (eager protocol) has five steps. All of them happen in the thread that calls `poll`; only a
rewind may be requested in any thread.

1. *assign*: the epoch rises, the positions are looked up, and fetching begins there. If the source of the positions
   does not answer, nothing is fetched and the lookup is tried again. The member keeps its place in the group, because
   polling continues.
2. *poll*: a batch carries the epoch in which it was fetched, and the offset at which each partition continues. A batch
   of an older epoch is *stale*: its owner must skip it.
3. *rewind*: the epoch rises at once, so that the batches fetched before are stale. The next poll repeats step 1.
4. *revoke*: the epoch rises, `on_revoke` waits for the batch in flight, and the finished batches are committed for lag
   monitoring.
5. *lost*: another member may own the partitions already, so only the epoch rises.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from connectors.kafka.batch import Batch, OwnRange, UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import MAX_POLL_INTERVAL_MS, KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, log_client_error, to_connector_error
from connectors.kafka.lag import LagCommits
from connectors.kafka.local_reader import LocalReader
from connectors.kafka.memory import BATCH_MEMORY, memory_of
from connectors.kafka.own_records import OwnRecords
from connectors.kafka.unreadable import is_unreadable, skip_batch
from connectors.repeats import Repeats

logger = logging.getLogger(__name__)

LOOKUP_BACKOFF_S = (0.5, 1.0, 2.0, 5.0)
"""Seconds to wait before each retry of a failed position lookup; the last one repeats. The first waits are shorter than
the session timeout, and a Redis that restarts is back within the first few retries."""

MAX_FETCHED = 64
"""The most messages that are taken from the client at once. A message may have a megabyte, and its length is known only
afterwards."""

PositionLookup = Callable[[Sequence[int]], Mapping[int, int]]
"""Returns the position of each of the given partitions. If it raises UnavailableError, it is called again; any other
error ends the polling."""


class PositionedConsumer:
    """A consumer of one topic. `poll` and `close` belong to one thread; the other methods are thread-safe."""

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        topic: str,
        positions: PositionLookup,
        client_id: str | None = None,
        on_assign: Callable[[frozenset[int]], None] | None = None,
        on_revoke: Callable[[], None] | None = None,
        own_records: OwnRecords | None = None,
    ) -> None:
        """Prepare a member of `group`; it joins with the first `poll`.

        Args:
            config: How to reach Kafka.
            group: The consumer group.
            topic: The topic to consume.
            positions: Looks up the positions; called in the polling thread.
            client_id: Shown in the broker's logs and metrics; by default the group. The broker makes the member's id
                from it, and the range assignor sorts the members by their ids. So members of two groups get the same
                partitions of topics with equally many partitions, if they have the same client ids.
            on_assign: Called in the polling thread after every change, with the partitions that are assigned from now
                on; the set is empty after a revocation or a loss.
            on_revoke: Waits for the batch in flight; called while the partitions are still assigned.
            own_records: The own records: those that this process writes to the topic. They are then not fetched.
        """
        self.topic = topic
        self._config = config
        self._positions = positions
        self._on_assign = on_assign or (lambda partitions: None)
        self._on_revoke = on_revoke or (lambda: None)
        self._paused = False
        self._lock = threading.Lock()
        self._epoch = 0
        self._positioned_epoch = 0  # the epoch of the last lookup; every batch fetched since then carries it
        self._assigned: frozenset[int] = frozenset()
        self._next: dict[int, int] = {}
        self._lookup_due: float | None = None
        self._lookup_failures = 0
        self._failure: Exception | None = None
        self._repeats = Repeats()
        options = config.group_member(
            group,
            client_id,
            auto_offset_reset="error",
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            partition_assignment_strategy="range,roundrobin",
            fetch_wait_max_ms=100,
        )
        self._consumer = Consumer({**options, "error_cb": log_client_error}, logger=logger)
        self._lag = LagCommits(self._consumer, topic)
        self._local = None if own_records is None else LocalReader(self._consumer, topic, own_records)
        self._consumer.subscribe([topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lost)

    @property
    def epoch(self) -> int:
        """A number that rises whenever the batches fetched so far become stale."""
        return self._epoch

    @property
    def next_offsets(self) -> dict[int, int]:
        """For each assigned partition, the offset after the last consumed record. For the polling thread only."""
        return dict(self._next)

    def poll(self, max_messages: int, timeout_s: float) -> Batch | None:
        """Consume about `max_messages` records or `BATCH_MEMORY`, and wait up to `timeout_s` seconds for them.

        Returns:
            The batch; None if there are no records.

        Raises:
            ConnectorError: Kafka, or the source of the positions, rejected the call for good.
        """
        # Step 1: look up the positions again, after a rewind or a lookup that failed.
        if self._lookup_due is not None and time.monotonic() >= self._lookup_due:
            self._position()
        self._lag.commit_if_due()
        # Step 2: poll.
        starts: dict[int, int] = {}
        if self._local is not None and not self._paused:
            timeout_s = self._local.wait(timeout_s, self._next)
        messages, unreadable = self._fetch(max_messages, timeout_s, starts)
        ranges = self._take_own_records(max_messages - len(messages), starts)
        # The batch carries the epoch of its positions, so a rewind that came since the fetch makes it stale.
        return Batch(self._positioned_epoch, messages, starts, ranges, unreadable) if starts else None

    def _fetch(
        self, max_messages: int, timeout_s: float, starts: dict[int, int]
    ) -> tuple[list[Message], list[UnreadableBatch]]:
        """Returns the messages and unreadable batches that come next, and adds where each partition continues."""
        deadline = Deadline(timeout_s)
        messages: list[Message] = []
        unreadable: list[UnreadableBatch] = []
        memory, epoch = 0, self._positioned_epoch
        while len(messages) < max_messages and memory < BATCH_MEMORY:
            try:
                fetched = self._consumer.consume(min(max_messages - len(messages), MAX_FETCHED), deadline.left_s)
            except KafkaException as exc:
                raise to_connector_error(kafka_error_of(exc), f"consuming {self.topic}") from exc
            if self._failure is not None:
                raise self._failure
            if epoch != self._positioned_epoch:
                # The partitions were assigned anew meanwhile. The messages before are of the old epoch.
                messages, unreadable, memory, epoch = [], [], 0, self._positioned_epoch
                starts.clear()
            if not fetched:
                break
            new, skipped = self._continued(fetched, starts)
            messages += new
            unreadable += skipped
            memory += memory_of(new)
        return messages, unreadable

    def _take_own_records(self, max_records: int, starts: dict[int, int]) -> list[OwnRange[Any]]:
        """Returns the own records that come next, and adds to `starts` where each partition continues."""
        # While fetching is paused, own records wait in the queue too. Those that find no room are fetched later.
        if self._local is None or self._paused:
            return []
        try:
            return self._local.take(max_records, self._next, starts)
        except KafkaException as exc:
            # The rewind assigns and fetches all partitions.
            self.rewind(f"{self.topic} cannot be paused or resumed: {kafka_error_of(exc).str()}")
            return []

    def _continued(self, fetched: list[Message], starts: dict[int, int]) -> tuple[list[Message], list[UnreadableBatch]]:
        """Returns those of the fetched messages that come next, and adds to `starts` where each partition continues."""
        messages: list[Message] = []
        unreadable: list[UnreadableBatch] = []
        for message in fetched:
            error = message.error()
            if error is not None:
                if is_unreadable(message):
                    unreadable += self._skipped(message, starts)
                else:
                    self._on_message_error(error)
                continue
            partition, offset = partition_of(message), offset_of(message)
            continues_at = self._next.get(partition)
            if continues_at is None or offset < continues_at:
                # The partition is not assigned, or the message lies below its position.
                continue
            starts.setdefault(partition, continues_at)
            self._next[partition] = offset + 1
            messages.append(message)
        return messages, unreadable

    def _skipped(self, report: Message, starts: dict[int, int]) -> Sequence[UnreadableBatch]:
        """Skip an unreadable batch, and return it. Returns nothing if it does not come next in its partition."""
        partition = partition_of(report)
        continues_at = self._next.get(partition)
        if continues_at is None:
            return ()
        try:
            batch = skip_batch(self._consumer, self._config, report, continues_at)
        except UnavailableError as exc:
            # A record that was fetched behind the batch must not be processed.
            self.rewind(str(exc))
            batch = None
        if batch is None:
            return ()
        logger.error("%s; they are skipped", batch)
        starts.setdefault(partition, continues_at)
        self._next[partition] = batch.end
        return (batch,)

    def _on_message_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            # Retention deleted the record at the position between the lookup and the fetch.
            self.rewind(f"{self.topic} no longer holds the offset: {error.str()}")
        elif is_transient(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            # A topic that is missing may come back. The caller decides when it counts as deleted.
            logger.warning("consuming %s: %s", self.topic, error.str())
        else:
            raise to_connector_error(error, f"consuming {self.topic}")

    def rewind(self, reason: str) -> None:
        """Make every batch fetched so far stale, and look the positions up again at the next poll. Thread-safe."""
        # Step 3: rewind.
        with self._lock:
            self._epoch += 1
            self._lookup_due = time.monotonic()
        if self._repeats.due(reason):
            logger.warning("rewinding %s: %s", self.topic, reason)

    def is_current(self, batch: Batch) -> bool:
        """Returns whether the batch was fetched in the current epoch."""
        return batch.epoch == self._epoch

    def done(self, batch: Batch) -> None:
        """Record that a batch's output is confirmed, so that its end is committed for lag monitoring."""
        ends = batch.ends()
        with self._lock:
            if batch.epoch == self._positioned_epoch:
                self._lag.add(ends)

    @property
    def is_paused(self) -> bool:
        """Whether fetching is paused."""
        return self._paused

    def pause(self) -> None:
        """Fetch nothing until `resume`, and stay a member of the group. Partitions that are assigned later wait too."""
        self._paused = True
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """Fetch again after `pause`. Does nothing if fetching is not paused."""
        self._paused = False
        local = frozenset() if self._local is None else self._local.partitions
        self._consumer.resume([found for found in self._consumer.assignment() if found.partition not in local])

    def close(self) -> None:
        """Leave the group. Step 4 happens first.

        If no broker answers, this may take a minute: the client waits for the answer to its last commit.
        """
        self._consumer.close()

    def _assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Step 1: assign.
        self._assigned = frozenset(partition.partition for partition in partitions)
        self._lookup_failures = 0
        self._attempt(self._position)
        self._attempt(lambda: self._on_assign(self._assigned))

    def _revoke(self, _: Consumer, __: list[TopicPartition]) -> None:
        # Step 4: revoke.
        with self._lock:
            self._epoch += 1
        self._attempt(self._on_revoke)
        self._lag.commit()
        self._drop_assignment()
        self._consumer.unassign()

    def _lost(self, _: Consumer, __: list[TopicPartition]) -> None:
        # Step 5: lost.
        self._drop_assignment()
        self._consumer.unassign()

    def _drop_assignment(self) -> None:
        """Let the epoch rise, and forget the partitions and everything about them."""
        self._assigned = frozenset()
        self._begin_epoch()
        self._attempt(lambda: self._on_assign(self._assigned))

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do a step of a callback. The client would drop its exception, so `poll` raises it later."""
        try:
            step()
        except Exception as exc:  # noqa: BLE001 - raised by poll
            self._failure = self._failure or exc

    def _position(self) -> None:
        """Let the epoch rise, look the positions up, and fetch from there; on failure, schedule the next lookup."""
        self._begin_epoch()
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
        if self._repeats.due(tuple(starts.items())):
            logger.info("consuming %s from %s", self.topic, dict(sorted(starts.items())))
        partitions = [TopicPartition(self.topic, number, at) for number, at in starts.items()]
        self._consumer.assign(partitions)
        # A partition that is assigned again keeps in the client the state that it had, which may be that of a local
        # read. A new partition would be fetched.
        if self._paused:
            self._consumer.pause(partitions)
        else:
            self._consumer.resume(partitions)

    def _begin_epoch(self) -> None:
        """Let the epoch rise. No partition is read locally any more, and own records of the old epoch are fetched."""
        with self._lock:
            self._epoch += 1
            self._positioned_epoch = self._epoch
            self._lookup_due = None
            self._lag.clear()
        self._next = {}
        if self._local is not None:
            self._local.clear()
