"""The outermost part of the HTTP service: defects, HEAD, and bodies that are too large."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.metrics import ApiMetrics
from api.outer_middleware import OuterMiddleware


async def _defect(_request: Request) -> Response:
    raise RuntimeError("a defect")


async def _text(request: Request) -> Response:
    return PlainTextResponse(request.method)


@pytest.fixture
async def client() -> AsyncIterator[tuple[httpx.AsyncClient, ApiMetrics]]:
    metrics = ApiMetrics()
    app = Starlette(routes=[Route("/defect", _defect), Route("/text", _text), Route("/v1/stream", _text)])
    edge = OuterMiddleware(app, metrics=metrics, max_body_bytes=10)
    # The transport raises what the app raises, as the web server would close the connection.
    transport = httpx.ASGITransport(edge, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened, metrics


async def test_a_defect_is_logged_and_the_connection_stays_open(
    client: tuple[httpx.AsyncClient, ApiMetrics], caplog: pytest.LogCaptureFixture
) -> None:
    http, metrics = client
    answer = await http.get("/defect")
    assert answer.status_code == 500
    assert "a defect" in caplog.text
    labels = {"route": "/defect", "method": "GET", "status": "500"}
    assert metrics.registry.get_sample_value("emostream_http_requests_total", labels) == 1


async def test_head_is_get_but_for_endless_answers(client: tuple[httpx.AsyncClient, ApiMetrics]) -> None:
    http, metrics = client
    assert (await http.head("/text")).headers["content-length"] == "3"  # "GET"
    assert (await http.head("/v1/stream")).headers["content-length"] == "4"  # "HEAD"
    assert (await http.post("/text", content=b"x" * 11)).status_code == 413
    text = [one.labels for metric in metrics.requests.collect() for one in metric.samples if "method" in one.labels]
    assert {one["method"] for one in text} == {"HEAD", "POST"}
