"""Which sources a fetch searches, what it asks them, and when it may ask again."""

import logging
from pathlib import Path

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.bluesky import BlueskySource
from connectors.sources.protocol import RateLimitError
from streams.errors import InputError
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.sources.config import SourceSpec
from streams.query.fetch_networks import Network, open_networks, query_of
from tests.fetch_support import NO_KEYWORDS, networks_of


@pytest.mark.parametrize(
    ("kind", "keyword", "query"),
    [
        ("bluesky", "coffee", "coffee"),
        ("bluesky", "#coffee", "#coffee"),
        ("bluesky", "iced coffee", '"iced coffee"'),
        ("reddit", "or", '"or"'),
        ("reddit", "-rain", '"-rain"'),
        ("reddit", "title:rain", '"title:rain"'),
        ("bluesky", 'say "hi\\', '"say hi"'),
        ("hackernews", "C++ or Rust", "C++ or Rust"),
        ("x", "iced coffee", '"iced coffee" OR #icedcoffee'),
        ("x", "-is:retweet", '"-is:retweet"'),
        ("x", "@bob", "@bob"),
    ],
)
def test_a_keyword_is_no_operator_of_a_search(kind: str, keyword: str, query: str) -> None:
    assert query_of(kind, keyword) == query


@pytest.mark.parametrize("kind", ["bluesky", "x"])
def test_a_keyword_without_anything_to_search_for(kind: str) -> None:
    with pytest.raises(RejectedError):
        query_of(kind, '""')


async def test_sources_without_a_search_are_left_out_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    toml = """
        [bluesky]
        [news]
        source = 'rss'
        endpoint = 'https://example.com/feed'
        [hackernews]
        keywords = ['tea']
        [hook]
        source = 'webhook'
        [mastodon]
        endpoint = 'https://mastodon.example'
    """
    networks = networks_of(tmp_path, toml)
    assert [(network.name, network.kind) for network in networks] == [
        ("bluesky", "bluesky"),
        ("hackernews", "hackernews"),
    ]
    (line,) = [record.message for record in caplog.records]
    assert line.endswith("sources without a search are not searched for answers: news, hook, mastodon")
    # A source with keywords of its own finds only these, as `emostream ingest` does.
    assert networks[0].others() is NO_KEYWORDS
    own = networks[1].others()
    assert own is not None
    assert own.keywords == ("tea",)
    for network in networks:
        await network.close()


def test_a_file_without_a_network_that_can_be_searched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no source that can be searched"):
        networks_of(tmp_path, "[mastodon]\nendpoint = 'https://mastodon.example'\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        open_networks(tmp_path / "none.toml", lambda: Matcher([]))


@pytest.mark.parametrize("value", ["7", "'ftp://example.com'", "'https://me:secret@example.com'"])
def test_a_search_endpoint_that_is_no_address(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"source 'hackernews': (search_endpoint|an endpoint)") as caught:
        networks_of(tmp_path, f"[hackernews]\nsearch_endpoint = {value}\n")
    assert "secret" not in str(caught.value)


def test_a_network_is_asked_again_when_its_time_is_over() -> None:
    now = [100.0]
    network = Network(SourceSpec("test", "bluesky"), BlueskySource(), lambda: None, clock=lambda: now[0])
    assert network.wait_s == 0
    network.failed(UnavailableError("gone"))
    assert network.wait_s == 0
    network.failed(RateLimitError("wait", 3_600.0))
    # It is also longer than the 15 minutes after which a stream asks again.
    assert 3_600 <= network.wait_s <= 3_600 * 1.1
    now[0] += 3_599
    assert network.wait_s > 0
    now[0] += 362
    assert network.wait_s == 0
    network.failed(RateLimitError("wait"))
    assert network.wait_s > 0
