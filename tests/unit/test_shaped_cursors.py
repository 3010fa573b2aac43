"""The cursors of topics."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError
from streams.ingest.shaped import offsets
from streams.ingest.shaped.offsets import Place, TopicCursor


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2**62), st.integers(0, 2**40)), max_size=20),
    st.one_of(st.none(), st.text(max_size=20)),
)
def test_the_cursor_of_a_topic_tells_every_place(moves: list[tuple[int, int, int]], topic_id: str | None) -> None:
    cursor, wanted = TopicCursor("a-1", topic_id, {}), {}
    for partition, offset, time_ms in moves:
        wanted[partition] = Place(offset, time_ms)
        assert cursor.set(partition, wanted[partition]) == cursor.text
    found = offsets.read_cursor(cursor.text)
    assert (found.topic, found.topic_id, found.places) == ("a-1", topic_id, wanted)


def test_the_time_of_a_place() -> None:
    assert Place(1, 1_500).time == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert Place(1).time is None


def test_a_cursor_belongs_to_one_topic() -> None:
    found = offsets.read_cursor(TopicCursor("tweets", "x", {}).text)
    found.check("tweets", "x")
    found.check("tweets", None)
    with pytest.raises(RejectedError, match="one of the topic tweets, and not of toots"):
        found.check("toots", "x")
    with pytest.raises(RejectedError, match="was deleted and made again"):
        found.check("tweets", "y")


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "{}", '{"v":2}'),
        *('{"v":1,"topic":"t","id":null,"next":{"0":[-1,0]}}', '{"v":1,"topic":1,"id":"","next":{}}'),
    ],
)
def test_what_is_no_cursor_of_a_topic(text: str) -> None:
    with pytest.raises(RejectedError, match="cursor"):
        offsets.read_cursor(text)
