"""Everything that the audit compares, made without a worker: topics, windows in Redis, rows and windows in Postgres."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from msgspec.structs import replace

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.gate.cpu_aware import OpenGate
from streams.ops.audit import Check, audit
from streams.records import ClassifiedPost, EmotionWindow
from streams.settings import Settings
from streams.sink.runner import open_sink
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.store import WindowStore
from streams.windows.update import ShardUpdate
from tests.helpers import for_counting
from tests.integration.support import failures, produce


class System:
    """The topics, Redis and Postgres of a test, with posts that the test gives."""

    def __init__(self, settings: Settings, store: WindowStore, producer: ConfirmedProducer) -> None:
        self.settings = settings
        self.store = store
        self._producer = producer
        self._counted: dict[int, tuple[int, list[Position]]] = {}  # by partition, the next offset and the positions

    def produce(self, count: int, partition: int = 0) -> None:
        """Write raw posts."""
        produce(self.settings, [b"{}"] * count, partition=partition)

    def classify(self, posts: Sequence[ClassifiedPost]) -> None:
        """Write classified posts, each to the partition of its origin."""
        raw = self.settings.topic_raw
        records = [replace(post, origin=replace(post.origin, topic=raw)) for post in posts]
        self._producer.submit(
            [
                Outgoing(self.settings.topic_classified, record.to_json(), record.id.encode(), record.origin.partition)
                for record in records
            ]
        ).result(120)

    async def count(self, posts: Sequence[ClassifiedPost]) -> None:
        """Count posts of one partition into the windows in Redis, as the aggregate stage does."""
        partition = posts[0].origin.partition
        first, positions = self._counted.get(partition, (0, [Position()] * self.store.shards))
        entries = [Entry(first + number, for_counting(post)) for number, post in enumerate(posts)]
        end = first + len(entries)
        deltas = reduce_entries(entries, positions=positions, end=end, sizes=self.settings.window_sizes)
        for shard, of_shard in enumerate(deltas):
            await self.store.initialise(shard, 0)
            update = ShardUpdate.of({partition: (positions[shard], of_shard)})
            assert await self.store.apply(shard, update) is None
        self._counted[partition] = end, [of_shard.position for of_shard in deltas]

    async def publish(self) -> None:
        """Publish all windows, as if they had changed, and write all that Kafka has to Postgres."""
        self.publish_read(await self.store.read())
        await self.forget_changes()

    async def forget_changes(self) -> None:
        """Mark all windows in Redis as published."""
        for shard in range(self.store.shards):
            while rows := await self.store.dirty(shard, 10_000):
                await self.store.clear_dirty(shard, rows)

    def publish_read(self, windows: Sequence[EmotionWindow]) -> None:
        """Publish these windows, and write all that Kafka has to Postgres."""
        self._producer.submit(
            [Outgoing(self.settings.topic_windows, window.to_json(), window.key.encode()) for window in windows]
        ).result(120)
        with open_sink(self.settings, gate=OpenGate()) as sink:
            sink.run(threading.Event(), once=True)

    async def add(self, posts: Sequence[ClassifiedPost]) -> None:
        """Bring posts of one partition, whose origins rise from 0, into the topics and into Redis."""
        self.produce(len(posts), posts[0].origin.partition)
        self.classify(posts)
        await self.count(posts)

    async def audit(self) -> dict[str, Check]:
        """Returns the checks of an audit, by name."""
        return {check.name: check for check in await audit(self.settings, self.store, lambda *_: None)}

    async def failed(self) -> dict[str, str]:
        """Returns the notes of the checks that failed, by their names."""
        return {name: check.note for name, check in (await self.audit()).items() if not check.ok}

    async def assert_balanced(self) -> None:
        """Fail if a check of the audit fails."""
        assert failures(list((await self.audit()).values())) == []
