"""A PositionedConsumer with a fake client, whose callbacks the tests call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition

from connectors.kafka import consumer as module
from connectors.kafka import lag
from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.consumer import PositionedConsumer
from tests.fake_consumer_client import FakeClient
from tests.helpers import message


class Harness:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "Consumer", FakeClient)
        monkeypatch.setattr(module, "LOOKUP_BACKOFF_S", (0.0,))
        monkeypatch.setattr(lag, "COMMIT_INTERVAL_S", 0.0)
        self.starts: dict[int, int] = {0: 10, 1: 20}
        self.lookups: list[list[int]] = []
        self.fails: list[Exception] = []
        self.owned: list[set[int]] = []
        self.revocations = 0
        self.consumer = PositionedConsumer(
            KafkaConfig("127.0.0.1:1"),
            group="g",
            topic="t",
            positions=self.positions,
            on_assign=lambda partitions: self.owned.append(set(partitions)),
            on_revoke=self.revoked,
        )
        self.client: Any = self.consumer._consumer

    def positions(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self.lookups.append(list(partitions))
        if self.fails:
            raise self.fails.pop(0)
        return {partition: self.starts[partition] for partition in partitions}

    def revoked(self) -> None:
        self.revocations += 1

    def assign(self, *partitions: int) -> None:
        self.client.on_assign(self.client, [TopicPartition("t", partition) for partition in partitions])

    def revoke(self) -> None:
        self.client.on_revoke(self.client, self.client.assignment())

    def poll(self, *offsets: tuple[int, int]) -> Batch | None:
        """Poll once, and fetch messages at these (partition, offset)."""
        return self.poll_messages(*(message(b"x", partition=p, offset=o) for p, o in offsets))

    def poll_messages(self, *messages: Message) -> Batch | None:
        self.client.queue.append(messages)
        return self.consumer.poll(100, 0)


@pytest.fixture(name="harness")
def harness_fixture(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)
