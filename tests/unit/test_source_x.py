"""The source of X, against a local server with its filtered stream, rules and search."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import SkipReason
from connectors.sources.net import PrivateAddressError
from connectors.sources.protocol import FilteredSource, RateLimitError, SearchableSource
from connectors.sources.x import XOptions
from connectors.sources.x.following import RuleLimits
from connectors.sources.x.recovery import RecoveryOptions
from tests.source_servers.http import Reply
from tests.source_servers.reading import reading
from tests.source_servers.x import DISCONNECT, TOKEN, TOO_MANY, XServer, problem, reply
from tests.source_servers.x_reading import RULES, SEARCH, STREAM, TAG, failed, listening, source


async def test_posts_come_through_the_stream() -> None:
    text = "I &lt;3 coffee"
    async with XServer() as server, listening(server) as found:
        number = server.post(text, entities={"hashtags": [{"tag": "Mornings"}]})
        server.post("tea")
        server.send(server.post("coffee, long", send=False, note_tweet={"text": "coffee " + "x" * 400}))
        await found.until(lambda: len(found.posts) == 2)
        query = next(one.query for one in server.requests if one.path == STREAM)
    first, long = found.posts
    assert (first.id, first.text, first.keywords, first.edited) == (number, "I <3 coffee", ("Mornings",), False)
    assert (first.author, first.lang, first.url) == ("2244994945", "en", f"https://x.com/i/status/{number}")
    assert abs(first.created_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert len(long.text) > 400
    assert {"author_id", "created_at", "edit_history_tweet_ids", "lang", "note_tweet", "referenced_tweets"} <= set(
        query["tweet.fields"].split(",")
    )
    # X charges for what comes with a post.
    assert "expansions" not in query
    assert "backfill_minutes" not in query


async def test_an_edit_has_the_id_and_the_time_of_the_first_version() -> None:
    async with XServer() as server, listening(server) as found:
        number = server.post("coffee", ago=timedelta(seconds=1))
        await found.texts("coffee")
        second = server.edit(number, "coffee, edited")
        server.edit(second, "coffee, edited twice")
        await found.texts("coffee, edited twice")
    assert [post.edited for post in found.posts] == [False, True, True]
    assert {post.id for post in found.posts} == {number}
    times = [post.created_at for post in found.posts]
    assert max(times) - min(times) < timedelta(milliseconds=2)


async def test_an_edit_whose_first_version_no_rule_found_is_the_post() -> None:
    async with XServer() as server, listening(server) as found:
        number = server.post("tea")
        second = server.edit(number, "coffee")
        server.edit(second, "more coffee")
        await found.texts("coffee", "more coffee")
    assert [(post.id, post.edited) for post in found.posts] == [(number, False), (number, True)]


async def test_reposts_are_left_out_unless_they_are_wanted() -> None:
    async with XServer() as server:
        server.rule("coffee", TAG)  # of a former setting
        async with listening(server) as found:
            assert server.values() == ["coffee -is:retweet"]
            server.repost("coffee " + "long " * 40)
            server.send_line({"data": server.posts[max(server.posts)]})
            await found.detail("a repost")
        async with listening(server, retweets=True) as wanted:
            assert server.values() == ["coffee"]
            repost = server.posts[int(server.repost("coffee " + "long " * 40))]
            original = server.posts[int(repost["referenced_tweets"][0]["id"])]
            server.send_line({"data": repost | {"id": "99"}, "includes": {"tweets": [original]}})
            await wanted.until(lambda: len(wanted.posts) == 2)
        query = [one.query for one in server.requests if one.path == STREAM][-1]
    assert found.posts == []
    assert wanted.posts[0].text.endswith("…")
    assert wanted.posts[1].text == "RT @other: coffee " + "long " * 40
    assert query["expansions"] == "referenced_tweets.id"


async def test_a_quote_has_text_of_its_own() -> None:
    async with XServer() as server, listening(server) as found:
        server.post("coffee! https://t.co/1", referenced_tweets=[{"type": "quoted", "id": "1"}])
        await found.until(lambda: len(found.posts) == 1)


async def test_posts_of_other_rules_are_left_out() -> None:
    async with XServer() as server:
        server.rule("tea", "another program")
        server.rule("(milk) -is:retweet")
        server.rule("rain -is:retweet", "another program")
        async with listening(server, "coffee") as found:
            server.post("tea and milk")
            server.post("tea and coffee")
            await found.detail("another rule of the app")
            await found.texts("tea and coffee")
        # A rule of another program that says the same as ours would: X takes no second one.
        async with listening(server, "rain", recovery=RecoveryOptions(enabled=False)) as shared:
            server.post("rain")
            await shared.texts("rain")
        assert server.values(TAG) == []
        assert len(server.rules) == 3
    assert found.post_texts == ["tea and coffee"]


async def test_a_post_that_is_sent_again_is_dropped() -> None:
    async with XServer() as server, listening(server) as found:
        first, second = server.post("coffee 1"), server.post("coffee 2", send=False)
        for number in (second, first, second):
            server.send(number)
        await found.detail("the post came before", 2)
    assert found.post_texts == ["coffee 1", "coffee 2"]


async def test_lines_that_are_no_posts_are_skipped_with_a_reason() -> None:
    async with XServer() as server, listening(server, max_bytes=20_000) as found:
        for line in (b"{broken", b"[1]", b"[" * 15_000, b"\xff\xfe", b'{"hello": 1}', b'{"data": {"id": "x"}}', b"{}"):
            server.send_raw(line + b"\r\n")
        server.send_line({"data": [server.posts]})
        server.send_raw(b"x" * 30_000 + b"\r\n")
        server.send_line({"data": {"id": "7", "text": " ", "created_at": "2026-03-01T12:00:00Z"}})
        server.send_raw(b'{"data": {"id": "9223372036854775808", "text": "huge id", "created_at":"x"}}\n')
        server.beat()
        server.post("coffee")
        await found.texts("coffee")
    assert len(found.reasons(SkipReason.UNREADABLE)) == 9
    assert found.reasons(SkipReason.TOO_LARGE) == ["a line is too long"]
    assert len(found.reasons(SkipReason.EMPTY_TEXT)) == 1
    assert found.post_texts == ["coffee"]


async def test_a_post_with_errors_beside_it_is_a_post() -> None:
    async with XServer() as server, listening(server) as found:
        post = server.posts[int(server.post("coffee", send=False))]
        server.send_line({"data": post, "errors": [problem("resource-not-found", "Not Found Error")]})
        await found.texts("coffee")


async def test_a_stream_that_breaks_ends_or_is_silent_is_an_error() -> None:
    async with XServer() as server:
        async with listening(server) as found:
            server.post("coffee")
            server.cut_streams()
            assert isinstance(await found.error(), UnavailableError)
        assert found.post_texts == ["coffee"]
        async with listening(server) as found:
            server.end_streams()
            assert "ended" in str(await found.error())
        await server.free()
        async with reading(source(server, silence_s=0.2)) as found:
            assert "was silent for 0.2 s" in str(await found.error())


@pytest.mark.parametrize(
    ("line", "kind", "wait_s", "part"),
    [
        ({"errors": [DISCONNECT]}, UnavailableError, None, "UpstreamOperationalDisconnect"),
        (DISCONNECT, UnavailableError, None, "UpstreamOperationalDisconnect"),
        ({"errors": [TOO_MANY]}, RateLimitError, None, "one connection only"),
        ({"errors": [problem("usage-capped", "UsageCapExceeded")]}, RateLimitError, 900.0, "has used all the posts"),
    ],
    ids=["disconnect", "disconnect as such", "connections", "cap"],
)
async def test_a_problem_in_the_stream_ends_it(
    line: dict[str, Any], kind: type[Exception], wait_s: float | None, part: str
) -> None:
    async with XServer() as server, listening(server) as found:
        server.send_line(line)
        error = await found.error()
    assert type(error) is kind
    assert part in str(error)
    assert getattr(error, "retry_after_s", None) == wait_s


CAPPED = problem("usage-capped", "UsageCapExceeded", period="Monthly")
CLIENT = problem("client-forbidden", "Client Forbidden", reason="client-not-enrolled")


@pytest.mark.parametrize("path", [STREAM, RULES])
@pytest.mark.parametrize(
    ("answer", "kind", "wait_s", "part"),
    [
        (Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0, "429"),
        (Reply(429), RateLimitError, None, "429"),
        (reply(TOO_MANY, 429, {"x-rate-limit-reset": "4102444800"}), RateLimitError, None, "one connection only"),
        (reply(CAPPED, 429), RateLimitError, 900.0, "has used all the posts"),
        (reply(problem("credits", "CreditsDepleted"), 402), RateLimitError, 900.0, "CreditsDepleted"),
        (Reply(503), UnavailableError, None, "503"),
        (reply(problem("invalid-request", "Invalid Request"), 400), RejectedError, None, "why: Invalid Request"),
        (reply(CLIENT, 403), RejectedError, None, "why: Client Forbidden"),
        (Reply(401), RejectedError, None, "X_BEARER_TOKEN"),
        (reply(problem("streaming-connection"), 409), UnavailableError, None, "409"),
        (Reply(200, b'{"data": [', cut=8), UnavailableError, None, ""),
    ],
    ids=["429 with time", "429", "connections", "cap", "credits", "503", "400", "403", "401", "409", "cut"],
)
async def test_failures_have_their_class(
    path: str, answer: Reply, kind: type[Exception], wait_s: float | None, part: str
) -> None:
    async with XServer() as server:
        server.rule("coffee -is:retweet", TAG)
        if path == STREAM:  # the path of the rules begins so too
            server.fail(RULES, reply({"data": list(server.rules.values())}))
        server.fail(path, answer)
        error = await failed(server)
    assert type(error) is kind
    assert part in str(error)
    assert getattr(error, "retry_after_s", None) == wait_s
    assert TOKEN not in str(error)


async def test_the_reset_of_the_limit_says_how_long_to_wait() -> None:
    async with XServer() as server:
        server.fail(RULES, Reply(429, headers={"x-rate-limit-reset": str(int(time.time()) + 100)}))
        error = await failed(server)
        server.fail(RULES, Reply(429, headers={"x-rate-limit-reset": "soon"}))
        without = await failed(server)
    assert isinstance(error, RateLimitError)
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 101
    assert isinstance(without, RateLimitError)
    assert without.retry_after_s is None


async def test_there_is_one_connection() -> None:
    async with XServer() as server, listening(server) as found:
        error = await failed(server)
        server.post("coffee")
        await found.texts("coffee")
        assert server.most_connections == 1
    assert isinstance(error, RateLimitError)
    assert error.retry_after_s is None


async def test_a_list_of_rules_that_is_none_is_an_error() -> None:
    async with XServer() as server:
        for body in (b"[1]", b"<html>", b'{"data": [{"id": "1"}]}'):
            server.fail(RULES, Reply(200, body))
            assert type(await failed(server)) is UnavailableError


async def test_without_keywords_there_is_no_stream() -> None:
    async with XServer() as server:
        error = await failed(server, follow=tuple)
        assert server.requests == []
    assert type(error) is RejectedError
    assert "X has no stream of everything" in str(error)


async def test_a_wrong_token_is_rejected_and_not_shown() -> None:
    async with XServer() as server:
        error = await failed(server, token="wrong-token")
    assert type(error) is RejectedError
    assert "X_BEARER_TOKEN" in str(error)
    assert "wrong-token" not in str(error) + repr(XOptions(token="wrong-token"))


async def test_private_addresses_are_refused() -> None:
    async with XServer() as server:
        assert isinstance(await failed(server, allow_private=False), PrivateAddressError)


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "api.x.com"},
        {"backfill_minutes": 6},
        {"limits": RuleLimits(rule_chars=100)},
        {"limits": RuleLimits(query_chars=5_000)},
        {"limits": RuleLimits(rules=0)},
    ],
)
def test_wrong_options_are_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(RejectedError):
        replace(XOptions(token="x"), **changes)


async def test_the_search_yields_the_newest_first() -> None:
    async with XServer() as server:
        server.page = 30
        for minutes in range(100, 0, -1):
            server.post(f"coffee {minutes}", ago=timedelta(minutes=minutes))
        server.repost("coffee")
        server.edit(server.post("coffee 0"), "coffee, edited")
        found = source(server)
        assert isinstance(found, SearchableSource)
        assert isinstance(found, FilteredSource)
        texts = [post.text async for post in found.search("coffee OR tea", limit=70)]
        since = datetime.now(UTC) - timedelta(minutes=5, seconds=30)
        late = [(post.text, post.edited) async for post in found.search("coffee", since=since, limit=3)]
        old = [post async for post in found.search("coffee", since=since - timedelta(days=30), limit=1)]
        with pytest.raises(RejectedError, match="Invalid Request"):
            _ = [post async for post in found.search("coffee or tea")]
        server.fail(SEARCH, Reply(429))
        with pytest.raises(RateLimitError):
            _ = [post async for post in found.search("coffee")]
        await found.close()
        queries = {one.query["query"] for one in server.requests}
    assert queries == {"(coffee OR tea) -is:retweet", "(coffee) -is:retweet", "(coffee or tea) -is:retweet"}
    assert texts[:3] == ["coffee, edited", "coffee", "coffee 1"]
    assert len(texts) == 70
    assert late[0] == ("coffee, edited", False)
    assert len(late) == 3
    assert len(old) == 1


async def test_a_log_has_no_token(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "connectors"):
        async with XServer() as server, listening(server) as found:
            server.send_line({"errors": [DISCONNECT]})
            await found.error()
    assert TOKEN not in caplog.text
    assert TOKEN not in json.dumps([str(one) for one in found.events])
