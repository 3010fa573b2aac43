"""The windows topic has one writer per shard."""

from __future__ import annotations

import os

import pytest

from connectors.errors import RejectedError
from connectors.kafka.producer import Outgoing
from connectors.kafka.scan import TopicScan
from connectors.kafka.transactional import FencedError, TransactionalProducer
from streams.connections import kafka_config, scan_group
from streams.settings import Settings


def values(settings: Settings) -> list[bytes]:
    scan = TopicScan(kafka_config(settings), settings.topic_windows, group=scan_group(settings))
    try:
        return [message.value() or b"" for message in scan.messages()]
    finally:
        scan.close()


def test_a_newer_producer_fences_the_older(settings: Settings) -> None:
    name = f"{settings.group_prefix}-windows-0"
    old = TransactionalProducer(kafka_config(settings), name)
    old.publish([Outgoing(settings.topic_windows, b"1", b"k"), Outgoing(settings.topic_windows, b"2", b"k")])
    new = TransactionalProducer(kafka_config(settings), name)
    new.publish([Outgoing(settings.topic_windows, b"3", b"k")])

    with pytest.raises(FencedError, match="was taken over by another producer"):
        old.publish([Outgoing(settings.topic_windows, b"zombie", b"k")])

    new.publish([Outgoing(settings.topic_windows, b"4", b"k")])
    old.close()
    new.close()
    assert values(settings) == [b"1", b"2", b"3", b"4"]


def test_a_transaction_that_fails_publishes_nothing(settings: Settings) -> None:
    producer = TransactionalProducer(kafka_config(settings), f"{settings.group_prefix}-windows-1")
    too_large = os.urandom(3 * 1024 * 1024)  # within the client's limit, above that of the raw topic
    with pytest.raises(RejectedError, match="MSG_SIZE_TOO_LARGE"):
        producer.publish([Outgoing(settings.topic_windows, b"a", b"k"), Outgoing(settings.topic_raw, too_large, b"k")])
    producer.close()
    successor = TransactionalProducer(kafka_config(settings), f"{settings.group_prefix}-windows-1")
    successor.publish([Outgoing(settings.topic_windows, b"b", b"k")])
    successor.close()
    assert values(settings) == [b"b"]
