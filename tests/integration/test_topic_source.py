"""The source of a Kafka topic of another shape, with real Kafka."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.follow import TopicFollower
from connectors.sources.events import SkipReason, SourceDeletion, SourceGap, SourcePost
from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import SHAPES
from streams.connections import kafka_config
from streams.ingest.shaped import topic as topic_module
from streams.ingest.shaped.documents import DocumentReader
from streams.ingest.shaped.options import Begin
from streams.ingest.shaped.topic import TopicOptions, TopicSource
from streams.settings import Settings
from tests.integration.support import wait_for
from tests.source_servers.reading import reading

NOON_MS = 1_772_366_400_000
READER = DocumentReader("tweets", FieldMap.parse({"text": "body"}))


class Foreign:
    """A topic that others write to."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self._settings = settings
        self._admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
        self._options = {"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 0}
        self.create()

    def create(self) -> None:
        self._wait(self._admin.create_topics([NewTopic(self.name, 1)]))

    def delete(self) -> None:
        self._wait(self._admin.delete_topics([self.name]))

    def is_gone(self) -> bool:
        return self.name not in self._admin.list_topics(timeout=30).topics

    def add_partition(self) -> None:
        self._wait(self._admin.create_partitions([NewPartitions(self.name, 2)]))

    def delete_before(self, offset: int) -> None:
        self._wait(self._admin.delete_records([TopicPartition(self.name, 0, offset)]))

    def _wait(self, futures: dict[object, object]) -> None:
        for future in futures.values():
            future.result(120)  # type: ignore[attr-defined]

    def write(self, *values: object, partition: int = 0, begin_ms: int = NOON_MS) -> None:
        """Write JSON, or bytes and None as they are. The time of a record is a second after the one before."""
        producer = Producer(self._options)
        wait_for(
            lambda: partition in producer.list_topics(self.name, 30).topics[self.name].partitions,
            what="there is no such partition",
        )
        for number, value in enumerate(values):
            self._produce(producer, value, partition, begin_ms + 1_000 * number)
        assert producer.flush(120) == 0

    def write_in_transaction(self, *values: object, abort: bool) -> None:
        producer = Producer({**self._options, "transactional.id": self.name})
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            self._produce(producer, value, 0, NOON_MS)
        producer.flush(120)
        (producer.abort_transaction if abort else producer.commit_transaction)()

    def _produce(self, producer: Producer, value: object, partition: int, time_ms: int) -> None:
        data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        producer.produce(self.name, data, partition=partition, timestamp=time_ms)

    def source(self, *, begin: Begin = Begin.EARLIEST, reader: DocumentReader = READER) -> TopicSource:
        options = TopicOptions(
            topic=self.name, kafka=kafka_config(self._settings), group="test", begin=begin, reader=reader, check_s=0.1
        )
        return TopicSource(options)


@pytest.fixture
def foreign(settings: Settings) -> Foreign:
    return Foreign(settings, f"{settings.group_prefix}-foreign")


async def test_every_record_becomes_an_event_and_new_partitions_are_followed(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_module, "MAX_VALUE_BYTES", 1_000)
    foreign.write({"id": 12345678901234567890, "body": "with an id", "created_at": "2026-03-01T11:00:00Z"})
    foreign.write({"body": "without"}, None, b"\xff", b"[1]", {"body": 5}, {"body": "x" * 2_000})
    foreign.write(b'{"body": "half \\ud83d"}', {"body": "later", "created_at": "2030-01-01T00:00:00Z"})
    foreign.write_in_transaction({"body": "aborted"}, abort=True)
    foreign.write_in_transaction({"body": "committed"}, abort=False)
    async with reading(foreign.source()) as found:
        await found.texts("committed")
        foreign.add_partition()
        foreign.write({"body": "new partition"}, partition=1)
        await found.texts("new partition")
    assert found.post_texts == ["with an id", "without", "half �", "later", "committed", "new partition"]
    ids = [post.id.removeprefix("tweets:") for post in found.posts]
    assert ids[:4] == ["12345678901234567890", f"{foreign.name}-0-1", f"{foreign.name}-0-7", f"{foreign.name}-0-8"]
    assert ids[-1] == f"{foreign.name}-1-0"
    noon = datetime.fromtimestamp(NOON_MS / 1_000, UTC)
    assert [post.created_at for post in found.posts[:2]] == [noon.replace(hour=11), noon]
    assert found.posts[3].created_at == noon.replace(second=1)  # that of the record, which it claims to be later than
    assert [post.cleaned for post in found.posts[1:3]] == [False, True]
    assert len(found.reasons(SkipReason.UNREADABLE)) == 3
    assert len(found.reasons(SkipReason.TOO_LARGE)) == 1
    assert "a tombstone" in found.reasons(SkipReason.NOT_A_POST)
    assert found.gaps == []
    ends = found.events
    # A restart yields exactly what came behind the cursor, also at the edges of transactions and partitions.
    for index in range(0, len(ends), 4):
        async with reading(foreign.source(), ends[index].cursor) as again:
            wanted = [one.event for one in ends[index + 1 :] if isinstance(one.event, SourcePost)]
            await again.until(lambda wanted=wanted, again=again: len(again.posts) >= len(wanted))  # type: ignore[misc]
            await again.detail("Kafka answers")
        assert sorted(post.id for post in again.posts) == sorted(post.id for post in wanted)


async def test_without_a_position_it_begins_with_new_records(foreign: Foreign) -> None:
    foreign.write({"body": "old"})
    async with reading(foreign.source(begin=Begin.LATEST)) as found:
        await found.detail("connected")
        foreign.write({"body": "new"})
        await found.texts("new")
    assert found.post_texts == ["new"]


async def test_a_shape_and_its_deletions(foreign: Foreign) -> None:
    commit = {"collection": "app.bsky.feed.post", "rkey": "1"}
    record = {"text": "tea", "createdAt": "2026-03-01T11:00:00Z"}
    foreign.write(
        {"kind": "commit", "did": "did:plc:a", "commit": {**commit, "operation": "create", "record": record}},
        {"kind": "commit", "did": "did:plc:a", "commit": {**commit, "operation": "delete"}},
    )
    reader = replace(READER, mapping=FieldMap({}), shape=SHAPES["jetstream"])
    async with reading(foreign.source(reader=reader)) as found:
        await found.until(lambda: len(found.deletions) == 1)
    uri = "tweets:at://did:plc:a/app.bsky.feed.post/1"
    assert (found.posts[0].id, found.deletions) == (uri, [uri])
    assert isinstance(found.events[-1].event, SourceDeletion)


async def test_what_kafka_has_deleted_is_a_gap_with_its_number_and_times(foreign: Foreign) -> None:
    foreign.write(*({"body": f"post {number}"} for number in range(3)))
    async with reading(foreign.source()) as found:
        await found.texts("post 2")
    cursor = found.cursor
    foreign.write(*({"body": f"post {number}"} for number in range(3, 10)), begin_ms=NOON_MS + 3_000)
    foreign.delete_before(7)
    noon = datetime.fromtimestamp(NOON_MS / 1_000, UTC)
    expected = SourceGap(
        since=noon.replace(second=2),
        until=noon.replace(second=7),
        reason=f"Kafka deleted offsets 3 to 6 of {foreign.name}[0] before they were read",
        missing=4,
        partial=True,
    )
    async with reading(foreign.source(), cursor) as again:
        await again.texts("post 9")
    assert again.post_texts == ["post 7", "post 8", "post 9"]
    assert again.gaps == [expected]
    # From a cursor behind the gap it is not told again. If nothing is left, it is told at once.
    (behind,) = (one.cursor for one in again.events if isinstance(one.event, SourceGap))
    foreign.delete_before(10)
    async with reading(foreign.source(), behind) as last:
        await last.until(lambda: len(last.gaps) == 1)
    assert (last.gaps[0].missing, last.gaps[0].until) == (3, None)
    async with reading(foreign.source(), last.cursor) as none:
        await none.detail("Kafka answers")
    assert none.gaps == []


def test_a_record_that_is_deleted_while_the_topic_is_read(
    settings: Settings, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.write(*({"body": f"post {number}"} for number in range(10)))
    foreign.delete_before(7)
    # The bounds are those from before the deletion.
    monkeypatch.setattr(TopicFollower, "_bounds", lambda _self, _partition: (0, 10))
    follower = TopicFollower(kafka_config(settings), foreign.name, group="test")
    try:
        assert follower.begin({0: 3}) == []
        with pytest.raises(UnavailableError, match="no longer holds the next record"):
            wait_for(lambda: list(follower.take(10, 0.5)) != [], what="Kafka does not answer")
    finally:
        follower.close()


async def test_a_topic_that_was_made_again_is_an_error(foreign: Foreign) -> None:
    foreign.write({"body": "one"})
    async with reading(foreign.source()) as found:
        await found.texts("one")
    foreign.delete()
    wait_for(foreign.is_gone, what="the topic is not deleted")
    foreign.create()
    foreign.write(*({"body": f"another {number}"} for number in range(5)))
    async with reading(foreign.source(), found.cursor) as again:
        error = await again.error()
    assert isinstance(error, RejectedError)
    assert "was deleted and made again" in str(error)
    assert again.posts == []


async def test_a_topic_that_does_not_exist(foreign: Foreign) -> None:
    foreign.name = "nothing-here"
    async with reading(foreign.source()) as found:
        error = await found.error()
    assert (type(error), str(error)) == (RejectedError, "the topic nothing-here does not exist")
