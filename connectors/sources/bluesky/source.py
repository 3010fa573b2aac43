"""Bluesky's posts, as Jetstream sends them over a WebSocket, and the search of its API."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.bluesky.cursor import CLOCKS_DIFFER_US, REWIND_US, LowWater, parse_cursor
from connectors.sources.bluesky.hosts import PUBLIC_HOSTS, Hosts
from connectors.sources.events import Positioned, SkipReason, SourceEvent, SourceGap, SourcePost, SourceSkipped
from connectors.sources.net import HttpClient, WebSocket, open_http, open_websocket
from connectors.sources.shapes.jetstream import POSTS, event_of

logger = logging.getLogger(__name__)

SEARCH_ENDPOINT = "https://api.bsky.app"

MAX_EVENT_BYTES = 1_000_000
"""The longest event. The server is asked to leave out longer ones: a record of Bluesky has at most 1 MB."""

MAX_SEARCH_BYTES = 8_000_000
SEARCH_TIMEOUT_S = 30.0
SEARCH_PAGE = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONNECTED = SourceSkipped(reason=SkipReason.NOT_A_POST, detail="connected")
_NOT_JSON = SourceSkipped(reason=SkipReason.UNREADABLE, detail="the event is not a JSON object")
_NO_TIME = SourceSkipped(reason=SkipReason.UNREADABLE, detail="the event has no time_us")
_DAMAGED = SourceSkipped(reason=SkipReason.UNREADABLE, detail="the frame cannot be decompressed")


class BlueskySource:
    """A source of Bluesky's posts. Its cursor is a time in microseconds.

    Jetstream replays about a day. With an older cursor it begins at its oldest event, and does not say so.

    Attributes:
        name: `bluesky`.
        silence_s: seconds without an event after which the connection is dead. The network has events all the time.
        stable_ids: True: the id of a post is its `at://` URI.
    """

    name = "bluesky"
    stable_ids = True

    def __init__(
        self,
        hosts: Hosts | None = None,
        *,
        allow_private: bool = False,
        collections: Sequence[str] = (POSTS,),
        zstd_dictionary: bytes | None = None,
        gap_s: float = 60.0,
        silence_s: float = 60.0,
        search_endpoint: str = SEARCH_ENDPOINT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare a connection.

        Args:
            hosts: the addresses of Jetstream; by default those that Bluesky runs.
            allow_private: whether it may connect to private addresses.
            collections: the collections whose records are asked for.
            zstd_dictionary: the dictionary of Jetstream; with it the server is asked to compress.
            gap_s: if the first event is this many seconds after the cursor, the server no longer had those between.
            silence_s: see the attribute.
            search_endpoint: the server of the search.
            clock: the time in seconds since 1970.

        Raises:
            RejectedError: `zstd_dictionary` is not a zstd dictionary.
        """
        self.silence_s = silence_s
        self._hosts = hosts or Hosts(PUBLIC_HOSTS)
        self._allow_private = allow_private
        self._collections = tuple(collections)
        self._gap_us = int(gap_s * 1_000_000)
        self._search_endpoint = search_endpoint
        self._clock = clock
        self._http: HttpClient | None = None
        self._decoded: Callable[[bytes], bytes | None] | None = None
        if zstd_dictionary is not None:
            from connectors.sources.bluesky.frames import FrameDecoder  # noqa: PLC0415 - most users do not need zstd

            self._decoded = FrameDecoder(zstd_dictionary, max_bytes=MAX_EVENT_BYTES).decoded

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield events; see `Source.stream`.

        The hosts are tried one after the other until one answers. It repeats events from `REWIND_US` before the cursor
        on, and an event may be followed by earlier ones.
        """
        now_us = int(self._clock() * 1_000_000)
        start_us = now_us if cursor is None else parse_cursor(cursor, now_us=now_us)
        async with AsyncExitStack() as stack:
            address, socket = await self._connected(stack, start_us if cursor is not None else None)
            low_water = LowWater(start_us)
            position_us = start_us
            heard = False
            try:
                yield Positioned(_CONNECTED, str(start_us))
                async with aclosing(socket.messages()) as messages:
                    async for message in messages:
                        event, time_us = self._read(message)
                        if time_us is None:
                            yield Positioned(event, str(position_us))
                            continue
                        if not heard and cursor is not None and time_us - start_us > self._gap_us:
                            yield _gap(start_us, time_us)
                        heard = True
                        position_us = low_water.add(time_us, time.monotonic())
                        yield Positioned(event, str(position_us), _EPOCH + timedelta(microseconds=time_us))
            finally:
                # A host that answers and sends no event is no better than one that does not answer. The caller, which
                # notices the silence, closes the stream, so this is no `except`.
                if not heard:
                    self._hosts.failed(address)

    async def _connected(self, stack: AsyncExitStack, start_us: int | None) -> tuple[str, WebSocket]:
        """Connect to the first host that answers. Returns its address, and the connection."""
        failures: list[UnavailableError | RejectedError] = []
        for address in self._hosts.in_order():
            try:
                socket = await stack.enter_async_context(
                    open_websocket(
                        self._url(address, start_us), allow_private=self._allow_private, max_bytes=MAX_EVENT_BYTES
                    )
                )
            except (UnavailableError, RejectedError) as exc:
                failures.append(exc)
                logger.debug("Jetstream: %s", exc)
            else:
                self._hosts.worked(address)
                return address, socket
        # One host that may answer later is reason enough to try again.
        raise next((failure for failure in failures if isinstance(failure, UnavailableError)), failures[0])

    def _url(self, address: str, start_us: int | None) -> str:
        scheme, host, path, query, _ = urlsplit(address)
        parameters = parse_qsl(query)
        parameters += [("wantedCollections", collection) for collection in self._collections]
        parameters.append(("maxMessageSizeBytes", str(MAX_EVENT_BYTES)))
        if self._decoded is not None:
            parameters.append(("compress", "true"))
        if start_us is not None:
            parameters.append(("cursor", str(max(0, start_us - REWIND_US))))
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
        return urlunsplit((scheme, host, path if path not in ("", "/") else "/subscribe", urlencode(parameters), ""))

    def _read(self, message: bytes) -> tuple[SourceEvent, int | None]:
        """Returns the event of a message, and its time in microseconds; None if it has none."""
        if self._decoded is not None:
            plain = self._decoded(message)
            if plain is None:
                return _DAMAGED, None
            message = plain
        try:
            found = _parsed(message)
        except (ValueError, RecursionError):
            return _NOT_JSON, None
        if not isinstance(found, dict):
            return _NOT_JSON, None
        time_us = found.get("time_us")
        # A time in the future would move the cursor there.
        most_us = self._clock() * 1_000_000 + CLOCKS_DIFFER_US
        if not isinstance(time_us, int) or isinstance(time_us, bool) or not 10**15 <= time_us <= most_us:
            return _NO_TIME, None
        return event_of(found), time_us

    async def search(
        self, query: str, *, since: datetime | None = None, limit: int = 1_000
    ) -> AsyncGenerator[SourcePost, None]:
        """Yield posts that match a query (`app.bsky.feed.searchPosts`); see `SearchableSource.search`."""
        if self._http is None:
            self._http = open_http(
                allow_private=self._allow_private, max_bytes=MAX_SEARCH_BYTES, timeout_s=SEARCH_TIMEOUT_S
            )
        parameters: dict[str, str | int] = {"q": query, "sort": "latest", "limit": min(SEARCH_PAGE, limit)}
        if since is not None:
            parameters["since"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        left = limit
        while left > 0:
            answer = await self._http.get(
                f"{self._search_endpoint.rstrip('/')}/xrpc/app.bsky.feed.searchPosts", params=parameters
            )
            answer.check("the search of Bluesky")
            page = _page(answer.body)
            for item in page["posts"][:left]:
                event = _found_post(item)
                if isinstance(event, SourcePost):
                    left -= 1
                    yield event
            cursor = page.get("cursor")
            if not page["posts"] or not isinstance(cursor, str) or cursor == parameters.get("cursor"):
                return
            parameters["cursor"] = cursor

    async def close(self) -> None:
        """Close the connections of the search. A stream closes its own connection when it ends."""
        if self._http is not None:
            await self._http.close()
            self._http = None


_JSON: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def _parsed(message: bytes) -> Any:  # noqa: ANN401 - parsed JSON
    """Returns the parsed JSON.

    msgspec is fast, and refuses the escape of a lone surrogate, which `json` reads: such a post can be repaired.

    Raises:
        ValueError: The message is not JSON.
        RecursionError: The JSON is nested too deeply.
    """
    try:
        return _JSON.decode(message)
    except msgspec.DecodeError:
        return json.loads(message)


def _gap(since_us: int, until_us: int) -> Positioned:
    since, until = (_EPOCH + timedelta(microseconds=us) for us in (since_us, until_us))
    reason = "Jetstream no longer has the events between"
    return Positioned(SourceGap(since=since, until=until, reason=reason), str(until_us), until)


def _page(body: bytes) -> dict[str, Any]:
    try:
        page = _parsed(body)
    except (ValueError, RecursionError) as exc:
        raise UnavailableError("the search of Bluesky did not answer with JSON") from exc
    if not isinstance(page, dict) or not isinstance(page.get("posts"), list):
        raise UnavailableError("the search of Bluesky did not answer with a list of posts")
    return page


def _found_post(item: object) -> SourceEvent:
    """Returns the post of a search result, which has the record of the post beside what the API adds."""
    if not isinstance(item, dict):
        return _NOT_JSON
    uri, author = item.get("uri"), item.get("author")
    did = author.get("did") if isinstance(author, dict) else None
    try:
        indexed = datetime.fromisoformat(str(item.get("indexedAt")))
    except ValueError:
        indexed = None
    received_at = indexed if indexed is not None and indexed.tzinfo is not None else datetime.now(UTC)
    commit = {
        "operation": "create",
        "collection": POSTS,
        "rkey": uri.rpartition("/")[2] if isinstance(uri, str) else None,
        "record": item.get("record"),
    }
    return event_of({"kind": "commit", "did": did, "commit": commit}, received_at=received_at)
