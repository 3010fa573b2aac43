"""The parts of the source of Reddit without a network: items, heads and cursors, options."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import RejectedError
from connectors.sources.events import Positioned, SourceGap, SourcePost, SourceSkipped
from connectors.sources.reddit import Credentials, RedditOptions
from connectors.sources.reddit.heads import Head, first_head, read_cursor, write_cursor
from connectors.sources.reddit.items import Place, item_of
from streams.errors import InputError
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.kinds import REDDIT_VARIABLES, opener_of
from streams.redact import redact
from tests.source_world import Network, World, at, source_post

START = 1_772_366_400


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "[]",
        '{"v":2,"listings":{}}',
        '{"v":1,"listings":[1]}',
        '{"v":1,"listings":{"r/coffee/comments":{}}}',
        '{"v":1,"listings":{"r/coffee/comments":{"floor":[1,true],"kept":[]}}}',
        '{"v":1,"listings":{"r/coffee/comments":{"floor":[1,2],"kept":[[1]]}}}',
        '{"v":1,"listings":{"r/coffee/comments":{"floor":[1,-2],"kept":[]}}}',
    ],
)
def test_a_wrong_cursor_is_rejected(cursor: str) -> None:
    with pytest.raises(RejectedError, match="the cursor"):
        read_cursor(cursor, ["r/coffee/comments"])


PLACES = st.builds(Place, st.integers(0, 10**9), st.integers(0, 36**12))


@given(st.lists(PLACES, unique=True, max_size=30), st.lists(PLACES, max_size=30))
def test_a_cursor_is_read_as_it_was_written(listed: list[Place], later: list[Place]) -> None:
    head = first_head(listed, datetime.fromtimestamp(START, UTC))
    for place in later:
        head.add(place)
    (again,) = read_cursor(write_cursor({"r/a/new": head}), ["r/a/new", "r/b/new"]).values()
    assert (again.floor, again.at, again.to_json()) == (head.floor, head.at, head.to_json())
    for place in (*listed, *later):
        assert place < again.floor or again.has(place)


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_any_json_is_an_event(value: object) -> None:
    data = {"id": value, "body": value, "author": value, "created_utc": value, "subreddit": value}
    now = datetime.now(UTC)
    for child in (value, {"kind": value, "data": value}, {"kind": "t1", "data": data}):
        for one in (child, {"kind": "t1", "data": {**data, "id": "abc", "created_utc": 5, "body": "x"}}):
            assert isinstance(item_of(one, received_at=now).event, SourceSkipped | SourcePost)


def test_a_head_keeps_the_newest_items() -> None:
    head = Head(Place(5, 0))
    for seconds in (7, 3, 20, *range(8, 20), 7):
        head.add(Place(seconds, 0))
    assert (head.floor, head.at) == (Place(11, 0), datetime.fromtimestamp(20, UTC))
    assert [head.has(Place(seconds, 0)) for seconds in (3, 10, 11, 20)] == [False, False, True, True]


def test_options() -> None:
    options = RedditOptions(
        subreddits=("r/Coffee", "coffee", "tea+Cafe"),
        credentials=Credentials("id", "secret"),
        user_agent="python:test:1",
    )
    names = [listing.name for listing in options.listings]
    assert names == ["r/coffee/comments", "r/coffee/new", "r/tea+cafe/comments", "r/tea+cafe/new"]
    assert "secret" not in repr(options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "name its subreddits in sources.toml"),
        ({"subreddits": ["a/b"]}, "subreddits is a list of 1 to 100 names"),
        ({"subreddits": [f"tea{number}" for number in range(101)]}, "subreddits is a list of 1 to 100 names"),
        ({"subreddits": 5}, "subreddits is a list of strings"),
        ({"subreddits": ["tea"], "kinds": ["posts"]}, "the kinds of reddit are comments and submissions"),
        ({"subreddits": ["tea"], "interval_s": 0}, "interval_s is a number above 0"),
    ],
)
def test_options_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, options: dict[str, object], problem: str) -> None:
    monkeypatch.setenv("REDDIT_CLIENT_ID", "id")
    monkeypatch.setenv("REDDIT_CLIENT_SECRET", "a-secret-of-reddit")
    with pytest.raises(InputError, match=problem):
        opener_of(SourceSpec("reddit", "reddit", options=options))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            (None, None, None, None),
            "set REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET; .* https://www.reddit.com/prefs/apps",
        ),
        (("id", "", None, None), "set REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET"),
        (("id:", "a-secret-of-reddit", None, None), "have letters, digits, '-' and '_' only"),
        (("id", "a-secret-of-reddit", "m\r\ne", None), "have letters, digits, '-' and '_' only"),
        (("id", "a-secret-of-reddit", None, "a password of reddit"), "set REDDIT_USERNAME too"),
    ],
)
def test_credentials_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str | None, ...], problem: str
) -> None:
    for name, value in zip(REDDIT_VARIABLES, values, strict=True):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=problem) as caught:
        opener_of(SourceSpec("reddit", "reddit", options={"subreddits": ["tea"]}))
    assert "a-secret" not in str(caught.value)
    for value in filter(None, (values[1], values[3])):
        assert value not in redact(f"failed: {value}")


async def test_a_gap_of_one_listing_begins_there_also_if_another_listing_has_later_posts() -> None:
    gap = SourceGap(since=at(1), until=at(100), reason="lost", partial=True)
    world = World()
    network = Network([source_post(0), Positioned(source_post(50), "2", at(50)), gap], ends=True)
    assert await world.pump().run(network, asyncio.Event())
    assert [(one.since, one.until) for one in world.gaps] == [(at(1), at(100))]
