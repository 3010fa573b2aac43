"""The live source of the demo: its network has the posts of the file."""

from __future__ import annotations

from click.testing import CliRunner

from connectors.sources.events import SourcePost
from connectors.sources.shapes.jetstream import event_of as post_of_event
from streams.cli.demo import demo
from streams.ops.demo.live import event_of, keywords_of
from streams.records import Keywords, Post, Timestamp
from tests.source_world import START

POSTS = [
    Post("a", "so happy", Timestamp.of(START), "demo", keywords=Keywords(("coffee", "new york")), lang="en"),
    Post("b", "so sad", Timestamp.of(START), "demo", keywords=Keywords(("coffee", "\u0301x"))),
]


def test_a_post_keeps_its_text_its_time_its_language_and_its_keywords() -> None:
    time_us = int(START.timestamp() * 1_000_000) + 5_000_000
    found = [post_of_event(event_of(post, number, time_us)) for number, post in enumerate(POSTS)]
    assert all(isinstance(post, SourcePost) for post in found)
    assert [(post.text, post.created_at, post.lang) for post in found if isinstance(post, SourcePost)] == [
        ("so happy", START, "en"),
        ("so sad", START, None),
    ]
    assert isinstance(found[0], SourcePost)
    assert found[0].keywords == ("coffee", "new york")
    assert len({post.id for post in found if isinstance(post, SourcePost)}) == 2


def test_its_keywords_are_those_that_can_be_in_the_live_set() -> None:
    assert keywords_of(POSTS) == ["coffee", "new york"]


def test_an_unknown_source_is_a_wrong_option() -> None:
    result = CliRunner().invoke(demo, ["--source", "firehose"])
    assert result.exit_code == 2
    assert "'firehose' is not 'jetstream'" in result.output
