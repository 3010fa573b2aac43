"""The protocols of the web server, with limits for clients that are slow, silent or send too much.

uvicorn alone waits for ever for the rest of a request, and for a client that does not read. It also reads headers of
any length.

| what a client does | what happens |
|---|---|
| It connects and sends no whole request head for `HEAD_S` | 408, and the connection is closed |
| It sends no whole body within `BODY_S` | 408, and the connection is closed |
| It sends more than `MAX_HEAD_BYTES` before the body | 431, and the connection is closed |
| It sends what is not HTTP, or a handshake of a WebSocket that is not valid | 4xx, and the connection is closed |
| It lets unread bytes wait for `STALLED_S` | the connection is aborted, and the unread bytes are dropped |
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_S = 15.0
"""Seconds in which a client sends the first line and the headers of a request, and in which it may stay silent."""

BODY_S = 60.0
"""Seconds in which a client sends the body of a request."""

MAX_HEAD_BYTES = 65_536
"""The most bytes of the first line and the headers of a request."""

STALLED_S = 30.0
"""Seconds for which a client may leave bytes unread. It has to read about 48 KiB in this time, if so many wait."""

_defects = logging.getLogger("uvicorn.error.defects")
_defects.setLevel(logging.ERROR)


class StallTimer:
    """Aborts a connection whose client does not read.

    `close` would wait until the client has read everything, so that such a client could keep its buffers for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self, abort: Callable[[], None]) -> None:
        """The buffer of the connection is full."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, abort)

    def stop(self) -> None:
        """The client has read, or has gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 with limits."""

    head_s = HEAD_S
    body_s = BODY_S
    stalled_s = STALLED_S

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of uvicorn's class
        super().__init__(*arguments, **options)
        self.logger = _defects  # not a line for every client that sends nonsense
        self._in_head = False
        self._head_bytes = 0
        self._upgraded = False
        self._refusal = HTTPStatus.BAD_REQUEST
        self._timer: asyncio.TimerHandle | None = None
        self._stall = StallTimer(self.loop, self.stalled_s)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's class
        """A client has connected."""
        super().connection_made(transport)
        self._limit(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._unlimit()
        self._stall.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read bytes. Most requests arrive as a whole, and set no timer."""
        super().data_received(data)
        if self._upgraded or self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
        if self._in_head or self.cycle is None or self.cycle.response_complete:
            self._limit(self.head_s)
        elif self.cycle.more_body:
            self._limit(self.body_s)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol of WebSockets."""
        self._upgraded = True
        self._unlimit()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._in_head = False
        self._unlimit()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError("the head of a request is too long")  # the parser calls `send_400_response`
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._unlimit()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be read."""
        del msg  # uvicorn's text; the answer is a problem document like every other
        self._refuse(self._refusal)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        self._stall.start(self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stall.stop()
        super().resume_writing()

    def _limit(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._late)

    def _unlimit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with an error, unless an answer has begun, and close the connection."""
        self._unlimit()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_refusal(status))
        self.transport.close()


_WHY = {
    HTTPStatus.BAD_REQUEST: "the request is not valid HTTP",
    HTTPStatus.REQUEST_TIMEOUT: "the request did not arrive in time",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the head of the request is longer than {MAX_HEAD_BYTES} bytes",
}


def _refusal(status: HTTPStatus) -> bytes:
    """Returns an answer after which the connection is closed."""
    document = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": _WHY[status]}
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose client is disconnected if it does not read, or if its handshake cannot be read."""

    stalled_s = STALLED_S

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of uvicorn's class
        super().__init__(*arguments, **options)
        self._stall = StallTimer(self.loop, self.stalled_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stall.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read bytes, of which the first are the whole head of the handshake."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            # This parser reads less than that of HTTP: no body, 128 headers, 8 KiB in a line. uvicorn alone would send
            # nothing, and keep the connection for as long as the client does.
            self.transport.write(b"".join(self.conn.data_to_send()) or _refusal(HTTPStatus.BAD_REQUEST))
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        self._stall.start(self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stall.stop()
        super().resume_writing()

    def keepalive_timeout(self) -> None:
        """The client does not answer a ping."""
        super().keepalive_timeout()
        self.transport.abort()  # it does not read the farewell either
