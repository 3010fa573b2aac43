"""Stages resume where their output ends. They refuse an output that contradicts its input, and report gaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from connectors.errors import PositionError
from connectors.kafka.consumer import PositionedConsumer
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.connections import kafka_config
from streams.metrics import Metrics
from streams.pipeline.positions import AggregatePositions, ClassifyPositions
from streams.settings import Settings
from streams.windows.deltas import Position
from streams.windows.store import WindowStore
from streams.windows.update import PositionChange, ShardUpdate
from tests import helpers
from tests.integration.support import post, produce, wait_for


@pytest.fixture
def reader(settings: Settings) -> Iterator[OffsetReader]:
    opened = OffsetReader(kafka_config(settings), group=f"{settings.group_prefix}-classify")
    yield opened
    opened.close()


def write(settings: Settings, *records: Outgoing) -> None:
    producer = ConfirmedProducer(kafka_config(settings), client_id="test")
    producer.submit(records).result(120)
    assert producer.close() == 0


def classified(settings: Settings, partition: int, offset: int, topic: str | None = None) -> Outgoing:
    """Returns a record that has only the origin of a classified post."""
    value = f'{{"origin": {{"topic": "{topic or settings.topic_raw}", "partition": {partition}, "offset": {offset}}}}}'
    return Outgoing(settings.topic_classified, value.encode(), partition=partition)


def classified_post(settings: Settings, offset: int, key: bytes) -> Outgoing:
    """Returns a classified post of partition 0."""
    post = helpers.classified(offset)
    post = replace(post, origin=replace(post.origin, topic=settings.topic_raw))
    return Outgoing(settings.topic_classified, post.to_json(), key, 0)


def delete_before(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """Delete records, as retention does."""
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    found = client.delete_records([TopicPartition(topic, partition, offset)])
    for future in found.values():
        future.result(120)


def lookup(settings: Settings, reader: OffsetReader, metrics: Metrics | None = None) -> ClassifyPositions:
    return ClassifyPositions(reader, settings, metrics or Metrics())


def gaps(metrics: Metrics, topic: str) -> float | None:
    return metrics.registry.get_sample_value("emostream_gap_offsets_total", {"topic": topic})


def test_classify_resumes_after_the_last_origin_of_each_partition(settings: Settings, reader: OffsetReader) -> None:
    for partition in range(2):
        produce(settings, [post("hello")] * 10, partition=partition)
    write(settings, classified(settings, 0, 3), classified(settings, 0, 6))

    assert lookup(settings, reader)([0, 1]) == {0: 7, 1: 0}


def test_with_an_empty_output_the_committed_offset_is_the_hint(settings: Settings, reader: OffsetReader) -> None:
    produce(settings, [post("hello")] * 10, partition=0)
    member = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": f"{settings.group_prefix}-classify"})
    member.commit(offsets=[TopicPartition(settings.topic_raw, 0, 4)], asynchronous=False)
    member.close()

    assert lookup(settings, reader)([0]) == {0: 4}
    write(settings, classified(settings, 0, 1))
    assert lookup(settings, reader)([0]) == {0: 2}, "the output is the position, not the commit"


def test_an_output_ahead_of_its_input_is_refused(settings: Settings, reader: OffsetReader) -> None:
    """This happens after posts.raw was deleted and created again."""
    produce(settings, [post("hello")] * 3, partition=0)
    write(settings, classified(settings, 0, 40))

    with pytest.raises(PositionError, match=r"ends at offset 3, but its output was made from offsets up to 41"):
        lookup(settings, reader)([0])


@pytest.mark.parametrize("value", [b"not ours", b'{"origin": {"topic": "other", "partition": 0, "offset": 1}}'])
def test_an_output_of_foreign_records_only_is_refused(settings: Settings, reader: OffsetReader, value: bytes) -> None:
    write(settings, Outgoing(settings.topic_classified, value, partition=0))
    with pytest.raises(PositionError, match=r"\[0\]@0 is not a classified post of .*\[0\]"):
        lookup(settings, reader)([0])


def test_a_gap_that_retention_left_is_counted_and_skipped(
    settings: Settings, reader: OffsetReader, caplog: pytest.LogCaptureFixture
) -> None:
    produce(settings, [post("hello")] * 10, partition=0)
    write(settings, classified(settings, 0, 1))
    delete_before(settings, settings.topic_raw, 0, 6)
    metrics = Metrics()
    positions = lookup(settings, reader, metrics)

    assert positions([0]) == {0: 6}
    assert positions([0]) == {0: 6}, "as at a rebalance before the stage has written anything"

    assert gaps(metrics, settings.topic_raw) == 4
    assert "offsets 2 to 5 left Kafka's retention" in caplog.text


async def test_aggregate_resumes_at_the_lowest_shard(
    settings: Settings, reader: OffsetReader, store: WindowStore
) -> None:
    write(settings, *(classified(settings, 0, offset) for offset in range(10)))
    metrics = Metrics()
    positions = AggregatePositions(reader, settings, store, asyncio.get_running_loop(), metrics)
    assert await asyncio.to_thread(positions, [0]) == {0: 0}, (
        "without positions it starts with the first offset that Kafka holds"
    )

    for shard in range(store.shards):
        to = Position(7 if shard == 2 else 9, 6, 0)
        assert await store.apply(shard, ShardUpdate({0: PositionChange(Position(), to)})) is None
    assert await asyncio.to_thread(positions, [0]) == {0: 7}

    delete_before(settings, settings.topic_classified, 0, 8)
    assert await asyncio.to_thread(positions, [0]) == {0: 8}
    assert positions.gaps == {0: 8}
    assert gaps(metrics, settings.topic_classified) == 1


def test_records_are_found_by_time_and_read_up_to_an_offset(settings: Settings, reader: OffsetReader) -> None:
    topic = settings.topic_classified
    write(settings, *(classified(settings, 0, offset) for offset in range(5)))
    time.sleep(0.05)
    assert reader.first_message(topic, 1) is None
    assert reader.offset_at(topic, 1, 0) is None
    assert list(reader.between(topic, 1, 0, 5)) == []
    write(settings, *(classified(settings, 0, offset) for offset in range(5, 9)))
    delete_before(settings, topic, 0, 2)

    def offsets(start: int, end: int) -> list[int | None]:
        return [message.offset() for message in reader.between(topic, 0, start, end)]

    assert (offsets(2, 6), offsets(8, 9), offsets(7, 20), offsets(9, 20)) == ([2, 3, 4, 5], [8], [7, 8], [])
    first = reader.first_message(topic, 0)
    assert first is not None
    assert first.offset() == 2
    (later,) = (message.timestamp()[1] for message in reader.between(topic, 0, 5, 6))
    assert reader.offset_at(topic, 0, first.timestamp()[1]) == 2
    assert reader.offset_at(topic, 0, later) == 5
    assert reader.offset_at(topic, 0, later + 60_000) is None


async def test_the_ids_before_a_start_are_read_again(
    settings: Settings, reader: OffsetReader, store: WindowStore
) -> None:
    def sent(first: int, last: int) -> list[Outgoing]:
        return [classified_post(settings, offset, b"id-%d" % offset) for offset in range(first, last)]

    write(settings, *sent(0, 3))
    await asyncio.sleep(0.6)
    write(settings, *sent(3, 7))
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        assert await store.apply(shard, ShardUpdate({0: PositionChange(Position(), Position(5, 4, 0))})) is None
    horizon = settings.model_copy(update={"deduplication_s": 0.5})
    positions = AggregatePositions(reader, horizon, store, asyncio.get_running_loop(), Metrics())
    assert await asyncio.to_thread(positions, [0, 1]) == {0: 5, 1: 0}
    assert (positions.recent_posts[0].offset, len(positions.recent_posts[0])) == (5, 2), (
        "the first three are before the horizon"
    )
    assert (positions.recent_posts[1].offset, len(positions.recent_posts[1])) == (0, 0)


async def test_the_ids_of_posts_of_sources_are_read_if_a_source_has_stored_a_position(
    settings: Settings, store: WindowStore
) -> None:
    """Its transaction may still be open when the worker asks, because Kafka ends a transaction by and by."""
    keys = (b"rss:1", b"1", b"rss:2", b"rss:1", b"rss:3")
    write(settings, *(classified_post(settings, offset, key) for offset, key in enumerate(keys)))
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        assert await store.apply(shard, ShardUpdate({0: PositionChange(Position(), Position(4, 3, 0))})) is None
    reader = OffsetReader(kafka_config(settings), group="test", uncommitted=True)
    positions = AggregatePositions(reader, settings, store, asyncio.get_running_loop(), Metrics())
    assert await asyncio.to_thread(positions, [0]) == {0: 4}
    assert len(positions.recent_posts[0]) == 0
    source = Producer({"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": settings.group_prefix})
    source.init_transactions(30)
    source.begin_transaction()
    source.produce(settings.topic_sources, b"{}", b"rss")
    assert source.flush(120) == 0
    assert await asyncio.to_thread(positions, [0]) == {0: 4}
    assert len(positions.recent_posts[0]) == 2
    source.abort_transaction(30)
    reader.close()


def test_a_rewind_fetches_again_and_makes_earlier_batches_stale(settings: Settings) -> None:
    produce(settings, [post("hello")] * 100, partition=0)
    starts = {0: 0, 1: 0, 2: 0, 3: 0}
    lookups: list[Sequence[int]] = []

    def look_up(partitions: Sequence[int]) -> dict[int, int]:
        lookups.append(partitions)
        return {partition: starts[partition] for partition in partitions}

    consumer = PositionedConsumer(
        kafka_config(settings),
        group=f"{settings.group_prefix}-test",
        topic=settings.topic_raw,
        positions=look_up,
    )
    seen: list[int] = []

    def poll() -> bool:
        batch = consumer.poll(7, 0.2)
        if batch is None:
            return False
        assert consumer.is_current(batch)
        assert batch.starts[0] == (seen[-1] + 1 if seen else 0)
        seen.extend(message.offset() or 0 for message in batch.messages)
        return len(seen) > 20

    try:
        wait_for(poll, what="nothing arrives")
        assert seen == list(range(len(seen)))
        stale = consumer.poll(7, 5)
        assert stale is not None

        starts[0] = 5
        consumer.pause()
        consumer.rewind("test")
        assert not consumer.is_current(stale)
        wait_for(lambda: consumer.poll(7, 0.1) is None and len(lookups) == 2, what="no rewind")
        assert [consumer.poll(7, 0.1) for _ in range(5)] == [None] * 5, "the pause outlasts the rewind"
        consumer.resume()
        seen[:] = [4]
        wait_for(lambda: poll() and len(seen) > 90, what="nothing arrives after the rewind, paused before")
        assert seen[1:] == list(range(5, 5 + len(seen) - 1)), "from the new position, without a hole"
    finally:
        consumer.close()
