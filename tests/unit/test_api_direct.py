"""The routes that are answered before the router: a client that goes before its request is whole."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI
from starlette.types import Message

from api.direct_middleware import DirectMiddleware
from api.guarded import DirectRoute, needing
from api.metrics import ApiMetrics
from api.models.texts import PredictRequest
from api.outer_middleware import OuterMiddleware
from streams.access.scopes import Scope


class _Open:
    """Resources of a service that admits everybody."""

    required = True

    @property
    def access(self) -> _Open:
        return self

    async def admit(self, *_credentials: object) -> None:
        """Admit the caller."""


async def _echo(request: PredictRequest, _resources: object) -> PredictRequest:
    return request


async def test_a_client_that_goes_in_the_middle_of_its_body_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    service, router, metrics = FastAPI(), APIRouter(route_class=needing(Scope.PREDICT, DirectRoute)), ApiMetrics()
    router.add_api_route("/echo", _echo, methods=["POST"], response_model=None)
    service.state.resources = _Open()
    direct = DirectMiddleware(service, routers=[router], gzip_from_bytes=1_000)
    received: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": b'{"text"', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/echo",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"100")],
    }

    async def receive() -> Message:
        return next(received)

    async def send(_message: Message) -> None:
        """The client has gone."""

    with caplog.at_level(logging.WARNING):
        await OuterMiddleware(direct, metrics=metrics, max_body_bytes=1_000)(scope, receive, send)
    assert not caplog.records
    labels = {"route": "/echo", "method": "POST", "status": "499"}
    assert metrics.registry.get_sample_value("emostream_http_requests_total", labels) == 1
