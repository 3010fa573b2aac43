"""What becomes of the deletions that a network announces, and of the authors of its posts."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.sources.events import Positioned, SourceDeletion
from streams.ingest.authors import Authors
from streams.ingest.sources.pump import MOST_BUFFERED
from streams.records import DeletionRecord, RecordError
from tests.source_world import Network, World, at, source_post

KEYED = Authors("hash", "0123456789abcdef", "fedcba9876543210")


async def run(world: World, events: list[Any], authors: Authors) -> None:
    await world.pump(authors=authors).run(Network(events, ends=True), asyncio.Event())


async def test_a_deleted_post_is_named_by_the_id_that_posts_have() -> None:
    world = World()
    long_id = "x" * 2_000
    events = [source_post(1), SourceDeletion(id="1"), source_post(2, id=long_id), SourceDeletion(id=long_id)]
    await run(world, [*events, SourceDeletion(id="a\0b"), source_post(3, id="a\0b")], Authors("omit"))
    assert [record.id for record in world.deletions] == world.ids()
    assert {(record.source, record.reason) for record in world.deletions} == {("test", "network")}
    assert world.deletions[0].at == at(1), "the time of the network"
    assert world.deletions[0].key == b"test:1"
    assert world.metric("emostream_source_deletions_total") == 3
    assert world.metric("emostream_source_posts_total") == 3


async def test_a_deleted_account_is_named_by_the_hash_that_its_posts_have() -> None:
    world = World()
    await run(world, [source_post(1, author="ann"), SourceDeletion(author="ann")], KEYED)
    (post,) = world.posts()
    assert post.author is not None
    assert "ann" not in post.author
    assert [record.author for record in world.deletions] == list(KEYED.erasable("test", "ann"))
    assert world.deletions[0].author == post.author
    assert world.deletions[0].source == post.source
    assert b"ann" not in b"".join(record.to_json() for record in world.deletions)
    assert world.metric("emostream_source_deletions_total") == 1


@pytest.mark.parametrize("authors", [Authors("hash"), Authors("omit")], ids=["no key", "omit"])
async def test_an_account_whose_posts_have_no_author_cannot_be_found(authors: Authors) -> None:
    world = World()
    await run(world, [source_post(1, author="ann"), SourceDeletion(author="ann"), SourceDeletion(id="1")], authors)
    assert world.posts()[0].author is None
    assert [record.id for record in world.deletions] == ["test:1"]
    assert world.metric("emostream_source_deletions_unmatched_total") == 1


async def test_a_deletion_without_a_time_was_now() -> None:
    world = World()
    await run(world, [Positioned(SourceDeletion(id="1"), "1")], KEYED)
    assert abs(datetime.now(UTC) - world.deletions[0].at) < timedelta(hours=1)


async def test_no_position_is_stored_before_its_deletions_are_confirmed() -> None:
    world = World()
    many = MOST_BUFFERED + 500

    def check(position: object) -> None:
        assert len(world.deletions) >= int(getattr(position, "cursor", None) or 0)

    world.on_save = check
    sizes: list[int] = []
    world.on_deliver = lambda records: sizes.append(len(records))
    await run(world, [SourceDeletion(id=str(number)) for number in range(many)], KEYED)
    assert len(world.deletions) == many
    assert max(sizes) <= MOST_BUFFERED
    assert world.positions[-1].cursor == str(many)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "names neither a post nor an account"),
        ({"id": "1", "author": "a", "source": "s"}, "names neither a post nor an account, or both"),
        ({"author": "a"}, "source: is missing"),
        ({"id": "a\0b"}, "NUL"),
        ({"id": ""}, "id: "),
        ({"id": "x" * 513}, "id: "),
        ({"id": "1", "reason": "boredom"}, "reason: "),
        ({"id": "1", "at": "yesterday"}, "at: "),
    ],
)
def test_a_record_that_does_not_say_what_was_deleted_is_refused(fields: dict[str, Any], problem: str) -> None:
    record = {"at": "2026-03-01T12:00:00Z", "reason": "operator", **fields}
    with pytest.raises(RecordError, match=problem):
        DeletionRecord.from_json(json.dumps(record).encode())
