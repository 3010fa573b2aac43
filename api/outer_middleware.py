"""The outermost part of the HTTP service: it limits the bodies of requests, and counts and times each request.

It also answers HEAD as GET without the body, which the web server leaves out, and logs a defect of a route.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import ApiMetrics
from api.problems import ProblemError, send_problem

logger = logging.getLogger(__name__)

UNMATCHED = "none"
"""The route in the metrics of a request that no route matches. Its path is not used: anybody can make up paths."""

ENDLESS = frozenset({"/v1/stream"})
"""Paths of answers that do not end, which HEAD would wait for."""

_DEFECT = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the service has a defect; its log has the stack trace")

_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]

_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


class _BodyTooLargeError(Exception):
    """The body of the request has more bytes than are allowed."""


class OuterMiddleware:
    """An ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, metrics: ApiMetrics, max_body_bytes: int) -> None:
        """Wrap an app. `max_body_bytes` is the most bytes of the body of a request."""
        self._app = app
        self._metrics = metrics
        self._max_body = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: an HTTP request, a WebSocket or the lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = scope
        if scope["method"] == "HEAD" and scope["path"] not in ENDLESS:
            request = {**scope, "method": "GET"}
        begin = time.perf_counter()
        status = 0
        is_stream = False

        async def counting_send(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = _EVENTS in message["headers"]
                message["headers"] = [*message["headers"], *_SECURITY_HEADERS]
            await send(message)

        self._metrics.in_flight += 1
        try:
            length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
            if not length.isdigit():
                await self._limited(request, receive, counting_send)
            elif int(length) > self._max_body:
                await send_problem(self._too_large(), scope, receive, counting_send)
            else:
                # The web server gives no more bytes of a body than its header says.
                await self._app(request, receive, counting_send)
        except Exception:
            logger.exception("a route of the HTTP service has a defect")
            if not status:
                await send_problem(_DEFECT, scope, receive, counting_send)
        finally:
            self._metrics.in_flight -= 1
            route = getattr(request.get("route"), "path", UNMATCHED)
            # A client that has gone before the answer has no status; proxies count it as 499.
            self._metrics.count(route, _method(scope), status or 499)
            if not is_stream:
                self._metrics.time(route, time.perf_counter() - begin)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of unknown length, and answer 413 if its body is too large."""
        received = 0
        started = False

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._max_body:
                    raise _BodyTooLargeError
            return message

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, limited_receive, noting_send)
        except _BodyTooLargeError:
            if not started:
                await send_problem(self._too_large(), scope, receive, send)

    def _too_large(self) -> ProblemError:
        return ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body of the request is longer than {self._max_body} bytes (EMOSTREAM_API_MAX_BODY_BYTES)",
            headers={"Connection": "close"},
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
