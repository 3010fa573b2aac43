"""Which ids the aggregate stage reads before it starts, so that it finds the duplicates of posts before its start."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Message

from tests.helpers import NOON_MS, classified, message
from tests.positions_harness import FakeReader, FakeStore, look_up


def log_of(*seconds: int, keys: str = "rss:") -> list[Message]:
    """Classified posts of partition 0, with these times in seconds. Their keys are numbered."""
    return [
        message(
            classified(offset).to_json(),
            offset=offset,
            key=f"{keys}{offset}".encode(),
            appended=NOON_MS + 1_000 * at,
        )
        for offset, at in enumerate(seconds)
    ]


async def test_no_ids_are_read_if_no_source_has_ever_run() -> None:
    reader = FakeReader()
    reader.log = log_of(0, 1, 2)
    _, positions, _ = await look_up(reader, FakeStore({0: 2}), [0])
    assert (positions.recent_posts[0].offset, len(positions.recent_posts[0])) == (2, 0)
    assert reader.read == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # A minute more than the horizon, because the clocks of two brokers may differ.
        ({}, [1, 2, 3, 4]),
        ({"source_deduplication_s": 100}, [2, 3, 4]),
        ({"source_deduplication_s": 100, "deduplication_s": 900}, [1, 2, 3, 4]),
        ({"source_deduplication_s": 0, "deduplication_s": 100}, [2, 3, 4]),
        ({"source_deduplication_s": 0}, None),
    ],
)
async def test_the_ids_of_the_horizon_are_read_if_a_source_has_run(
    overrides: dict[str, float], expected: list[int] | None
) -> None:
    reader = FakeReader()
    reader.topic_ranges["emostream.sources"] = (0, 2)
    reader.log = log_of(0, 41, 841, 900, 1_000, 1_000)
    _, positions, _ = await look_up(reader, FakeStore({0: 5}), [0], **overrides)
    if expected is None:
        assert positions.recent_posts == {}
        assert reader.read == []
    else:
        assert reader.read == [4, *expected], "the last one tells the time"
        assert positions.recent_posts[0].offset == 5


async def test_the_ids_of_all_posts_are_read_whether_a_source_has_run_or_not() -> None:
    reader = FakeReader()
    reader.log = log_of(0, 41, 841, 900, 1_000, 1_000, keys="")
    _, positions, _ = await look_up(reader, FakeStore({0: 5}), [0], deduplication_s=100)
    assert reader.read == [4, 2, 3, 4]
    assert len(positions.recent_posts[0]) == 2, "the horizon begins 100 s before the last one"


async def test_a_record_that_is_no_classified_post_makes_no_later_post_a_duplicate() -> None:
    reader = FakeReader()
    reader.topic_ranges["emostream.sources"] = (0, 2)
    foreign = message(classified(0, partition=1).to_json(), offset=0, key=b"rss:1", appended=NOON_MS)
    reader.log = [foreign, *log_of(0, 0)[1:]]
    _, positions, _ = await look_up(reader, FakeStore({0: 1}), [0])
    assert not positions.recent_posts[0].add(1, b"rss:1", NOON_MS)


async def test_the_ids_of_partitions_that_others_have_now_are_forgotten() -> None:
    reader = FakeReader()
    reader.topic_ranges["emostream.sources"] = (0, 2)
    reader.log = log_of(0, 1, 2)
    _, positions, _ = await look_up(reader, FakeStore({0: 2, 1: 0}), [0, 1])
    assert {number: len(found) for number, found in positions.recent_posts.items()} == {0: 2, 1: 0}
    await asyncio.to_thread(positions, [1])
    assert positions.recent_posts.keys() == {1}


async def test_a_duplicate_is_found_after_the_clock_of_the_broker_was_set_back() -> None:
    """The last record before the start is ahead, and its horizon does not reach to the first one."""
    reader = FakeReader()
    reader.topic_ranges["emostream.sources"] = (0, 2)
    reader.log = [log_of(0, 940)[0], log_of(0, 940, keys="")[1]]
    _, positions, _ = await look_up(reader, FakeStore({0: 2}), [0])
    assert positions.recent_posts[0].add(2, b"rss:0", NOON_MS + 899_000)
