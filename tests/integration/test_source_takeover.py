"""What a process that takes an instance over finds in Kafka, when transactions were not committed."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config
from streams.ingest.sources.positions import PositionStore
from streams.ingest.sources.sent import read_sent
from streams.records import GapRecord, SourcePosition
from streams.settings import Settings

SAVED_AT = "2026-03-01T12:00:00Z"


def position(settings: Settings, cursor: str, gaps: int = 0) -> SourcePosition:
    place = {"cursor": cursor, "raw_topic": settings.topic_raw, "offsets": {}, "reread": {}, "gaps": gaps}
    return SourcePosition.from_fields({"instance": "mine", "source": "rss", "saved_at": SAVED_AT, **place})


def gap(number: int) -> GapRecord:
    return GapRecord.from_fields(
        {"instance": "mine", "source": "rss", "number": number, "reason": "lost", "found_at": SAVED_AT}
    )


def opened(settings: Settings) -> PositionStore:
    """Returns the store of a process that takes the instance over."""
    return PositionStore(
        kafka_config(settings),
        topic=settings.topic_sources,
        gaps_topic=settings.topic_gaps,
        instance="mine",
        transactional_id=f"{settings.group_prefix}-mine",
        group="test",
    )


def begun(settings: Settings, name: str, *records: Outgoing) -> Producer:
    """Returns a producer whose transaction is open, when the broker has these records."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    for record in records:
        producer.produce(record.topic, record.value, record.key)
    assert producer.flush(30) == 0
    return producer


@pytest.fixture
def open_by_another(settings: Settings) -> Iterator[Producer]:
    """A transaction of others, in the sources topic and in the raw topic."""
    producer = begun(
        settings,
        f"{settings.group_prefix}-other",
        Outgoing(settings.topic_sources, b"{}", b"other"),
        *(Outgoing(settings.topic_raw, b"{}", str(number).encode()) for number in range(100)),
    )
    yield producer
    producer.abort_transaction(30)


def test_a_gap_that_was_not_stored_is_found_again(settings: Settings) -> None:
    store = opened(settings)
    store.save(position(settings, "1"), [])
    store.close()
    # A process dies after the broker has its records, and before the transaction is committed.
    begun(
        settings,
        f"{settings.group_prefix}-mine",
        Outgoing(settings.topic_gaps, gap(1).to_json(), b"mine"),
        Outgoing(settings.topic_sources, position(settings, "2", 1).to_json(), b"mine"),
    )
    store = opened(settings)
    found = store.load()
    assert found is not None
    assert (found.cursor, found.gaps) == ("1", 0)
    store.save(position(settings, "2", 1), [gap(1)])
    found = store.load()
    assert found is not None
    assert (found.cursor, found.gaps) == ("2", 1)
    store.close()
    scan = TopicScan(kafka_config(settings), settings.topic_gaps, group="test")
    assert [GapRecord.from_json(message.value() or b"").number for message in scan.messages()] == [1]
    scan.close()


def test_a_position_is_found_while_the_transaction_of_another_instance_is_open(
    settings: Settings, open_by_another: Producer
) -> None:
    store = opened(settings)
    store.save(position(settings, "1"), [])
    found = store.load()
    assert found is not None
    assert found.cursor == "1"
    store.close()


def test_posts_are_known_while_the_transaction_of_another_producer_is_open(
    settings: Settings, producer: ConfirmedProducer, open_by_another: Producer
) -> None:
    ids = [f"rss:{number}".encode() for number in range(20)]
    producer.submit([Outgoing(settings.topic_raw, b"{}", id_) for id_ in ids]).result(30)
    sent = read_sent(kafka_config(settings), settings.topic_raw, "rss", {}, group="test")
    assert all(sent.add(id_) for id_ in ids)
