"""A backfill of ranges with batches that cannot be read: it keeps their rows, and records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from confluent_kafka import Message

from connectors.kafka.batch import UnreadableBatch, offset_of
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.records import ClassifiedPost, DeadPost, DeadReason
from streams.settings import Settings
from streams.sink.history import History
from tests.integration.poison import write_bomb
from tests.integration.test_backfill import check, contents, feed, fill, history, wanted, write, written
from tests.integration.test_sink import classified, query

__all__ = ["history", "written"]  # fixtures

GAPS = "SELECT partition, first_offset, next_offset, reason, records FROM sink_gaps"


def test_a_batch_that_cannot_be_read_in_a_skipped_range_is_a_gap_and_a_dead_letter(
    settings: Settings, history: History, producer: ConfirmedProducer, written: Sequence[ClassifiedPost]
) -> None:
    of_partition = "topic LIKE '%classified' AND partition = 0"
    [[next_offset]] = query(settings, f"SELECT next_offset FROM sink_offsets WHERE {of_partition}")
    first = int(str(next_offset)) + 5
    more = [classified(1_000 + i, 0) for i in range(10)]
    feed(producer, settings, more[:5])
    write_bomb(settings, settings.topic_classified)
    feed(producer, settings, more[5:])
    query(settings, f"UPDATE sink_offsets SET next_offset = {first + 128 + 5} WHERE {of_partition}")
    feed(producer, settings, [classified(2_000, 0)])
    write(settings)
    fill(settings, history)
    assert contents(settings) == wanted([*written, *more, classified(2_000, 0)])
    assert query(settings, GAPS) == [(0, first, first + 128, "unreadable", None)]
    assert check(settings, history).complete
    scan = TopicScan(kafka_config(settings), settings.topic_dead, group=scan_group(settings))
    letters = [DeadPost.from_json(message.value() or b"") for message in scan.messages()]
    scan.close()
    assert [(letter.reason, letter.origin.offset, letter.last_offset) for letter in letters] == [
        (DeadReason.UNREADABLE_BATCH, first, first + 127)
    ]


def test_rows_that_cannot_be_read_from_kafka_again_are_kept(
    settings: Settings, history: History, written: Sequence[ClassifiedPost], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch of the records 10 to 19 was damaged on the broker's disk after its rows had been written."""
    between = OffsetReader.between

    def damaged(
        reader: OffsetReader,
        topic: str,
        partition: int,
        start: int,
        end: int,
        *,
        on_unreadable: Callable[[UnreadableBatch], None],
    ) -> Iterator[Message]:
        on_unreadable(UnreadableBatch(topic, partition, 10, 20, "it is damaged"))
        for message in between(reader, topic, partition, start, end):
            if not 10 <= offset_of(message) < 20:
                yield message

    monkeypatch.setattr(OffsetReader, "between", damaged)
    query(settings, "DELETE FROM posts WHERE origin_partition = 1 AND origin_offset IN (13, 50)")
    query(settings, "UPDATE posts SET label = 'fear' WHERE (origin_partition, origin_offset) = (1, 60)")
    assert fill(settings, history).rows_filled == 1
    gone = [post for post in written if (post.origin.partition, post.origin.offset) == (1, 13)]
    assert contents(settings) == wanted([post for post in written if post not in gone])
    assert query(settings, GAPS) == [(1, 10, 20, "unreadable", None)]
    assert check(settings, history).complete, "a gap is found only once"
