"""The source of Reddit, against a local server that refuses, limits, fails and misbehaves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import SkipReason
from connectors.sources.net import PrivateAddressError, open_http
from connectors.sources.protocol import RateLimitError
from connectors.sources.reddit import Credentials, RedditSource
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.kinds import REDDIT_VARIABLES, opener_of
from tests.source_servers.http import Reply, Request
from tests.source_servers.reading import reading
from tests.source_servers.reddit import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, RedditServer, reddit_options

ROUND = "all listings have been read"
COMMENTS = "/r/coffee/comments"
TOKEN = "/api/v1/access_token"


def source(server: RedditServer, **changes: object) -> RedditSource:
    return RedditSource(replace(reddit_options(server), **changes))  # type: ignore[arg-type]


def limits(remaining: object, used: object, reset: object) -> dict[str, str]:
    return {
        "X-Ratelimit-Remaining": str(remaining),
        "X-Ratelimit-Used": str(used),
        "X-Ratelimit-Reset": str(reset),
    }


LISTING = json.dumps({"kind": "Listing", "data": {"children": [], "after": None}}).encode()


@pytest.mark.parametrize(
    ("path", "reply", "kind", "wait"),
    [
        pytest.param(COMMENTS, Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0, id="429-retry-after"),
        pytest.param(COMMENTS, Reply(429, headers=limits(0.0, 100, 41)), RateLimitError, 41.0, id="429-reset"),
        pytest.param(COMMENTS, Reply(429, headers=limits(0, 100, "soon")), RateLimitError, None, id="429-no-number"),
        pytest.param(COMMENTS, Reply(429), RateLimitError, None, id="429"),
        pytest.param(COMMENTS, Reply(503, headers={"Retry-After": "3"}), RateLimitError, 3.0, id="503-retry-after"),
        pytest.param(COMMENTS, Reply(500), UnavailableError, None, id="500"),
        pytest.param(COMMENTS, Reply(503), UnavailableError, None, id="503"),
        pytest.param(COMMENTS, Reply(200, b"{oops"), UnavailableError, None, id="no-json"),
        pytest.param(COMMENTS, Reply(200, b"[" * 100_000), UnavailableError, None, id="deep-json"),
        pytest.param(COMMENTS, Reply(200, b"[]"), UnavailableError, None, id="no-listing"),
        pytest.param(COMMENTS, Reply(200, b'{"kind": "t5"}'), UnavailableError, None, id="another-kind"),
        pytest.param(COMMENTS, Reply(204), UnavailableError, None, id="nothing"),
        pytest.param(COMMENTS, Reply(200, LISTING, cut=20), UnavailableError, None, id="cut"),
        pytest.param(COMMENTS, Reply(403, b'{"reason": "private"}'), RejectedError, None, id="403"),
        pytest.param(COMMENTS, Reply(404), RejectedError, None, id="404"),
        pytest.param(TOKEN, Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0, id="token-429"),
        pytest.param(TOKEN, Reply(502), UnavailableError, None, id="token-502"),
        pytest.param(TOKEN, Reply(200, b"<html>"), UnavailableError, None, id="token-no-json"),
        pytest.param(TOKEN, Reply(200, b"null"), UnavailableError, None, id="token-null"),
        pytest.param(TOKEN, Reply(200, b'{"access_token": "x"}'), UnavailableError, None, id="token-without-time"),
        pytest.param(TOKEN, Reply(200, b'{"acc', cut=3), UnavailableError, None, id="token-cut"),
        pytest.param(TOKEN, Reply(403), RejectedError, None, id="token-403"),
        pytest.param(TOKEN, Reply(302, headers={"Location": "/login"}), RejectedError, None, id="token-redirect"),
    ],
)
async def test_failures_have_their_class(path: str, reply: Reply, kind: type[Exception], wait: float | None) -> None:
    async with RedditServer() as server:
        async with reading(source(server)) as found:
            await found.detail(ROUND)
        server.comment("one")
        server.fail(path, reply)
        async with reading(source(server), found.cursor) as failing:
            error = await failing.error()
        assert type(error) is kind
        assert getattr(error, "retry_after_s", None) == wait
        assert "\n" not in str(error)
        async with reading(source(server), failing.events[-1].cursor if failing.events else found.cursor) as again:
            await again.detail(ROUND)
    assert again.post_texts == ["one"]
    assert set(server.paths()) == {TOKEN, COMMENTS}


async def test_a_subreddit_that_does_not_exist_is_rejected_and_its_redirect_is_not_followed() -> None:
    async with RedditServer() as server, RedditServer() as elsewhere:
        async with reading(source(server, subreddits=("nowhere",))) as found:
            error = await found.error()
        assert isinstance(error, RejectedError)
        assert "/r/nowhere/comments answered 302, a redirect: there is no such subreddit" in str(error)
        server.fail(COMMENTS, Reply(302, headers={"Location": f"{elsewhere.url}/secret"}))
        async with reading(source(server)) as found:
            assert isinstance(await found.error(), RejectedError)
    assert server.paths() == [TOKEN, "/r/nowhere/comments", TOKEN, COMMENTS]
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [403, 404, 302])
async def test_a_subreddit_that_is_refused_is_left_out_until_it_can_be_read_again(
    caplog: pytest.LogCaptureFixture, status: int
) -> None:
    both = {"subreddits": ("coffee", "tea"), "kinds": frozenset({"comments", "submissions"})}
    async with RedditServer() as server:
        async with reading(source(server, **both)) as found:
            await found.detail(ROUND)
        server.fail("/r/tea/", Reply(status, headers={"Location": "/"} if status == 302 else {}))
        server.requests.clear()
        async with reading(source(server, **both), found.cursor) as found:
            await found.detail(ROUND, 2)
            server.comment("left out", subreddit="tea")
            server.comment("one")
            await found.texts("one")
            await found.detail(ROUND, 5)
        assert found.post_texts == ["one"]
        assert found.reasons(SkipReason.FORBIDDEN) == ["r/tea is refused"]
        # Its other listing is not asked for either.
        assert [path for path in server.paths() if path.startswith("/r/tea")] == ["/r/tea/comments"]
        (warning,) = [one for one in caplog.messages if "is left out" in one]
        assert f"Reddit's /r/tea/comments answered {status}" in warning
        assert "r/tea is left out, and tried again in 3600 s" in warning
        # The next connection continues where the subreddit was read last.
        async with reading(source(server, **both), found.cursor) as again:
            await again.texts("left out")
        assert again.gaps == []


async def test_a_refused_subreddit_is_read_again_after_a_time() -> None:
    async with RedditServer() as server:
        server.fail("/r/tea/", Reply(403))
        async with reading(source(server, subreddits=("coffee", "tea"), refused_s=0.01)) as found:
            await found.detail("r/tea/comments has been read")
            server.comment("tea", subreddit="tea")
            await found.texts("tea")
    assert found.reasons(SkipReason.FORBIDDEN) == ["r/tea is refused"]


async def test_a_source_whose_subreddits_are_all_refused_ends() -> None:
    async with RedditServer() as server:
        server.fail("/r/coffee/", Reply(403))
        server.fail("/r/tea/", Reply(404))
        async with reading(source(server, subreddits=("coffee", "tea"))) as found:
            error = await found.error()
    assert type(error) is RejectedError
    assert str(error) == (
        "Reddit's /r/tea/comments answered 404: the subreddit is banned or does not exist; no subreddit is left to read"
    )


async def test_a_form_is_not_sent_elsewhere() -> None:
    """The client of other sources follows redirects of pages, and never those of forms."""
    async with RedditServer() as server, open_http(allow_private=True, max_bytes=100, timeout_s=10) as client:
        server.fail("/form", Reply(307, headers={"Location": "/elsewhere"}))
        answer = await client.post(f"{server.url}/form", form={"password": PASSWORD})
    assert answer.status == 307
    assert [(one.path, one.method, dict(one.form)) for one in server.requests] == [
        ("/form", "POST", {"password": PASSWORD})
    ]


async def test_a_private_address_is_refused() -> None:
    async with RedditServer() as server, reading(source(server, allow_private=False)) as found:
        assert isinstance(await found.error(), PrivateAddressError)
    assert server.requests == []


async def test_no_request_is_sent_when_the_limit_is_used_up() -> None:
    async with RedditServer() as server:
        server.limits = limits("0.0", 1_000, 300)
        async with reading(source(server)) as found:
            error = await found.error()
        assert isinstance(error, RateLimitError)
        assert error.retry_after_s == pytest.approx(300, abs=60)
        assert server.paths() == [TOKEN, COMMENTS]
        assert found.events != []  # the answer itself was used


@pytest.mark.parametrize("reset", ["-1", "soon", "", "1e99", "nan"])
async def test_a_limit_that_cannot_be_read_is_ignored(reset: str) -> None:
    async with RedditServer() as server:
        server.limits = limits(0, 1_000, reset)
        async with reading(source(server)) as found:
            await found.detail(ROUND, 2)


async def test_requests_are_spread_over_the_time_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the requests is left, and 61 of 600 s: one second too early for the next one."""
    async with RedditServer() as server:
        server.limits = limits(100, 900, 61)
        times: list[float] = []
        answer = server.answer

        async def timed(request: Request) -> Reply:
            times.append(asyncio.get_running_loop().time())
            return await answer(request)

        monkeypatch.setattr(server, "answer", timed)
        async with reading(source(server)) as found:
            await found.detail(ROUND, 2)
    assert server.paths()[1:3] == [COMMENTS, COMMENTS]
    assert times[2] - times[1] >= 1


async def test_a_token_is_used_again_and_renewed_when_it_was_revoked() -> None:
    async with RedditServer() as server, reading(source(server)) as found:
        await found.detail(ROUND, 3)
        server.tokens.clear()
        server.comment("after")
        await found.texts("after")
        await found.detail(ROUND, 6)
    assert server.paths().count(TOKEN) == 2
    asked = next(request for request in server.requests if request.path == TOKEN)
    assert dict(asked.form) == {"grant_type": "client_credentials"}
    agents = {request.headers["user-agent"] for request in server.requests}
    assert [agent.split(" asyncprawcore/")[0] for agent in agents] == ["python:test:1 (by /u/a_user)"]


async def test_a_token_that_the_api_never_accepts_is_an_error() -> None:
    async with RedditServer() as server:
        server.fail(COMMENTS, *[Reply(401)] * 2)
        async with reading(source(server)) as found:
            error = await found.error()
    assert type(error) is RejectedError
    assert server.paths() == [TOKEN, COMMENTS, TOKEN, COMMENTS]


@pytest.mark.parametrize(
    ("credentials", "problem"),
    [
        (Credentials(CLIENT_ID, "wrong-secret"), "REDDIT_CLIENT_ID or REDDIT_CLIENT_SECRET is wrong"),
        (Credentials(CLIENT_ID, CLIENT_SECRET, USERNAME, "wrong-secret"), "'invalid_grant'"),
    ],
    ids=["client", "account"],
)
async def test_wrong_credentials_are_an_error(credentials: Credentials, problem: str) -> None:
    async with RedditServer() as server, reading(source(server, credentials=credentials)) as found:
        error = await found.error()
    assert type(error) is RejectedError
    assert problem in str(error)
    assert "wrong-secret" not in str(error)


async def test_an_app_acts_for_the_account_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(REDDIT_VARIABLES, (CLIENT_ID, CLIENT_SECRET, USERNAME, PASSWORD), strict=True):
        monkeypatch.setenv(name, value)
    options = {"subreddits": "coffee", "interval_s": 0.01}
    async with RedditServer() as server:
        spec = SourceSpec("r", "reddit", endpoints=(server.url,), allow_private=True, options=options)
        async with reading(opener_of(spec)()) as found:
            await found.detail(ROUND)
    asked = server.requests[0]
    assert dict(asked.form) == {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
    assert asked.headers["user-agent"].startswith("python:emostream:")
    assert f"(by /u/{USERNAME})" in asked.headers["user-agent"]
    assert set(server.paths()) == {TOKEN, COMMENTS, "/r/coffee/new"}
