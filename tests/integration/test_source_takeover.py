"""A process that takes an instance over knows its posts, whatever transactions others have open."""

from __future__ import annotations

from confluent_kafka import Producer

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.connections import kafka_config
from streams.ingest.sources.sent import read_sent
from streams.settings import Settings


def test_posts_are_known_while_the_transaction_of_another_producer_is_open(
    settings: Settings, producer: ConfirmedProducer
) -> None:
    other = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": f"{settings.group_prefix}-other"}
    )
    other.init_transactions(30)
    other.begin_transaction()
    for number in range(100):
        other.produce(settings.topic_raw, b"{}", str(number).encode())
    assert other.flush(120) == 0
    ids = [f"rss:{number}".encode() for number in range(20)]
    producer.submit([Outgoing(settings.topic_raw, b"{}", id_) for id_ in ids]).result(120)
    sent = read_sent(kafka_config(settings), settings.topic_raw, "rss", {}, group="test")
    assert all(sent.add(id_) for id_ in ids)
    other.abort_transaction(30)
