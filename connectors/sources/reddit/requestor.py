"""The requests of asyncprawcore, sent by the guarded client of the sources instead of by aiohttp.

So connections, redirects, sizes and times have the same limits as those of every source. Answers that are failures
raise the errors of a source here, so that asyncprawcore does not try again by itself.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from aiohttp import BasicAuth, ClientResponse
from asyncprawcore import Requestor
from asyncprawcore.const import ACCESS_TOKEN_PATH

from connectors.errors import RejectedError
from connectors.sources.net import Answer, HttpClient, retry_after_s
from connectors.sources.protocol import RateLimitError

_LIMITS = ("x-ratelimit-remaining", "x-ratelimit-used", "x-ratelimit-reset")
_MOST_LIMIT = 10**6
_UNAUTHORIZED = 401
_TOO_MANY = 429
_REFUSED = {403: "the subreddit is private or in quarantine", 404: "the subreddit is banned or does not exist"}


class TokenRefusedError(Exception):
    """The API does not accept the token, or not any longer."""


class SubredditRefusedError(RejectedError):
    """Reddit refuses the listing of a subreddit that is private, banned, in quarantine, or does not exist."""


class GuardedRequestor(Requestor):
    """Sends requests with the guarded client. It is the extension point that asyncprawcore documents."""

    def __init__(self, client: HttpClient, *, api: str, tokens: str, user_agent: str) -> None:
        """Use a client, which follows no redirects.

        Args:
            client: the client. The caller closes it.
            api: the address of the API.
            tokens: the address of the server that gives tokens.
            user_agent: the name and version of the program, and who runs it.
        """
        super().__init__(oauth_url=api, reddit_url=tokens, user_agent=user_agent)
        self._client = client

    @asynccontextmanager
    async def request(
        self,
        *args: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the client has a limit of its own
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        data: Iterable[tuple[str, str]] | None = None,
        auth: BasicAuth | None = None,
        **kwargs: object,
    ) -> AsyncGenerator[ClientResponse, None]:
        """Send a request, and yield its answer if it is not a failure.

        Raises:
            TokenRefusedError: The API answered 401.
            SubredditRefusedError: The address is one of a subreddit, and the answer is 403, 404 or a redirect.
            ConnectorError: As for `HttpClient.get`, and for other statuses of 300 and more as for `check_status`.
        """
        method, url = args
        sent = {**self.headers, **(headers or {})}
        if auth is not None:
            sent["Authorization"] = auth.encode()
        if method == "POST":
            answer = await self._client.post(url, form=dict(data or ()), headers=sent)
        else:
            answer = await self._client.get(url, params=params, headers=sent)
        _check(answer, urlsplit(url).path)
        yield cast(ClientResponse, _Response(answer.status, _with_readable_limits(answer.headers), answer.body))


@dataclass(frozen=True)
class _Response:
    """What asyncprawcore reads of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    async def json(self) -> object:
        try:
            return json.loads(self.body)
        except RecursionError as exc:
            raise ValueError("the JSON is nested too deeply") from exc


def _check(answer: Answer, path: str) -> None:
    what = f"Reddit's {path}"
    if answer.status == _UNAUTHORIZED and path == ACCESS_TOKEN_PATH:
        raise RejectedError(f"{what} answered 401: REDDIT_CLIENT_ID or REDDIT_CLIENT_SECRET is wrong")
    if answer.status == _UNAUTHORIZED:
        raise TokenRefusedError
    if 300 <= answer.status < 400:
        if path.startswith("/r/"):
            raise SubredditRefusedError(f"{what} answered {answer.status}, a redirect: there is no such subreddit")
        raise RejectedError(f"{what} answered {answer.status}, a redirect")
    if answer.status in _REFUSED and path.startswith("/r/"):
        raise SubredditRefusedError(f"{what} answered {answer.status}: {_REFUSED[answer.status]}")
    if answer.status == _TOO_MANY and retry_after_s(answer.headers) is None:
        reset = _with_readable_limits(answer.headers).get("x-ratelimit-reset")
        raise RateLimitError(f"{what} answered 429: it asks to wait", None if reset is None else float(reset))
    answer.check(what)


def _with_readable_limits(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Returns headers in which the limits of requests are whole numbers, or are missing."""
    try:
        limits = {name: float(headers[name]) for name in _LIMITS}
    except (KeyError, ValueError):
        limits = {}
    others = {name: value for name, value in headers.items() if name not in _LIMITS}
    if not all(0 <= value <= _MOST_LIMIT for value in limits.values()):
        return others
    return {**others, **{name: str(int(value)) for name, value in limits.items()}}
