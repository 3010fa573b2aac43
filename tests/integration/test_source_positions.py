"""The stored position of a source, after a process has ended in the middle of a transaction. With real Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from connectors.errors import UnavailableError
from streams.connections import kafka_config, scan_group
from streams.ingest.sources.positions import PositionStore
from streams.records import GapRecord, SourcePosition, Timestamp
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S, records

Open = Callable[[], PositionStore]


@pytest.fixture
def take_over(settings: Settings) -> Iterator[Open]:
    """Takes the position of the instance `x` over, as a process does that begins."""
    with ExitStack() as stores:

        def opened() -> PositionStore:
            store = PositionStore(
                kafka_config(settings),
                topic=settings.topic_sources,
                gaps_topic=settings.topic_gaps,
                instance="x",
                transactional_id=f"{settings.group_prefix}-x",
                group=scan_group(settings),
            )
            return stores.enter_context(closing(store))

        yield opened


def position(cursor: str, *, gaps: int, instance: str = "x") -> SourcePosition:
    now = Timestamp.now(UTC)
    return SourcePosition(
        instance=instance, source="x", cursor=cursor, raw_topic="raw", offsets={}, reread={}, gaps=gaps, saved_at=now
    )


def gap(number: int) -> GapRecord:
    now = Timestamp.of(datetime.now(UTC))
    return GapRecord(instance="x", source="x", number=number, reason="nothing came", found_at=now)


def cut_off(
    settings: Settings, behind: SourcePosition, gaps: Sequence[GapRecord] = (), transactional_id: str = "x"
) -> Producer:
    """Store a position like a process that is killed before it commits. The transaction stays open."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "transactional.id": f"{settings.group_prefix}-{transactional_id}",
        }
    )
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for found in gaps:
        producer.produce(settings.topic_gaps, found.to_json(), b"x")
    producer.produce(settings.topic_sources, behind.to_json(), behind.instance.encode())
    assert producer.flush(TIMEOUT_S) == 0
    return producer


def cursor(store: PositionStore) -> str | None:
    found = store.load()
    return None if found is None else found.cursor


def stored_gaps(settings: Settings) -> list[int]:
    return [GapRecord.from_json(value).number for _, _, value in records(settings, settings.topic_gaps)]


def test_a_position_counts_only_if_the_gap_before_it_was_stored(settings: Settings, take_over: Open) -> None:
    assert cursor(take_over()) is None
    cut_off(settings, position("1", gaps=0))
    store = take_over()
    assert cursor(store) == "1"
    for life in range(2):
        cut_off(settings, position(f"2.{life}", gaps=1), [gap(1)])
        store = take_over()
        assert cursor(store) == "1"
    store.save(position("3", gaps=1), [gap(1)])
    assert cursor(take_over()) == "3"
    cut_off(settings, position("4", gaps=1))
    assert cursor(take_over()) == "4"
    assert stored_gaps(settings) == [1]


def test_another_open_transaction_delays_a_start_behind_a_new_gap(settings: Settings, take_over: Open) -> None:
    store = take_over()
    store.save(position("1", gaps=0))
    other = cut_off(settings, position("7", gaps=0, instance="other"), transactional_id="other")
    store.save(position("2", gaps=0))
    assert cursor(take_over()) == "2"
    store = take_over()
    store.save(position("3", gaps=1), [gap(1)])
    store = take_over()
    with pytest.raises(UnavailableError, match="open"):
        store.load()
    other.abort_transaction(TIMEOUT_S)
    assert cursor(store) == "3"
    assert stored_gaps(settings) == [1]
