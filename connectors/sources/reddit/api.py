"""Pages of Reddit's listings, with the OAuth and the pacing of requests of asyncprawcore.

asyncprawcore is the part of asyncpraw that speaks with Reddit. The rest of asyncpraw is not used: it reads its settings
from files and variables of its own, and makes objects of items in place of the JSON that `items` reads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asyncprawcore import (
    AsyncPrawcoreException,
    OAuthException,
    ReadOnlyAuthorizer,
    ScriptAuthorizer,
    Session,
    TrustedAuthenticator,
)

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net import HttpClient
from connectors.sources.protocol import RateLimitError
from connectors.sources.reddit.items import Page, page_of
from connectors.sources.reddit.requestor import GuardedRequestor, TokenRefusedError

PAGE = 100
"""Items of a page: the most that the API gives."""

MOST_PACED_S = 10.0
"""Seconds that asyncprawcore waits before a request at most, while the limit of requests is not used up."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What Reddit knows the program by.

    Attributes:
        client_id: the id of the app.
        client_secret: its secret.
        username: the account for which the app acts; None for none.
        password: the password of the account; None for none.
    """

    client_id: str
    client_secret: str = field(repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)


class Api:
    """The API. It gets a token when it needs one, and spreads requests over the time that Reddit's limit is for."""

    def __init__(self, client: HttpClient, credentials: Credentials, *, api: str, tokens: str, user_agent: str) -> None:
        """Use a server; nothing is connected to.

        Args:
            client: a client that follows no redirects.
            credentials: what Reddit knows the program by.
            api: the address of the API, such as `https://oauth.reddit.com`.
            tokens: the address of the server that gives tokens, such as `https://www.reddit.com`.
            user_agent: the name and version of the program, and who runs it.
        """
        requestor = GuardedRequestor(client, api=api.rstrip("/"), tokens=tokens.rstrip("/"), user_agent=user_agent)
        authenticator = TrustedAuthenticator(
            client_id=credentials.client_id, client_secret=credentials.client_secret, requestor=requestor
        )
        self._authorizer: ReadOnlyAuthorizer | ScriptAuthorizer = ReadOnlyAuthorizer(authenticator=authenticator)
        if credentials.password is not None:
            self._authorizer = ScriptAuthorizer(
                authenticator=authenticator, username=credentials.username, password=credentials.password
            )
        self._session = Session(authorizer=self._authorizer)

    async def page(
        self, path: str, *, after: str | None = None, limit: int = PAGE, params: Mapping[str, str] | None = None
    ) -> Page:
        """Return a page of a listing, the newest items first.

        Args:
            path: the path of the listing.
            after: the full name of an item: the page begins behind it. It is empty if that item is not listed any more.
            limit: the most items, at most `PAGE`.
            params: further members of the query.

        Raises:
            RateLimitError: Reddit asks to wait, or the limit of requests is used up.
            UnavailableError: Reddit did not answer, or not with a listing.
            RejectedError: Credentials are wrong, or Reddit refuses the listing.
        """
        query = {**(params or {}), "limit": str(limit)} | ({} if after is None else {"after": after})
        page = page_of(await self._json(path, query), received_at=datetime.now(UTC))
        if page is None:
            raise UnavailableError(f"Reddit's {path} is not a listing")
        return page

    async def _json(self, path: str, query: Mapping[str, str]) -> object:
        self._check_limit()
        with _library_errors(path):
            try:
                return await self._session.request(method="GET", path=path, params=query)
            except TokenRefusedError:  # it has expired, or was revoked
                await self._authorizer.refresh()
            try:
                return await self._session.request(method="GET", path=path, params=query)
            except TokenRefusedError as exc:
                raise RejectedError(f"Reddit's {path} answered 401, also with a new token") from exc

    def _check_limit(self) -> None:
        """Raise an error if no request is left until the reset. asyncprawcore would wait for it, up to 10 minutes."""
        limiter = self._session.rate_limiter
        if limiter.remaining is None or limiter.remaining > 0 or limiter.next_request_timestamp_ns is None:
            return
        wait_s = (limiter.next_request_timestamp_ns - time.monotonic_ns()) / 1e9
        if wait_s > 0:
            raise RateLimitError(f"Reddit's limit of requests is used up for {wait_s:.0f} s", wait_s)


@contextmanager
def _library_errors(path: str) -> Iterator[None]:
    """Map the errors of asyncprawcore to those of the connectors."""
    try:
        yield
    except OAuthException as exc:
        error = str(exc.error)[:60]
        raise RejectedError(
            f"Reddit gives no token ({error!r}): REDDIT_USERNAME or REDDIT_PASSWORD is wrong, the account uses "
            "two-factor authentication, or the app is not of the type 'script'"
        ) from exc
    except (AsyncPrawcoreException, ValueError, KeyError, TypeError, AttributeError) as exc:
        # asyncprawcore does not check the fields of a token.
        raise UnavailableError(f"Reddit's {path} did not answer as it documents: {type(exc).__name__}") from exc
