"""Stands for confluent-kafka's consumer where the group's callbacks and the client's answers are the test's."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition


class FakeClient:
    """What `PositionedConsumer` uses of it.

    Attributes:
        queue: what `consume` is to do, call by call: messages to return, an error to raise, or something to call.
        waits: how long each `consume` was to wait, in seconds.
        assigned: by partition, where it is fetched from.
        paused: partitions that are not fetched.
        commits: the offsets of each commit, by partition.
        calls: what was done to the assignment or the client, in order.
        commit_error: raised by `commit`.
        seek_error: raised by `seek`.
    """

    def __init__(self, options: dict[str, Any], **_: Any) -> None:
        self.options = options
        self.queue: list[Any] = []
        self.waits: list[float] = []
        self.assigned: dict[int, int] = {}
        self.paused: set[int] = set()
        self.commits: list[dict[int, int]] = []
        self.calls: list[str] = []
        self.commit_error: KafkaException | None = None
        self.seek_error: KafkaException | None = None

    def subscribe(self, topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.topics, self.on_assign, self.on_revoke, self.on_lost = topics, on_assign, on_revoke, on_lost

    def consume(self, count: int, timeout: float) -> list[Message]:
        self.waits.append(timeout)
        if not self.queue:
            return []
        turn = self.queue.pop(0)
        if isinstance(turn, KafkaException):
            raise turn
        if callable(turn):
            turn()
            return []
        return list(turn)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = {partition.partition: partition.offset for partition in partitions}

    def unassign(self) -> None:
        self.assigned = {}
        self.calls.append("unassign")

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("t", partition) for partition in self.assigned]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {partition.partition for partition in partitions}
        self.calls.append("pause")

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {partition.partition for partition in partitions}
        self.calls.append("resume")

    def seek(self, partition: TopicPartition) -> None:
        if self.seek_error is not None:
            raise self.seek_error
        self.assigned[partition.partition] = partition.offset

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.commit_error is not None:
            raise self.commit_error
        self.commits.append({partition.partition: partition.offset for partition in offsets})

    def close(self) -> None:
        self.calls.append("close")
