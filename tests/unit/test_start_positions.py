from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from connectors.errors import PositionError, UnavailableError
from connectors.kafka.offsets import start_offset
from streams.errors import TopologyError
from streams.metrics import Metrics
from streams.pipeline import positions as module
from streams.pipeline.positions import ClassifyPositions
from tests.helpers import NOON_MS, classified, make_settings, message
from tests.positions_harness import FakeReader, FakeStore, look_up


@pytest.mark.parametrize(
    ("proven", "bounds", "hint", "expected"),
    [
        # The output is the position. The committed offset does not matter.
        (7, (0, 10), None, 7),
        (7, (0, 10), 3, 7),
        (7, (0, 10), 9, 7),
        (0, (0, 0), 9, 0),
        (10, (0, 10), None, 10),
        (7, (8, 10), None, 8),
        # There is no output. The committed offset is a hint, if Kafka holds it.
        (None, (2, 10), None, 2),
        (None, (2, 10), 5, 5),
        (None, (2, 10), 1, 2),
        # A committed offset above the end belongs to an earlier topic of the same name.
        (None, (2, 10), 10, 10),
        (None, (2, 10), 11, 2),
        (None, (0, 0), None, 0),
    ],
)
def test_start_offset(proven: int | None, bounds: tuple[int, int], hint: int | None, expected: int) -> None:
    assert start_offset("t", 0, proven, bounds, hint) == expected


def test_an_output_ahead_of_its_input_is_refused() -> None:
    with pytest.raises(PositionError, match=r"posts\.raw\[3\] ends at offset 10, .* up to 11"):
        start_offset("posts.raw", 3, 11, (0, 10), None)


def gap(metrics: Metrics, topic: str) -> float:
    return metrics.registry.get_sample_value("emostream_gap_offsets_total", {"topic": topic}) or 0


# Classify


class ClassifyBench:
    def __init__(self) -> None:
        self.reader: Any = FakeReader()
        self.metrics = Metrics()
        self.positions = ClassifyPositions(self.reader, make_settings(partitions=4), self.metrics)

    def last(self, origin: int, *, partition: int = 0, origin_partition: int | None = None) -> None:
        post = classified(origin, partition=partition if origin_partition is None else origin_partition)
        self.reader.last[partition] = message(post.to_json(), partition=partition, offset=55)


def test_classify_resumes_after_the_last_origin_of_each_partition() -> None:
    harness = ClassifyBench()
    harness.last(41)
    harness.last(7, partition=2)
    harness.reader.commits = {0: 90, 1: 5}
    assert harness.positions([0, 1, 2, 3]) == {0: 42, 1: 5, 2: 8, 3: 0}
    assert gap(harness.metrics, "posts.raw") == 0


def test_raw_posts_that_retention_deleted_are_counted() -> None:
    harness = ClassifyBench()
    harness.last(41)
    harness.reader.ranges[0] = (50, 100)
    assert harness.positions([0]) == {0: 50}
    assert gap(harness.metrics, "posts.raw") == 8


def test_a_gap_that_a_later_lookup_finds_again_is_counted_once() -> None:
    harness = ClassifyBench()
    harness.last(41)
    harness.reader.ranges[0] = (50, 100)
    harness.positions([0])
    harness.positions([0, 1])
    assert gap(harness.metrics, "posts.raw") == 8
    harness.reader.ranges[0] = (53, 100)
    harness.positions([0])
    assert gap(harness.metrics, "posts.raw") == 11, "only the new part is counted"


def test_raw_posts_that_became_dead_letters_are_no_gap() -> None:
    """Dead letters do not move the last origin, but the offsets after them are committed."""
    harness = ClassifyBench()
    harness.last(41)
    harness.reader.commits = {0: 47}
    harness.reader.ranges[0] = (50, 100)
    assert harness.positions([0]) == {0: 50}
    assert gap(harness.metrics, "posts.raw") == 3


def test_without_an_output_ever_all_deleted_raw_posts_are_a_gap() -> None:
    harness = ClassifyBench()
    harness.reader.topic_ranges = {"posts.classified": (0, 0)}
    harness.reader.ranges[0] = (50, 100)
    assert harness.positions([0]) == {0: 50}
    assert gap(harness.metrics, "posts.raw") == 50


def test_an_output_that_retention_deleted_tells_of_no_gap() -> None:
    harness = ClassifyBench()
    harness.reader.topic_ranges = {"posts.classified": (70, 70)}
    harness.reader.ranges[0] = (50, 100)
    assert harness.positions([0]) == {0: 50}
    assert gap(harness.metrics, "posts.raw") == 0


def test_an_output_of_another_partition_is_refused() -> None:
    harness = ClassifyBench()
    harness.last(41, partition=1, origin_partition=0)
    with pytest.raises(PositionError, match=r"posts\.classified\[1\]@55 is not a classified post of posts\.raw\[1\]"):
        harness.positions([1])


def test_records_of_others_behind_the_last_output_are_passed_over() -> None:
    harness = ClassifyBench()
    harness.reader.ranges[0] = (50, 100)
    values = {52: classified(40), 53: classified(41), 54: None, 55: classified(48, partition=1)}
    harness.reader.last[0] = message(b"not json", offset=56)
    harness.reader.log = [
        message(b"{}" if post is None else post.to_json(), offset=offset) for offset, post in values.items()
    ]
    assert harness.positions([0]) == {0: 50}, "what Kafka no longer holds is a gap"
    harness.reader.ranges[0] = (20, 100)
    assert harness.positions([0]) == {0: 42}


@pytest.mark.parametrize("value", [None, b"", b"{}", b"not json", b'{"origin": {"topic": "posts.raw"}}'])
def test_an_output_that_is_not_a_classified_post_is_refused(value: bytes | None) -> None:
    harness = ClassifyBench()
    harness.reader.last[0] = message(value, offset=55)
    with pytest.raises(PositionError, match=r"posts\.classified\[0\]@55 is not a classified post"):
        harness.positions([0])


def test_a_raw_partition_that_was_added_later_is_refused() -> None:
    with pytest.raises(TopologyError, match=r"posts\.raw has a partition 4, but EMOSTREAM_PARTITIONS is 4"):
        ClassifyBench().positions([0, 5, 4])


# Aggregate


async def test_aggregate_resumes_at_the_lowest_shard() -> None:
    starts, positions, _ = await look_up(FakeReader(), FakeStore({0: 40, 1: 9}, {0: 30, 1: 9}, {0: 50, 1: 9}), [0, 1])
    assert starts == {0: 30, 1: 9}
    assert positions.gaps == {}


async def test_aggregate_resumes_at_the_beginning_if_a_shard_has_no_position() -> None:
    starts, positions, metrics = await look_up(FakeReader(), FakeStore({0: 40}, {}), [0])
    assert starts == {0: 0}
    assert positions.gaps == {}
    assert gap(metrics, "posts.classified") == 0


async def test_classified_posts_that_retention_deleted_are_a_known_gap() -> None:
    reader = FakeReader()
    reader.ranges = {0: (50, 100), 1: (20, 100)}
    starts, positions, metrics = await look_up(reader, FakeStore({0: 40, 1: 20}), [0, 1])
    assert starts == {0: 50, 1: 20}
    assert positions.gaps == {0: 50}
    assert gap(metrics, "posts.classified") == 10


async def test_a_gap_of_classified_posts_is_counted_once() -> None:
    reader = FakeReader()
    reader.ranges = {0: (50, 100)}
    _, positions, metrics = await look_up(reader, FakeStore({0: 40}), [0])
    await asyncio.to_thread(positions, [0])
    assert positions.gaps == {0: 50}
    assert gap(metrics, "posts.classified") == 10


async def test_empty_tables_start_with_the_first_offset_that_kafka_holds() -> None:
    reader = FakeReader()
    reader.ranges = {0: (50, 100)}
    starts, positions, _ = await look_up(reader, FakeStore({}), [0])
    assert starts == {0: 50}
    assert positions.gaps == {0: 50}


async def test_shards_are_initialised_as_complete_if_kafka_has_lost_nothing() -> None:
    store = FakeStore({}, {})
    await look_up(FakeReader(), store, [0])
    assert store.complete_from == {0: 0, 1: 0}


async def test_shards_are_complete_from_the_time_at_which_every_partition_is() -> None:
    """Partitions of other workers count too, because a window has posts of all partitions."""
    reader, store = FakeReader(), FakeStore({}, {}, {})
    store.complete_from[1] = 7
    reader.ranges = {0: (50, 100), 1: (20, 100)}
    reader.first = {
        0: message(b"", offset=50, appended=NOON_MS),
        1: message(b"", offset=20, appended=NOON_MS + 60_000),
    }
    await look_up(reader, store, [0])
    assert store.complete_from == {0: NOON_MS + 360_000, 1: 7, 2: NOON_MS + 360_000}


async def test_if_a_partition_has_lost_everything_shards_are_complete_from_now_on() -> None:
    reader, store = FakeReader(), FakeStore({})
    reader.ranges = {1: (20, 20)}
    before = time.time() * 1_000
    await look_up(reader, store, [0])
    assert before + 299_000 < store.complete_from[0] < time.time() * 1_000 + 301_000


async def test_a_classified_partition_that_was_added_later_is_refused() -> None:
    with pytest.raises(TopologyError, match=r"posts\.classified has a partition 2"):
        await look_up(FakeReader(), FakeStore({}), [2])


async def test_positions_above_the_end_of_the_topic_are_refused() -> None:
    with pytest.raises(PositionError):
        await look_up(FakeReader(), FakeStore({0: 101}), [0])


async def test_positions_in_sealed_tables_are_unavailable() -> None:
    store = FakeStore({}, {0: 5})
    store.sealed_shards = {1}
    with pytest.raises(UnavailableError, match="the window tables are being switched"):
        await look_up(FakeReader(), store, [0])
    assert store.complete_from == {}, "no shard was initialised"


async def test_tables_that_redis_has_lost_are_described_again() -> None:
    """Otherwise a worker with other shards would start, and topics that are made again would not be noticed."""
    store = FakeStore({}, {})
    await look_up(FakeReader(), store, [0])
    assert store.described == [2]
    await look_up(FakeReader(), store, [0])
    assert store.described == [2], "they are initialised"
    other = FakeStore({}, {})
    other.changed = ["posts.raw"]
    with pytest.raises(TopologyError, match=r"posts\.raw: deleted and made again"):
        await look_up(FakeReader(), other, [0])
    assert other.complete_from == {}


async def test_a_redis_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP_S", 0.05)
    store = FakeStore({})
    store.hangs = True
    with pytest.raises(UnavailableError, match="Redis did not answer"):
        await look_up(FakeReader(), store, [0])


async def test_all_requests_of_a_lookup_share_one_deadline() -> None:
    """A rebalance waits for the lookup, whatever the number of partitions and shards."""
    reader = FakeReader()
    reader.ranges = {0: (50, 100), 1: (20, 100)}
    reader.first = {partition: message(b"", offset=50, appended=NOON_MS) for partition in (0, 1)}
    await look_up(reader, FakeStore({}, {}), [0, 1])
    assert len(reader.deadlines) == 5
    assert len(set(map(id, reader.deadlines))) == 1

    harness = ClassifyBench()
    harness.positions([0, 1, 2, 3])
    assert len(harness.reader.deadlines) == 3, "one request for all partitions"
    assert len(set(map(id, harness.reader.deadlines))) == 1


async def test_redis_has_only_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left:
        """Time for two requests."""

        def __init__(self, seconds: float) -> None:
            self.times = [60.0, 60.0, 0.0]

        @property
        def left_s(self) -> float:
            return self.times.pop(0)

    monkeypatch.setattr(module, "Deadline", Left)
    store = FakeStore({}, {})
    store.complete_from = {0: 0, 1: 0}
    store.hangs = True
    with pytest.raises(UnavailableError, match="Redis did not answer"):
        await look_up(FakeReader(), store, [0])
