"""The harness's own use of Kafka: topics, posts in, counts and results out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,
)

from benchmarks.harness.checks import Result
from benchmarks.harness.pacing import Schedule
from benchmarks.harness.posts import Raw
from benchmarks.harness.waiting import Stall

TIMEOUT_S = 30.0
_TICK_S = 0.001


class BrokerError(Exception):
    """Kafka did not do what the harness needs."""


class Broker:
    """One connection for counting and reading. Close it at the end."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._admin = self._new_admin()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-harness",
                "enable.auto.commit": False,
                # Topics come and go, and it says so for each partition.
                "log_level": 2,
            }
        )

    def count(self, topic: str) -> int:
        """Records that were ever appended."""
        return sum(self._ends(topic))

    def read(self, topic: str) -> list[Result]:
        """Every result of a topic, with the broker's time of it."""
        ends = self._ends(topic)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(self._partitions)])
        results: list[Result] = []
        missing = sum(ends)
        stall = Stall(TIMEOUT_S)
        while missing:
            if stall.reached(len(results)):
                raise BrokerError(f"{missing} records of {topic} could not be read: none came for {TIMEOUT_S:.0f} s")
            for message in self._consumer.consume(min(missing, 10_000), 0.5):
                if message.error():
                    raise KafkaException(message.error())
                missing -= 1
                value, key = json.loads(message.value() or b"{}"), message.key() or b""
                results.append(Result(message.timestamp()[1] / 1_000, key.decode(), str(value.get("label"))))
        self._consumer.unassign()
        return results

    def send(self, topic: str, posts: Iterable[Raw]) -> None:
        """Preload posts, partition by partition in turn, and wait until they are in the log.

        Not compressed: not every client can read lz4 as it is installed.
        """
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 50})
        for number, post in enumerate(posts):
            while True:
                try:
                    producer.produce(topic, post.value, post.id, partition=number % self._partitions)
                    break
                except BufferError:
                    producer.poll(0.1)
        if producer.flush(TIMEOUT_S):
            raise BrokerError("Kafka did not take the posts")

    def send_paced(self, topic: str, posts: Sequence[Raw], schedule: Schedule, on_tick: Callable[[], None]) -> float:
        """Send each post when it is due; returns by how many seconds the latest was late."""
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 0})
        sent, late = 0, 0.0
        while sent < schedule.posts:
            now = time.time()
            due = schedule.due(now)
            if due > sent:
                late = max(late, now - schedule.at(sent))
            for number in range(sent, due):
                producer.produce(topic, posts[number].value, posts[number].id, partition=number % self._partitions)
            sent = due
            producer.poll(0)
            on_tick()
            if sent < schedule.posts:
                time.sleep(max(_TICK_S, schedule.at(sent) - time.time()))
        if producer.flush(TIMEOUT_S):
            raise BrokerError("Kafka did not take the posts")
        return late

    def delete(self, topics: Sequence[str]) -> None:
        """Delete topics, so that a long run does not fill the disk; those that do not exist are passed over."""
        existing = self._admin.list_topics(timeout=TIMEOUT_S).topics
        doomed = [topic for topic in topics if topic in existing]
        if doomed:
            for future in self._admin.delete_topics(doomed).values():
                future.result(TIMEOUT_S)

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _new_admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 2})

    def _ends(self, topic: str) -> list[int]:
        # One request for all partitions: the broker's processor time is measured too.
        latest = OffsetSpec.latest()
        wanted = {TopicPartition(topic, number): latest for number in range(self._partitions)}
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                futures = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
                return [futures[partition].result().offset for partition in wanted]
            except KafkaException:
                # A topic that was just made has no leader yet, and a client that has seen another deleted may hold on
                # to that for ever.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                self._admin = self._new_admin()
