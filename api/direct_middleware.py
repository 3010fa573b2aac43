"""Calls the handlers of direct routes before the router and the middlewares that these routes do not need.

The router, the stacks of FastAPI for dependencies and the middlewares for compression and errors cost more than half of
an answer from the cache. A direct route has a fixed path, no dependencies, and errors that `problems` answers, so none
of them is needed. The routes stay in the router too: it documents them, and answers other methods.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from api.guarded import DirectHandler, DirectRoute
from api.problems import answer_to


class DirectMiddleware:
    """An ASGI app around the service. It raises defects, as the service does."""

    def __init__(self, service: FastAPI, *, routers: Iterable[APIRouter], gzip_from_bytes: int) -> None:
        """Take over the direct routes of these routers.

        Args:
            service: answers all other requests. The handlers take the resources from its state.
            routers: the routers.
            gzip_from_bytes: bytes from which an answer is compressed.
        """
        self._service = service
        self._handlers: dict[str, tuple[BaseRoute, DirectHandler]] = {
            route.path: (route, route.direct_handler())
            for router in routers
            for route in router.routes
            if isinstance(route, DirectRoute)
        }
        self._compressed = GZipMiddleware(self._answer, minimum_size=gzip_from_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._handlers:
            await self._service(scope, receive, send)
        elif any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"]):
            await self._compressed(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, handler = self._handlers[scope["path"]]
        scope["app"], scope["route"] = self._service, route
        try:
            response = await handler(scope, receive)
        except Exception as exc:
            answered = await answer_to(Request(scope), exc)
            if answered is None:
                raise
            response = answered
        await response(scope, receive, send)
