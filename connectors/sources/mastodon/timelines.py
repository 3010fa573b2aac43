"""The HTTP API of Mastodon: pages of timelines, and the addresses of their streams."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.mastodon.heads import LONGEST_ID
from connectors.sources.net import HttpClient, host_of_endpoint, retry_after_s
from connectors.sources.protocol import RateLimitError
from connectors.sources.shapes.times import parse_time
from connectors.sources.shapes.values import identifier, members

PAGE = 40
"""Statuses of a page: the most that the API gives."""

_NOT_FOUND = 404
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Timeline:
    """A timeline of a server.

    Attributes:
        tag: the hashtag, without `#`; empty for all public posts.
        local: whether it has only posts of the server's own accounts.
    """

    tag: str = ""
    local: bool = False

    @property
    def name(self) -> str:
        """The name in cursors and messages."""
        return ("#" + self.tag.lower() if self.tag else "public") + ("@local" if self.local else "")

    @property
    def path(self) -> str:
        """The path of its pages."""
        return f"/api/v1/timelines/tag/{quote(self.tag, safe='')}" if self.tag else "/api/v1/timelines/public"

    @property
    def stream_path(self) -> str:
        """The path of its stream."""
        return f"/api/v1/streaming/{'hashtag' if self.tag else 'public'}{'/local' if self.local else ''}"

    @property
    def stream_query(self) -> dict[str, str | int]:
        """The query of its stream."""
        return {"tag": self.tag} if self.tag else {}


@dataclass(frozen=True, slots=True)
class Page:
    """Statuses of a timeline.

    Attributes:
        statuses: the statuses by their ids, the newest first.
        unreadable: how many statuses had no id, or an id that is too long.
    """

    statuses: Mapping[str, Mapping[str, Any]]
    unreadable: int


def server_of(endpoint: str) -> str:
    """Returns the host of a server, which names it in ids and cursors.

    Raises:
        RejectedError: As for `host_of_endpoint`.
    """
    return host_of_endpoint(endpoint, source="mastodon", example="https://mastodon.social")


class Api:
    """The API of a server."""

    def __init__(self, http: HttpClient, endpoint: str) -> None:
        """Use a server.

        Args:
            http: the client. Its headers have the access token.
            endpoint: the address of the server, such as `https://mastodon.social`.

        Raises:
            RejectedError: As for `host_of_endpoint`.
        """
        self.server = server_of(endpoint)
        self._http = http
        self._endpoint = endpoint.rstrip("/")

    async def page(
        self, timeline: Timeline, *, limit: int = PAGE, min_id: str | None = None, max_id: str | None = None
    ) -> Page:
        """Return statuses of a timeline.

        Args:
            timeline: the timeline.
            limit: the most statuses.
            min_id: return the oldest ones that are newer than this id.
            max_id: return the newest ones that are older than this id.

        Raises:
            RateLimitError: The server asks to wait.
            UnavailableError: The server did not answer, or not with statuses.
            RejectedError: The server refuses.
        """
        params: dict[str, str | int] = {"limit": limit}
        params |= {"local": "true"} if timeline.local else {}
        params |= {name: value for name, value in (("min_id", min_id), ("max_id", max_id)) if value is not None}
        what = f"the timeline {timeline.name} of {self.server}"
        try:
            found = await self._json(timeline.path, params, what)
        except _NotFoundError as exc:
            if timeline.tag and exc.says_why:  # nobody has used the hashtag yet
                return Page({}, 0)
            raise
        if not isinstance(found, list):
            raise UnavailableError(f"{what} is not a list of statuses")
        ids = [identifier(members(status).get("id")) for status in found]
        statuses = {
            number: status
            for number, status in zip(ids, found, strict=True)
            if number is not None and len(number) <= LONGEST_ID
        }
        return Page(statuses, sum(number is None or len(number) > LONGEST_ID for number in ids))

    async def streaming_url(self) -> str:
        """Return the address of the server of streams, which may have a host of its own.

        It is the address of the API if the server names none that can be used.

        Raises:
            RateLimitError: The server asks to wait.
            UnavailableError: The server did not answer.
            RejectedError: The server refuses.
        """
        try:
            about = await self._json("/api/v2/instance", {}, f"the server {self.server}")
        except _NotFoundError:  # servers before 4.0, and other programs
            return self._endpoint
        urls = members(members(members(about).get("configuration")).get("urls"))
        try:
            parts = urlsplit(str(urls.get("streaming") or ""))
            _ = parts.port  # reading it checks it
        except ValueError:
            return self._endpoint
        scheme = {"wss": "https", "https": "https", "ws": "http", "http": "http"}.get(parts.scheme)
        if scheme is None or not parts.hostname:
            return self._endpoint
        if self._endpoint.startswith("https:") and scheme != "https":
            raise RejectedError(f"the server {self.server} names an address of its streams that is not encrypted")
        return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    async def _json(self, path: str, params: Mapping[str, str | int], what: str) -> object:
        answer = await self._http.get(self._endpoint + path, params=params)
        if answer.status == _NOT_FOUND:
            raise _NotFoundError(f"{what} answered 404", says_why=answer.body.lstrip().startswith(b'{"error"'))
        if answer.status == _TOO_MANY and retry_after_s(answer.headers) is None:
            raise RateLimitError(f"{what} answered 429: it asks to wait", _until_reset_s(answer.headers))
        answer.check(what)
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as exc:
            raise UnavailableError(f"{what} did not answer with JSON") from exc


def _until_reset_s(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds until the limit of requests is reset. Mastodon names that time instead of `Retry-After`."""
    try:
        at = parse_time(headers.get("x-ratelimit-reset"))
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


class _NotFoundError(RejectedError):
    """The server answered 404.

    Attributes:
        says_why: whether the API gave the answer, about the thing that was asked for; otherwise there is no such path.
    """

    def __init__(self, message: str, *, says_why: bool) -> None:
        super().__init__(message)
        self.says_why = says_why
