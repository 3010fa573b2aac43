"""The position and the cursor of the source of X."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connectors.errors import RejectedError
from connectors.sources.events import SkipReason, SourceSkipped
from connectors.sources.x import listening as stream
from connectors.sources.x.cursor import MOST_HOLES, Hole, Position, Step, id_at, time_ms, time_of
from connectors.sources.x.listening import now_ms
from tests.source_servers.x import XServer
from tests.source_servers.x_reading import failed, listening


async def test_the_cursor_follows_posts_and_keep_alives(monkeypatch: pytest.MonkeyPatch) -> None:
    def newest() -> int:
        return Position.read(found.cursor or "", now_ms()).newest

    monkeypatch.setattr(stream, "_WAITED_S", 0.05)
    async with XServer() as server, listening(server) as found:
        before = newest()
        await found.until(lambda: now_ms() > time_ms(before) + 300)
        server.beat()
        await found.detail("keep-alive", 2)
        beat = newest()
        number = int(server.post("coffee"))
        await found.texts("coffee")
        assert before < beat <= newest() == number
        far = id_at(now_ms() + 3_600_000)
        server.posts[far] = server.posts[number] | {"id": str(far), "edit_history_tweet_ids": [str(far)]}
        server.send(str(far))
        await found.until(lambda: len(found.posts) == 2)
        assert newest() == number


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "17",
        "[]",
        "{}",
        '{"v":2,"id":"1"}',
        '{"v":1,"id":1}',
        '{"v":1,"id":"x"}',
        '{"v":1,"id":"99999999999999999999"}',
        '{"v":1,"id":"9223372036854775807"}',
        '{"v":1,"id":"1","holes":[["1"]]}',
        '{"v":1,"id":"1","holes":[["1","x"]]}',
        '{"v":1,"id":"1","holes":7}',
        '{"v":1,"id":"9","holes":[["2","1"]]}',
    ],
)
async def test_a_wrong_cursor_is_rejected(cursor: str) -> None:
    async with XServer() as server:
        assert isinstance(await failed(server, cursor=cursor), RejectedError)
        assert server.requests == []


NOTHING = SourceSkipped(reason=SkipReason.NOT_A_POST)


def test_a_position_with_many_holes_keeps_their_ends() -> None:
    position = Position(id_at(1_700_000_000_000))
    for _ in range(MOST_HOLES + 5):
        begin = position.newest
        position.take(Step(event=NOTHING, opened=Hole(begin + 10, begin + 20), newest=begin + 20), now_ms())
    read = Position.read(position.text(), now_ms())
    assert read == position
    assert len(read.holes) == MOST_HOLES
    assert read.holes[0] == Hole(id_at(1_700_000_000_000) + 10, read.holes[0].until)
    assert read.holes[-1].until == read.newest


def test_a_hole_shrinks_as_it_is_fetched() -> None:
    position = Position(100, [Hole(10, 20), Hole(30, 40)])
    position.take(Step(event=NOTHING, fetched=(Hole(30, 40), 35)), now_ms())
    assert position.holes == [Hole(10, 20), Hole(35, 40)]
    position.take(Step(event=NOTHING, fetched=(Hole(10, 20), 20)), now_ms())
    assert position.holes == [Hole(35, 40)]


def test_an_id_has_its_time() -> None:
    now = now_ms()
    assert time_ms(id_at(now)) == now
    # A post of that time.
    assert time_of(1_541_815_603_606_036_480) == datetime(2022, 6, 28, 16, 7, 40, 105_000, tzinfo=UTC)
