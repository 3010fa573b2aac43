"""The source of Mastodon, against a local server with its timelines and streams."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import SkipReason
from connectors.sources.mastodon import MastodonOptions, MastodonSource
from connectors.sources.net import PrivateAddressError
from connectors.sources.protocol import RateLimitError
from tests.source_servers.http import Reply
from tests.source_servers.mastodon import START, TOKEN, MastodonServer
from tests.source_servers.mastodon_reading import of_server, source
from tests.source_servers.reading import reading


async def test_posts_edits_and_deletions_come_through_the_stream() -> None:
    async with MastodonServer() as server, reading(source(server)) as found:
        await found.detail("heartbeat")
        number = server.post("<p>Tea &amp; cake</p>", tags=("Tea",))
        server.edit(number, "<p>Tea &amp; pie</p>")
        server.delete(number)
        await found.until(lambda: bool(found.deletions))
    first, edited = found.posts
    assert (first.text, first.edited, first.keywords) == ("Tea & cake", False, ("Tea",))
    assert (edited.text, edited.edited) == ("Tea & pie", True)
    assert [first.id, edited.id, *found.deletions] == [of_server(number)] * 3
    assert (first.author, first.lang, first.created_at) == ("a@m.example", "en", START + timedelta(seconds=1))


async def test_an_edit_has_the_id_and_the_time_of_the_post() -> None:
    """A case from bug reports: markup must not reach the text, and an edit must not count a second time."""
    content = '<p>Love it<br>really &amp; truly <a href="https://m.example/tags/cats">#<span>cats</span></a></p>'
    async with MastodonServer() as server, reading(source(server)) as found:
        await found.detail("heartbeat")
        number = server.post("first", tags=("cats",))
        server.edit(number, content)
        await found.until(lambda: len(found.posts) == 2)
    first, edited = found.posts
    assert edited.text == "Love it\nreally & truly #cats"
    assert (edited.id, edited.created_at, edited.keywords) == (first.id, first.created_at, ("cats",))
    assert (first.edited, edited.edited) == (False, True)


async def test_a_post_that_a_page_had_already_is_not_repeated() -> None:
    async with MastodonServer() as server:
        # Between the beginning of the stream and the page, so that both have the post.
        server.on_listening = lambda: server.edit(server.post("first"), "edited")
        async with reading(source(server)) as found:
            await found.detail("a page had the post already", 2)
            await found.detail("heartbeat")
    assert [(post.text, post.edited) for post in found.posts] == [("edited", False)]


async def test_it_starts_now() -> None:
    async with MastodonServer() as server:
        server.post("long ago")
        async with reading(source(server)) as found:
            await found.detail("heartbeat")
            server.post("new")
            await found.texts("new")
    assert found.post_texts == ["new"]


async def test_a_post_before_the_server_listens_is_fetched() -> None:
    async with MastodonServer() as server:
        server.subscribes_late = True
        async with reading(source(server)) as found:
            await found.detail("heartbeat")
            server.beat()
            await found.texts("between")
    assert found.post_texts == ["between"]


async def test_events_that_are_no_posts_are_skipped_with_a_reason() -> None:
    async with MastodonServer() as server, reading(source(server, max_bytes=20_000)) as found:
        await found.detail("heartbeat")
        server.send_raw(b"event: update\ndata: {broken\n\n")
        server.send_raw(b"event: update\ndata: [1]\n\n")
        server.send_raw(b'event: update\ndata: {"id": "5"}\n\n')
        server.send_raw(b"event: update\ndata: " + b"[" * 15_000 + b"\n\n")
        server.send_raw(b"event: delete\ndata:  \n\n")
        server.send_raw(b"event: update\ndata: " + b"x" * 30_000 + b"\n\n")
        server.send_raw(b"event: announcement\ndata: {}\n\nevent: filters_changed\ndata: undefined\n\n")
        server.send_raw(b"event: update\ndata\xff: 1\n\n\n\ndata: no kind\n\n")
        server.beat()
        server.post("good", visibility="direct")
        server.post("good")
        await found.texts("good")
    assert len(found.reasons(SkipReason.UNREADABLE)) == 5
    assert found.reasons(SkipReason.TOO_LARGE) == ["an event is too large"]
    assert found.reasons(SkipReason.NOT_A_POST).count("an event of another kind") == 3
    assert found.reasons(SkipReason.NOT_A_POST).count("a post that is not public") == 1
    assert found.post_texts == ["good"]


async def test_a_stream_that_ends_or_is_silent_is_an_error() -> None:
    async with MastodonServer() as server:
        async with reading(source(server)) as found:
            await found.detail("heartbeat")
            server.end_streams()
            assert "ended" in str(await found.error())
        async with reading(source(server, heartbeat_s=0.1)) as found:
            assert "was silent for 0.1 s" in str(await found.error())


@pytest.mark.parametrize(
    ("path", "reply", "kind", "wait"),
    [
        ("/api/v1/timelines", Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0),
        ("/api/v1/timelines", Reply(429), RateLimitError, None),
        ("/api/v1/streaming", Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0),
        ("/api/v1/timelines", Reply(503), UnavailableError, None),
        ("/api/v1/streaming", Reply(502), UnavailableError, None),
        ("/api/v1/timelines", Reply(200, b"[" * 9), UnavailableError, None),
        ("/api/v1/timelines", Reply(200, b'[{"id": "1", ', cut=8), UnavailableError, None),
        ("/api/v1/timelines", Reply(200, b"{}"), UnavailableError, None),
        ("/api/v1/timelines", Reply(404), RejectedError, None),
        ("/api/v1/timelines", Reply(401), RejectedError, None),
    ],
)
async def test_failures_have_their_class(path: str, reply: Reply, kind: type[Exception], wait: float | None) -> None:
    async with MastodonServer() as server:
        server.fail(path, reply)
        async with reading(source(server)) as found:
            error = await found.error()
    assert type(error) is kind or isinstance(error, kind)
    assert getattr(error, "retry_after_s", None) == wait
    assert TOKEN not in str(error)


async def test_the_reset_of_the_limit_says_how_long_to_wait() -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)
    async with MastodonServer() as server:
        server.fail("/api/v1/timelines", Reply(429, headers={"X-RateLimit-Reset": at.isoformat()}))
        async with reading(source(server)) as found:
            error = await found.error()
    assert isinstance(error, RateLimitError)
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 100


async def test_hashtags_have_a_position_each() -> None:
    async with MastodonServer() as server:
        tags = {"tags": ("#Cats", "dogs")}
        async with reading(source(server, **tags)) as first:
            await first.detail("heartbeat", 2)
            server.post("a cat", tags=("cats",))
            server.post("nothing")
            server.post("a dog", tags=("dogs",))
            server.post("both", tags=("cats", "dogs"))
            await first.until(lambda: len(first.posts) == 4)
            server.cut_streams()
            await first.error()
        server.post("more cats", tags=("cats",))
        server.post("more dogs", tags=("dogs",))
        async with reading(source(server, **tags), first.cursor) as second:
            await second.texts("more cats", "more dogs")
    assert sorted(first.post_texts) == ["a cat", "a dog", "both", "both"]
    assert len({post.id for post in first.posts}) == 3
    assert "nothing" not in second.post_texts


async def test_one_broken_stream_is_an_error_however_busy_the_others_are() -> None:
    async with MastodonServer() as server, reading(source(server, tags=("cats", "dogs"))) as found:
        await found.detail("heartbeat", 2)
        server.cut_streams("#cats")
        for number in range(300):
            server.post(f"dog {number}", tags=("dogs",))
        assert isinstance(await found.error(), UnavailableError)


async def test_a_hashtag_that_nobody_has_used_is_no_error() -> None:
    async with MastodonServer() as server, reading(source(server, tags=("cats",), token=None)) as found:
        await found.detail("the timeline has been read")
        server.post("the first cat", tags=("cats",))
        await found.texts("the first cat")
    async with MastodonServer() as server:
        server.fail("/api/v1/timelines", Reply(404, b"<html>"))
        async with reading(source(server, tags=("cats",))) as found:
            assert isinstance(await found.error(), RejectedError)


async def test_without_a_token_the_pages_are_read_again_and_again() -> None:
    async with MastodonServer() as server, reading(source(server, token=None)) as found:
        await found.detail("the timeline has been read")
        number = server.post("one")
        await found.texts("one")
        server.edit(number, "one, edited")
        await found.texts("one, edited")
        await found.detail("the timeline has been read", 5)
    assert found.post_texts == ["one", "one, edited"]
    assert not any(path.startswith("/api/v1/streaming") for path in server.paths())


async def test_a_missing_or_wrong_token_is_rejected() -> None:
    async with MastodonServer() as server, reading(source(server, token="wrong")) as found:
        error = await found.error()
    assert isinstance(error, RejectedError)
    assert "credentials" in str(error)
    assert "wrong-token" not in repr(MastodonOptions(endpoint="https://m.example", token="wrong-token"))


@pytest.mark.parametrize("address", ["wss://[::1", "wss://127.0.0.1:port", "none"])
async def test_an_address_of_streams_that_is_broken_is_not_used(address: str) -> None:
    async with MastodonServer() as server:
        server.streaming_url = address
        async with reading(source(server)) as found:
            await found.detail("heartbeat")
        assert server.paths()[-1].startswith("/api/v1/")


async def test_statuses_of_pages_that_have_no_id_are_counted() -> None:
    page = json.dumps([None, {"id": "x" * 101}, {"content": "no id"}]).encode()
    async with MastodonServer() as server:
        server.fail("/api/v1/timelines", Reply(200, b"[]"), Reply(200, page))
        async with reading(source(server, token=None)) as found:
            await found.detail("the timeline has been read", 2)
            server.post("good")
            await found.texts("good")
    assert found.reasons(SkipReason.UNREADABLE) == ["a status of a page has no id"] * 3


async def test_streams_may_have_a_host_of_their_own() -> None:
    async with MastodonServer() as streaming, MastodonServer() as server:
        server.streaming_url = streaming.url.replace("http", "ws")
        async with reading(source(server)) as found:
            await found.detail("heartbeat")
            streaming.post("from there")
            await found.texts("from there")
        assert server.streams == 0


async def test_private_addresses_are_refused() -> None:
    async with MastodonServer() as server, reading(source(server, allow_private=False)) as found:
        assert isinstance(await found.error(), PrivateAddressError)


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "m.example"},
        {"endpoint": "ftp://m.example"},
        {"tags": ("#",)},
        {"tags": tuple("abcdefghijk")},
    ],
)
def test_wrong_options_are_rejected(changes: dict[str, object]) -> None:
    options = MastodonOptions(endpoint="https://m.example")
    with pytest.raises(RejectedError):
        MastodonSource(replace(options, **changes))  # type: ignore[arg-type]
