from __future__ import annotations

import weakref

import pytest
from msgspec.structs import replace

from connectors.errors import ConnectorError, PositionMismatchError
from connectors.kafka.batch import Batch, OwnRange, UnreadableBatch
from streams.records import DeadPost, DeadReason, LatePost, Origin, from_ms
from streams.windows.deltas import Position
from streams.windows.recent import Horizons, RecentPosts
from streams.windows.tumbling import WindowKey, shard_of
from streams.windows.update import ShardUpdate
from tests.aggregate_harness import FakeStore, Harness, batch
from tests.helpers import NOON_MS, RecordingDeliverer, classified, for_counting, message


async def test_a_batch_reaches_every_shard() -> None:
    # "tea" and "*" lie in different shards of two.
    assert (shard_of("tea", 2), shard_of("*", 2)) == (0, 1)
    harness = Harness()
    await harness.stage.process(batch(classified(4, keywords=["tea"]), classified(6)))
    assert harness.store.stored == {(0, 0): Position(2, 6, NOON_MS), (1, 0): Position(2, 6, NOON_MS)}
    counts = {
        key.keyword: delta.fields["n"] for _, update in harness.store.applied for key, delta in update.windows.items()
    }
    assert counts == {"tea": 1, "*": 2}
    assert harness.metric("emostream_posts_counted_total") == 2


async def test_what_the_worker_has_written_itself_is_counted_in_its_place() -> None:
    """Raw offsets rise along a partition, so a post out of order would be taken for a repetition."""
    harness = Harness()
    fetched = batch(classified(0, keywords=["tea"]), b"{", start=4)
    later = batch(classified(7, keywords=["tea"]), start=8)
    known = [
        OwnRange(0, 6, [for_counting(classified(5)), for_counting(classified(6))], memory=2),
        OwnRange(0, 9, [for_counting(classified(8))], memory=1),
    ]
    other = OwnRange(1, 3, [for_counting(classified(2, partition=1))], memory=1)
    mixed = Batch(1, fetched.messages + later.messages, {0: 4, 1: 3}, [*known, other])
    harness.gaps = {0: 4, 1: 3}
    await harness.stage.process(mixed)
    assert harness.metric("emostream_posts_counted_total") == 6
    assert harness.metric("emostream_posts_unfetched_total") == 4
    assert harness.metric("emostream_posts_repeated_total") == 0
    assert harness.metric("emostream_dead_letters_total", reason="invalid_record") == 1
    assert {where: position.offset for where, position in harness.store.stored.items()} == {
        (0, 0): 10,
        (0, 1): 4,
        (1, 0): 10,
        (1, 1): 4,
    }


async def test_the_log_names_dead_letters(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    for offset in range(3):
        await harness.stage.process(batch(b"{", start=offset))
    harness.stage.close()
    assert [line.partition(";")[0] for line in caplog.messages] == [
        "1 dead letter on posts.dead (invalid_record 1)",
        "2 dead letters on posts.dead (invalid_record 2)",
    ]


async def test_batches_follow_each_other_without_reading_positions_again() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0)))
    await harness.stage.process(batch(classified(1), start=1))
    assert harness.store.stored[0, 0].offset == 2
    assert len(harness.store.reads) == 2  # once for each shard


async def test_a_new_epoch_reads_the_positions_again() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0), classified(1)))
    harness.store.stored = dict.fromkeys(harness.store.stored, Position(1, 0, NOON_MS))
    await harness.stage.process(batch(classified(1), start=1, epoch=2))
    assert harness.store.stored[0, 0] == Position(2, 1, NOON_MS)


async def test_a_shard_that_is_ahead_is_left_alone() -> None:
    harness = Harness()
    harness.store.stored = {(0, 0): Position(2, 1, NOON_MS), (1, 0): Position(1, 0, NOON_MS)}
    await harness.stage.process(batch(classified(1), start=1))
    assert [shard for shard, _ in harness.store.applied] == [1]
    assert harness.metric("emostream_posts_counted_total") == 1
    await harness.stage.process(batch(classified(2), start=2))
    assert [harness.store.stored[shard, 0].offset for shard in (0, 1)] == [3, 3]


async def test_a_shard_at_another_position_asks_for_a_rewind_and_is_not_changed() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0)))
    harness.store.stored[1, 0] = Position(5, 4, NOON_MS)
    with pytest.raises(PositionMismatchError, match="shard 1 is at offset 5 of partition 0, not at 1"):
        await harness.stage.process(batch(classified(1), start=1))
    assert harness.store.stored[1, 0].offset == 5
    assert harness.metric("emostream_posts_counted_total") == 1


@pytest.mark.parametrize("stored", [Position(), Position(3, 2, NOON_MS)])
async def test_a_shard_below_the_start_asks_for_a_rewind(stored: Position) -> None:
    # Redis was set back or emptied after the start was looked up. To count on would leave a hole.
    harness = Harness()
    harness.store.stored = {(shard, 0): stored for shard in range(2) if stored.offset >= 0}
    with pytest.raises(PositionMismatchError, match="is read from offset 5"):
        await harness.stage.process(batch(classified(9), start=5))
    assert harness.store.applied == []


@pytest.mark.parametrize("stored", [Position(), Position(3, 2, NOON_MS)])
async def test_a_known_gap_is_skipped(stored: Position) -> None:
    harness = Harness()
    harness.store.stored = {(shard, 0): stored for shard in range(2) if stored.offset >= 0}
    harness.gaps[0] = 5
    await harness.stage.process(batch(classified(9), start=5))
    assert harness.store.stored[0, 0] == Position(6, 9, NOON_MS)


async def test_each_partition_has_a_position_of_its_own() -> None:
    harness = Harness()
    first, second = batch(classified(0)), batch(classified(0, partition=1), classified(1, partition=1), partition=1)
    await harness.stage.process(Batch(1, first.messages + second.messages, {0: 0, 1: 0}))
    assert {key: position.offset for key, position in harness.store.stored.items()} == {
        (0, 0): 1,
        (1, 0): 1,
        (0, 1): 2,
        (1, 1): 2,
    }


async def test_the_partitions_of_a_batch_are_one_update_of_a_shard() -> None:
    harness = Harness(FakeStore(shards=1))
    first, second = batch(classified(0), classified(1)), batch(classified(0, partition=1), partition=1)
    await harness.stage.process(Batch(1, first.messages + second.messages, {0: 0, 1: 0}))
    ((_, update),) = harness.store.applied
    assert update.positions.keys() == {0, 1}
    assert update.windows[WindowKey("*", 60, NOON_MS)].fields["n"] == 3
    assert harness.metric("emostream_posts_counted_total") == 3


async def test_a_mismatch_in_one_partition_prevents_the_whole_update() -> None:
    harness = Harness(FakeStore(shards=1))
    await harness.stage.process(batch(classified(0)))
    harness.store.stored[0, 1] = Position(7, 7, NOON_MS)
    harness.stage.applied(0)  # partition 1 is not known yet
    first, second = batch(classified(1), start=1), batch(classified(0, partition=1), partition=1)
    harness.store.stored[0, 0] = Position(9, 9, NOON_MS)
    with pytest.raises(PositionMismatchError, match="shard 0 is at offset 9 of partition 0, not at 1"):
        await harness.stage.process(Batch(1, first.messages + second.messages, {0: 1, 1: 0}))
    assert harness.store.stored[0, 1] == Position(7, 7, NOON_MS)


# Duplicates. Every message of `batch` has the same key.

EVERY_POST = Horizons(60_000, 60_000, None)


async def test_a_post_that_was_sent_before_is_not_counted_again() -> None:
    harness = Harness(deduplication_s=60)
    harness.recent_posts[0] = RecentPosts(EVERY_POST)
    await harness.stage.process(batch(classified(0), classified(1), b"{}", classified(2)))
    assert harness.metric("emostream_posts_counted_total") == 1
    assert harness.metric("emostream_posts_duplicate_total") == 2
    assert harness.store.stored[0, 0] == Position(4, 2, NOON_MS)
    assert sum(update.duplicates for _, update in harness.store.applied) == 2, "counted once, and not once per shard"


async def test_a_post_with_the_id_of_a_record_that_counts_nowhere_is_counted() -> None:
    harness = Harness(deduplication_s=60)
    harness.recent_posts[0] = RecentPosts(EVERY_POST)
    await harness.stage.process(batch(b"{}", classified(0, partition=1), classified(2)))
    assert harness.metric("emostream_posts_counted_total") == 1
    assert harness.metric("emostream_posts_duplicate_total") == 0


async def test_recent_ids_that_do_not_end_at_the_start_ask_for_a_rewind() -> None:
    harness = Harness(deduplication_s=60)
    harness.recent_posts[0] = RecentPosts(EVERY_POST, offset=3)
    with pytest.raises(PositionMismatchError, match="is read from offset 0, but its recent ids end at 3"):
        await harness.stage.process(batch(classified(0)))
    assert harness.store.applied == []


async def test_recent_ids_that_are_not_known_ask_for_a_rewind() -> None:
    """Another worker has the partition, and this one still has a batch of it. A duplicate in it would be counted."""
    harness = Harness(source_deduplication_s=60)
    with pytest.raises(PositionMismatchError, match="the recent ids of partition 0 are not known"):
        await harness.stage.process(batch(classified(0)))
    assert harness.store.applied == []


async def test_the_recent_ids_of_an_earlier_epoch_take_no_memory() -> None:
    harness = Harness()
    harness.recent_posts[0] = RecentPosts(EVERY_POST)
    recent = weakref.ref(harness.recent_posts[0])
    await harness.stage.process(batch(classified(0)))
    harness.recent_posts.clear()
    assert recent() is not None
    await harness.stage.process(batch(classified(0, partition=1), partition=1, epoch=2))
    assert recent() is None


async def test_own_records_between_posts_of_sources_are_passed_over() -> None:
    """They are of no source, so the stage does not know their ids. The ids are still there after a switch of tables."""
    harness = Harness()
    harness.recent_posts[0] = RecentPosts(Horizons(60_000, 0, 2))
    posts = [classified(origin) for origin in range(8)]
    keys = [b"rss:1", b"own", b"own", b"rss:1", b"rss:2", b"rss:3", b"rss:1", b"own"]
    fetched = [
        message(post.to_json(), offset=offset, topic="posts.classified", key=key)
        for offset, (post, key) in enumerate(zip(posts, keys, strict=True))
        if key != b"own"
    ]
    own = [OwnRange(0, 1, [for_counting(post) for post in posts[1:3]], 1), OwnRange(0, 7, [for_counting(posts[7])], 1)]
    await harness.stage.process(Batch(1, fetched, {0: 0}, own))
    assert harness.metric("emostream_posts_duplicate_total") == 1
    assert harness.metric("emostream_posts_counted_total") == 7
    assert harness.metric("emostream_ids_forgotten_total") == 2, "rss:1 and rss:2: two ids are remembered"
    harness.store.generations[1] = harness.store
    harness.store.generation = 1
    after = message(classified(8).to_json(), offset=8, topic="posts.classified", key=b"rss:1")
    await harness.stage.process(Batch(1, [after], {0: 8}))
    assert harness.metric("emostream_posts_duplicate_total") == 2


OF_ANOTHER_TOPIC = replace(classified(9), origin=Origin("other", 0, 9)).to_json()


@pytest.mark.parametrize("foreign", [b"{}", classified(9, partition=1).to_json(), OF_ANOTHER_TOPIC])
async def test_a_record_that_is_no_classified_post_of_its_partition_is_dead_lettered(foreign: bytes) -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0), foreign, classified(1)))
    (letter,) = [DeadPost.from_json(record.value) for record in harness.out.to("posts.dead")]
    assert letter.reason is DeadReason.INVALID_RECORD
    assert (letter.origin.topic, letter.origin.offset, letter.key) == ("posts.classified", 1, "key")
    assert harness.store.stored[0, 0].offset == 3
    assert harness.metric("emostream_posts_counted_total") == 2


async def test_repeated_posts_are_counted_as_such() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0), classified(1), classified(0), classified(1), classified(2)))
    assert harness.metric("emostream_posts_counted_total") == 3
    assert harness.metric("emostream_posts_repeated_total") == 2


async def test_a_late_post_is_written_once_for_each_size_that_it_missed() -> None:
    harness = Harness(window_sizes="1m:6m,5m:6m")
    await harness.stage.process(batch(classified(0, at=NOON_MS), classified(1, at=NOON_MS - 700_000, keywords=["tea"])))
    late = [LatePost.from_json(record.value) for record in harness.out.to("posts.late")]
    assert [(record.id, record.size, record.origin.offset) for record in late] == [("0-1", 60, 1), ("0-1", 300, 1)]
    assert late[0].start == from_ms(NOON_MS - 720_000)
    assert late[0].latest_event_time == from_ms(NOON_MS)
    assert [record.key for record in harness.out.to("posts.late")] == [b"0-1"] * 2
    assert not any(key.keyword == "tea" for _, update in harness.store.applied for key in update.windows)
    assert harness.metric("emostream_posts_too_late_total", size="60") == 1


@pytest.mark.parametrize("topic", ["posts.dead", "posts.late"])
async def test_nothing_is_applied_before_dead_letters_and_late_posts_are_confirmed(topic: str) -> None:
    harness = Harness(out=RecordingDeliverer(fails_on=topic), window_sizes="1m:6m")
    with pytest.raises(ConnectorError):
        await harness.stage.process(batch(classified(0), classified(1, at=NOON_MS - 700_000), b"{}"))
    assert harness.store.applied == []


async def test_windows_of_all_sizes() -> None:
    harness = Harness(FakeStore(shards=1), window_sizes="1m:2d,1h:2d")
    await harness.stage.process(batch(classified(0, at=NOON_MS + 90_000)))
    ((_, update),) = harness.store.applied
    assert set(update.windows) == {WindowKey("*", 60, NOON_MS + 60_000), WindowKey("*", 3_600, NOON_MS)}


async def test_rebuilt_tables_continue_at_their_own_positions() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0), classified(1)))
    rebuilt = harness.store.generations[1] = FakeStore()
    rebuilt.stored = {(shard, 0): Position(3, 2, NOON_MS + 5) for shard in range(2)}
    harness.store.generation = 1
    await harness.stage.process(batch(classified(2), classified(3), start=2))
    assert harness.store.stored[0, 0].offset == 2, "the old tables are left alone"
    assert rebuilt.stored == {(shard, 0): Position(4, 3, NOON_MS + 5) for shard in range(2)}
    assert {update.windows[key].fields["n"] for _, update in rebuilt.applied for key in update.windows} == {1}


async def test_rebuilt_tables_with_lower_positions_ask_for_a_rewind() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0), classified(1)))
    rebuilt = harness.store.generations[1] = FakeStore()
    rebuilt.stored = {(shard, 0): Position(1, 0, NOON_MS) for shard in range(2)}
    harness.store.generation = 1
    with pytest.raises(PositionMismatchError, match="is read from offset 2, but a shard is at 1"):
        await harness.stage.process(batch(classified(2), start=2))
    assert rebuilt.applied == []


class SwitchedDuringApply(FakeStore):
    """The current generation changes while a batch is applied."""

    async def apply(self, shard: int, update: ShardUpdate) -> tuple[int, int] | None:
        self.generations[0].generation = 1
        return await super().apply(shard, update)


async def test_one_batch_goes_to_one_generation() -> None:
    harness = Harness(SwitchedDuringApply())
    rebuilt = harness.store.generations[1] = FakeStore()
    await harness.stage.process(batch(classified(0, keywords=["tea"])))
    assert {shard for shard, _ in harness.store.applied} == {0, 1}
    assert rebuilt.applied == []


async def test_a_batch_that_cannot_be_read_is_dead_lettered_and_every_shard_passes_it() -> None:
    harness = Harness()
    await harness.stage.process(batch(classified(0)))
    unreadable = UnreadableBatch("posts.classified", 0, 1, 31, "it is damaged")
    await harness.stage.process(Batch(1, [], {0: 1}, unreadable=[unreadable]))
    assert {position.offset for position in harness.store.stored.values()} == {31}
    letter = DeadPost.from_json(harness.out.to("posts.dead")[0].value)
    assert (letter.reason, letter.origin.offset, letter.last_offset) == (DeadReason.UNREADABLE_BATCH, 1, 30)
    assert harness.metric("emostream_unreadable_offsets_total", topic="posts.classified") == 30
    assert harness.metric("emostream_posts_unfetched_total") == 0
    await harness.stage.process(batch(classified(1), start=31))
    assert harness.metric("emostream_posts_counted_total") == 2
