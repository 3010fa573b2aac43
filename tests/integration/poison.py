"""Batches of a producer that no consumer can read, and a tally of what is in a partition."""

from __future__ import annotations

from confluent_kafka import Producer

from streams.settings import Settings
from tests.integration.support import configure

MEGABYTE = 1_000_000


def write_batch(settings: Settings, topic: str, codec: str, values: list[bytes], partition: int = 0) -> list[str]:
    """Write values as one batch, whatever its size. Returns the error of each value that Kafka refuses."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "compression.type": codec,
            "message.max.bytes": 1_000_000_000,
            "batch.size": 2_000_000_000,
            "batch.num.messages": len(values),
            "queue.buffering.max.kbytes": 2_000_000,
            "linger.ms": 250_000,  # the flush ends it
        }
    )
    errors: list[str] = []
    for value in values:
        producer.produce(
            topic,
            value,
            partition=partition,
            on_delivery=lambda error, _: errors.append(error.name()) if error else None,
        )
    assert producer.flush(120) == 0
    return errors


def write_bomb(settings: Settings, topic: str, partition: int = 0, records: int = 128) -> None:
    """Write a batch of `records` megabytes that is some kilobytes in zstd, to a topic that does not recompress it.

    Afterwards the topic has its limits again.
    """
    compression = "snappy" if topic == settings.topic_raw else "producer"
    configure(settings, topic, "compression.type", "producer")
    assert write_batch(settings, topic, "zstd", [b" " * MEGABYTE] * records, partition) == []
    configure(settings, topic, "compression.type", compression)
