"""A fake of confluent-kafka's consumer, whose answers and rebalances the test controls."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition


class FakeClient:
    """The methods of the consumer that `PositionedConsumer` uses.

    Attributes:
        queue: What each call of `consume` does: messages to return, an error to raise, or a function to call.
        waits: The timeout of each call of `consume` in seconds.
        assigned: The next offset of each assigned partition.
        paused: Paused partitions.
        commits: The offsets of each commit, by partition.
        calls: Names of the calls of `pause`, `resume`, `unassign` and `close`, in order.
        commit_error: The error that `commit` raises; None for no error.
        seek_error: The error that `seek` raises; None for no error.
    """

    def __init__(self, options: dict[str, Any], **_: Any) -> None:
        self.options = options
        self.queue: list[Any] = []
        self.waits: list[float] = []
        self.wanted: list[int] = []
        self.assigned: dict[int, int] = {}
        self.paused: set[int] = set()
        self.commits: list[dict[int, int]] = []
        self.calls: list[str] = []
        self.commit_error: KafkaException | None = None
        self.seek_error: KafkaException | None = None

    def subscribe(self, topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.topics, self.on_assign, self.on_revoke, self.on_lost = topics, on_assign, on_revoke, on_lost

    def consume(self, count: int, timeout: float) -> list[Message]:
        self.waits.append(round(timeout, 6))
        self.wanted.append(count)
        if not self.queue:
            return []
        answer = self.queue.pop(0)
        if isinstance(answer, KafkaException):
            raise answer
        if callable(answer):
            answer()
            return []
        return list(answer)

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

    def get_watermark_offsets(self, partition: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        return 0, 1_000

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.commit_error is not None:
            raise self.commit_error
        self.commits.append({partition.partition: partition.offset for partition in offsets})

    def close(self) -> None:
        self.calls.append("close")
