"""The source of feeds, against a local server whose feeds move, fail and disappear."""

from __future__ import annotations

import gc

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import SkipReason
from connectors.sources.protocol import RateLimitError
from tests.source_servers.feed_reading import READ, UNCHANGED, page, source
from tests.source_servers.feeds import FeedServer
from tests.source_servers.http import Reply
from tests.source_servers.reading import reading


async def test_a_feed_that_moved_is_fetched_at_its_new_address(caplog: pytest.LogCaptureFixture) -> None:
    async with FeedServer() as server:
        new = server.put("/new", page(1))
        url = server.put("/old", b"", {"Location": f"{new}?key=secret"}, 301)
        async with reading(source(url)) as found:
            await found.detail(READ)
            await found.detail(UNCHANGED)
            assert server.paths().count("/old") == 1
            # The new address fails for good: the old one is tried again.
            del server.documents["/new"]
            server.put("/old", page(2, 1))
            assert isinstance(await found.error(), UnavailableError)
        async with reading(source(url), found.cursor) as again:
            await again.texts("entry 2")
    assert again.post_texts == ["entry 2"]
    # An address may hold a secret, and the cursor is in Kafka.
    assert "secret" not in "".join(one.cursor or "" for one in found.events)
    assert caplog.text.count("has moved for good; change its address") == 1
    assert "secret" not in caplog.text


async def test_a_feed_that_moved_for_now_is_fetched_at_its_own_address() -> None:
    async with FeedServer() as server:
        new = server.put("/new", page(1))
        url = server.put("/old", b"", {"Location": new}, 302)
        async with reading(source(url)) as found:
            await found.detail(UNCHANGED)
    assert server.paths()[:4] == ["/old", "/new"] * 2


async def test_a_feed_that_is_gone_is_not_fetched_again() -> None:
    async with FeedServer() as server:
        gone, good = server.put("/gone", b"", status=410), server.put("/good", page(1))
        async with reading(source(gone, good)) as found:
            await found.detail(UNCHANGED, 3)
        assert server.paths().count("/gone") == 1
        async with reading(source(gone), found.cursor) as again:
            assert "gone" in str(await again.error())
    assert len(found.reasons(SkipReason.UNREADABLE)) == 1


async def test_a_feed_that_fails_does_not_stop_the_others() -> None:
    async with FeedServer() as server:
        bad, good = server.put("/bad", b"", status=500), server.put("/good", page(1))
        html = server.put("/page", b"<html><body>Hello</body></html>", {"Content-Type": "text/html"})
        large = server.put("/large", b"x" * 30_000)
        async with reading(source(bad, html, large, good, max_bytes=20_000)) as found:
            await found.detail(READ)
            server.put("/good", page(2, 1))
            await found.texts("entry 2")
            await found.detail("answered 500", 2)
            await found.detail("neither RSS nor Atom", 2)
            server.put("/bad", page(5))
            await found.detail(READ, 3)
    assert found.reasons(SkipReason.TOO_LARGE)


async def test_the_failures_of_a_feed_keep_no_memory() -> None:
    """The traceback of an error holds the document that could not be read."""
    async with FeedServer() as server:
        page_of_html, good = server.put("/page", b"<html></html>"), server.put("/good", page(1))
        async with reading(source(page_of_html, good)) as found:
            await found.detail("neither RSS nor Atom", 6)
            gc.collect()
            errors = [one for one in gc.get_objects() if isinstance(one, UnavailableError)]
    assert sum("neither RSS nor Atom" in str(error) for error in errors) <= 2


async def test_an_etag_that_cannot_be_sent_is_not_sent() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1), {"ETag": '"\u00e9"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"})
        async with reading(source(url)) as found:
            await found.detail(READ, 2)
    assert "if-none-match" not in server.requests[1].headers
    assert server.requests[1].headers["if-modified-since"] == "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("reply", "kind", "wait"),
    [
        (Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0),
        (Reply(429), RateLimitError, None),
        (Reply(503, headers={"Retry-After": "7"}), RateLimitError, 7.0),
        (Reply(500), UnavailableError, None),
        (Reply(200, page(1), cut=50), UnavailableError, None),
        (Reply(200, b"nothing"), UnavailableError, None),
        (Reply(404), RejectedError, None),
        (Reply(200, b"x", headers={"Content-Encoding": "gzip"}), UnavailableError, None),
    ],
)
async def test_the_failure_of_the_only_feed_is_raised(reply: Reply, kind: type[Exception], wait: float | None) -> None:
    async with FeedServer() as server:
        url = server.put("/feed?key=secret", page(1))
        server.fail("/feed", reply)
        async with reading(source(url)) as found:
            error = await found.error()
        assert isinstance(error, kind)
        assert getattr(error, "retry_after_s", None) == wait
        assert "secret" not in str(error)
        assert "secret" not in (found.cursor or "")


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1))
        async with reading(source(url, allow_private=False)) as found:
            assert isinstance(await found.error(), RejectedError)
    assert server.requests == []


async def test_a_feed_that_was_read_before_is_missing_for_now_only() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1))
        async with reading(source(url)) as found:
            await found.detail(READ)
            del server.documents["/feed"]
            assert type(await found.error()) is UnavailableError
