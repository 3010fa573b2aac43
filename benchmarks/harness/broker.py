"""What the harness itself does with Kafka: send posts, count and read results, delete topics."""

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
from benchmarks.harness.posts import RawPost
from benchmarks.harness.waiting import Stall

TIMEOUT_S = 30.0
"""Seconds without progress after which a request to Kafka fails."""

_TICK_S = 0.001
"""The shortest pause between two posts that are sent at a fixed rate."""


class BenchmarkError(Exception):
    """Kafka, Redis or a worker did not do what the benchmark needs."""


class KafkaClient:
    """The harness's connection to Kafka. Close it at the end."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._admin = self._new_admin()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-harness",
                "enable.auto.commit": False,
                # Critical errors only: otherwise it logs a line for each partition of a deleted topic.
                "log_level": 2,
            }
        )

    def count(self, topic: str) -> int:
        """Returns how many records were ever appended to a topic."""
        return sum(self._ends(topic))

    def read(self, topic: str) -> list[Result]:
        """Returns every result of a topic, with the broker's timestamp.

        Raises:
            BenchmarkError: No record came for `TIMEOUT_S`, although some are missing.
        """
        ends = self._ends(topic)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(self._partitions)])
        results: list[Result] = []
        missing = sum(ends)
        stall = Stall(TIMEOUT_S)
        while missing:
            if stall.reached(len(results)):
                raise BenchmarkError(
                    f"Kafka returned no record of {topic} for {TIMEOUT_S:.0f} s; {missing} are missing"
                )
            for message in self._consumer.consume(min(missing, 10_000), 0.5):
                if message.error():
                    raise KafkaException(message.error())
                missing -= 1
                value, key = json.loads(message.value() or b"{}"), message.key() or b""
                results.append(Result(message.timestamp()[1] / 1_000, key.decode(), str(value.get("label"))))
        self._consumer.unassign()
        return results

    def send(self, topic: str, posts: Iterable[RawPost]) -> None:
        """Send posts to all partitions in turn, and wait until Kafka has confirmed them.

        They are not compressed: aiokafka, which Faust uses, reads lz4 only with another package.

        Raises:
            BenchmarkError: Kafka did not confirm the posts in `TIMEOUT_S`.
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
            raise BenchmarkError(f"Kafka did not confirm the posts in {TIMEOUT_S:.0f} s")

    def send_paced(
        self, topic: str, posts: Sequence[RawPost], schedule: Schedule, on_tick: Callable[[], None]
    ) -> float:
        """Send each post when it is due.

        Returns:
            The largest delay of a post, in seconds.

        Raises:
            BenchmarkError: Kafka did not confirm the posts in `TIMEOUT_S`.
        """
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
            raise BenchmarkError(f"Kafka did not confirm the posts in {TIMEOUT_S:.0f} s")
        return late

    def delete(self, topics: Sequence[str]) -> None:
        """Delete those of the topics that exist, so that a long benchmark does not fill the disk."""
        existing = self._admin.list_topics(timeout=TIMEOUT_S).topics
        to_delete = [topic for topic in topics if topic in existing]
        if to_delete:
            for future in self._admin.delete_topics(to_delete).values():
                future.result(TIMEOUT_S)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _new_admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 2})

    def _ends(self, topic: str) -> list[int]:
        # One request for all partitions, because the broker's processor time is measured.
        latest = OffsetSpec.latest()
        wanted = {TopicPartition(topic, number): latest for number in range(self._partitions)}
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                futures = self._admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
                return [futures[partition].result().offset for partition in wanted]
            except KafkaException:
                # A new topic has no leader yet. A client that has seen another topic deleted may keep reporting this
                # error, so a new client replaces it.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                self._admin = self._new_admin()
