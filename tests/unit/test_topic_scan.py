"""The bounds of a scan if Kafka does not know them at first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.errors import PositionError, RejectedError, UnavailableError
from connectors.kafka import scan as module
from connectors.kafka.config import KafkaConfig
from connectors.kafka.scan import TopicScan


class FakeConsumer:
    """A client of one partition. Each request for its bounds raises the next of the errors."""

    errors: ClassVar[list[int]] = []

    def __init__(self, options: object) -> None:
        pass

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def get_watermark_offsets(self, partition: object, *, timeout: float, cached: bool) -> tuple[int, int]:
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))
        return 3, 8

    def close(self) -> None:
        pass


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setattr(module, "Consumer", FakeConsumer)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(FakeConsumer, "errors", [])
    return FakeConsumer.errors


def test_a_partition_without_a_leader_is_asked_again(errors: list[int]) -> None:
    errors += [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]
    assert TopicScan(KafkaConfig("127.0.0.1:1"), "posts.raw", group="g").bounds == {0: (3, 8)}


def test_a_partition_that_never_has_a_leader_is_unavailable(errors: list[int]) -> None:
    errors += [KafkaError.NOT_LEADER_FOR_PARTITION] * 1_000_000
    with pytest.raises(UnavailableError):
        TopicScan(KafkaConfig("127.0.0.1:1", timeout_s=0.01), "posts.raw", group="g")


def test_a_refusal_is_not_retried(errors: list[int]) -> None:
    errors += [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.NOT_LEADER_FOR_PARTITION]
    with pytest.raises(RejectedError):
        TopicScan(KafkaConfig("127.0.0.1:1"), "posts.raw", group="g")
    assert len(errors) == 1


@pytest.mark.parametrize(("start", "offsets"), [(0, 5), (3, 5), (6, 2), (8, 0)])
def test_a_pass_may_begin_where_the_last_one_ended(errors: list[int], start: int, offsets: int) -> None:
    scan = TopicScan(KafkaConfig("127.0.0.1:1"), "posts.raw", group="g", starts={0: start})
    assert scan.bounds == {0: (3, 8)}
    assert scan.total() == offsets


def test_a_topic_that_was_made_again_is_an_error(errors: list[int]) -> None:
    with pytest.raises(PositionError, match=r"posts\.raw\[0\] ends at offset 8, but was read up to 9"):
        TopicScan(KafkaConfig("127.0.0.1:1"), "posts.raw", group="g", starts={0: 9})
