"""Feeds are parsed in a process of its own, which a hostile document cannot keep busy for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import psutil
import pytest

from connectors.sources.rss import parsing
from connectors.sources.rss.parse import NotAFeedError
from connectors.sources.rss.parsing import FeedParser
from tests.source_servers.feeds import item, rss

URL = "https://example.org/feed"
SLOW = b"<rss><channel>" + b"<a>" * 200_000
"""It takes feedparser minutes."""


async def titles(parser: FeedParser, document: bytes) -> list[str]:
    return [entry.text for entry in (await parser.parse(document, {}, URL)).entries]


def parsers() -> list[psutil.Process]:
    """The processes that parse. Other tests may have left processes of theirs, such as a fork server."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if parsing.__name__ in child.cmdline():
                found.append(child)
    return found


@pytest.fixture
async def parser() -> AsyncIterator[FeedParser]:
    opened = FeedParser()
    yield opened
    await opened.close()


async def test_documents_are_parsed_one_after_the_other_in_one_process(parser: FeedParser) -> None:
    assert await titles(parser, rss([item("tea")])) == ["tea"]
    (child,) = parsers()
    assert await titles(parser, rss([item("\U0001f375 coffee")])) == ["\U0001f375 coffee"]
    with pytest.raises(NotAFeedError, match="is neither RSS nor Atom"):
        await parser.parse(b"<html></html>", {}, URL)
    assert parsers() == [child]
    await parser.close()
    await asyncio.to_thread(child.wait, 60)


async def test_a_document_that_takes_too_long_is_no_feed_and_the_next_one_is_read() -> None:
    parser = FeedParser(limit_s=0.2)
    with pytest.raises(NotAFeedError, match=r"takes more than 0\.2 s to be parsed"):
        await parser.parse(SLOW, {}, URL)
    assert await titles(parser, rss([item("tea")])) == ["tea"]
    await parser.close()


async def test_a_parser_that_is_killed_is_started_again(parser: FeedParser) -> None:
    assert await titles(parser, rss([item("tea")])) == ["tea"]
    (child,) = parsers()
    child.kill()
    with pytest.raises(NotAFeedError, match=r"ended its parser \(exit code -9\)"):
        await parser.parse(rss([item("tea")]), {}, URL)
    assert await titles(parser, rss([item("coffee")])) == ["coffee"]


async def test_a_stop_does_not_wait_for_a_document(parser: FeedParser) -> None:
    stopped = asyncio.ensure_future(parser.parse(SLOW, {}, URL))
    while not parsers():  # noqa: ASYNC110 - a process that starts has no event
        await asyncio.sleep(0.01)
    (child,) = parsers()
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    await asyncio.to_thread(child.wait, 60)
