"""One keep-alive connection of the load generator (HTTP/1.1), with one request at a time.

It uses httptools, the parser that the web server has too, without a client library around it. A library's client costs
several times what the service needs for an answer from the cache, and the generator runs on the same machine.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

CACHED = b'"source":"cache"'
"""The mark of an answer that comes from the cache."""


class Owner(Protocol):
    """What a connection tells about."""

    def on_answer(self, connection: Connection, status: int, *, from_cache: bool) -> None:
        """An answer is complete. The connection is free unless `is_closing`."""

    def on_lost(self, connection: Connection, error: str) -> None:
        """The connection is closed. `error` says why a request in flight has no answer."""


class Connection(asyncio.Protocol):
    """A connection, and the times of the request in flight.

    Attributes:
        planned: planned time of the request in flight, or of the last one.
        sent: when it was sent.
        is_busy: whether a request is in flight.
        is_closing: whether the connection cannot be used any more.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._error = "connection closed"
        self._from_cache = False
        self.planned = self.sent = 0.0
        self.is_busy = self.is_closing = False

    def send(self, request: bytes, planned: float, now: float) -> None:
        """Send a request. The connection must be free."""
        assert self._transport is not None  # noqa: S101 - only connections that are open are handed out
        self.planned, self.sent, self.is_busy, self._from_cache = planned, now, True, False
        self._transport.write(request)

    def give_up(self, error: str) -> None:
        """Close the connection at once; a request in flight fails with this error."""
        self._error, self.is_closing = error, True
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer have come."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # nobody asked for another protocol
            self.give_up("malformed answer")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.is_closing = True
        if isinstance(exc, ConnectionResetError):
            self._error = "connection reset"
        self._owner.on_lost(self, self._error)

    # What the parser calls.

    def on_body(self, body: bytes) -> None:
        """A part of a body has come. The mark is not looked for across two parts: an answer is one packet."""
        self._from_cache = self._from_cache or CACHED in body

    def on_message_complete(self) -> None:
        """An answer is complete."""
        if not self.is_busy:
            self.give_up("malformed answer")
            return
        self.is_busy = False
        if not self._parser.should_keep_alive() and self._transport is not None:
            self.is_closing = True
            self._transport.close()
        self._owner.on_answer(self, self._parser.get_status_code(), from_cache=self._from_cache)
