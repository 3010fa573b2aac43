"""A consumer that does not fetch what its own process writes, on a real broker where others write too."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from connectors.kafka import own_records
from connectors.kafka.batch import OwnRange, offset_of, partition_of
from connectors.kafka.consumer import PositionedConsumer
from connectors.kafka.own_records import OwnRecords
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.connections import kafka_config
from streams.settings import Settings
from tests.integration.support import wait_for

PARTITIONS = range(4)
QUIET_S = 0.2
RANDOM = random.Random(7)


class Harness:
    def __init__(self, settings: Settings) -> None:
        config = kafka_config(settings)
        self.topic = settings.topic_raw
        self.own = OwnRecords(memory_limit=200)
        self.producers = [ConfirmedProducer(config, client_id=name) for name in ("ours", "others")]
        self.consumer = PositionedConsumer(
            config,
            group=f"{settings.group_prefix}-test",
            topic=self.topic,
            positions=lambda partitions: dict.fromkeys(partitions, 0),
            own_records=self.own,
        )
        self.written: dict[int, list[bytes]] = defaultdict(list)
        self.seen: dict[int, dict[int, bytes]] = defaultdict(dict)
        self.fetched = 0

    async def write(self, partition: int, *, ours: bool, count: int) -> None:
        values = [b"%d" % RANDOM.getrandbits(64) for _ in range(count)]
        records = [Outgoing(self.topic, value, partition=partition) for value in values]
        written = (await self.producers[not ours].deliver(records))[self.topic, partition]
        assert written == range(len(self.written[partition]), len(self.written[partition]) + count)
        self.written[partition] += values
        if ours:
            self.own.offer(OwnRange(partition, written.start, values, memory=count))

    def poll(self) -> None:
        batch = self.consumer.poll(100, 0.1)
        if batch is None:
            return
        found = [(partition_of(one), offset_of(one), one.value() or b"") for one in batch.messages]
        self.fetched += len(found)
        found += [
            (own.partition, offset, item)
            for own in batch.own_ranges
            for offset, item in enumerate(own.items, own.first)
        ]
        for partition, offset, value in sorted(found):
            assert offset == len(self.seen[partition]), "in order, once, and without a hole"
            self.seen[partition][offset] = value

    def complete(self) -> bool:
        self.poll()
        return all(len(self.seen[partition]) == len(self.written[partition]) for partition in PARTITIONS)

    def check(self) -> None:
        wait_for(self.complete, what="records are missing")
        assert all([*self.seen[partition].values()] == self.written[partition] for partition in PARTITIONS)


@pytest.fixture
def harness(settings: Settings) -> Iterator[Harness]:
    harness = Harness(settings)
    yield harness
    harness.consumer.close()
    for producer in harness.producers:
        producer.close()


async def test_own_records_are_not_fetched(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """At first, a few records of each partition may be fetched before they are offered."""
    # However slow the machine is, no partition counts as quiet.
    monkeypatch.setattr(own_records, "QUIET_S", 3_600)
    await harness.write(0, ours=False, count=5)
    harness.check()  # now the consumer is a member of the group and fetches
    for number in range(200):
        await harness.write(number % len(PARTITIONS), ours=True, count=50)
        harness.poll()
    harness.check()
    assert harness.fetched <= 5 + 4 * 100


async def test_records_of_others_are_fetched(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come between own records and after them. Some own records exceed the limit, and there are quiet times."""
    monkeypatch.setattr(own_records, "QUIET_S", QUIET_S)
    for round_number in range(60):
        for partition in PARTITIONS:
            await harness.write(partition, ours=RANDOM.random() < 0.8, count=RANDOM.choice((1, 20, 70)))
        if round_number % 20 == 10:
            await asyncio.sleep(QUIET_S)
        if RANDOM.random() < 0.7:
            harness.poll()
    harness.check()
    for partition in PARTITIONS:
        await harness.write(partition, ours=True, count=1)
        harness.poll()
        await harness.write(partition, ours=False, count=1)
    harness.check()
