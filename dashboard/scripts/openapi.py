"""Prints the OpenAPI document of the HTTP service, without any server."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any, cast

import httpx

from api.app import create_app
from api.metrics import ApiMetrics
from streams.settings import Settings


async def document() -> str:
    """Returns the document as the service answers it at /openapi.json."""
    resources: Any = SimpleNamespace(settings=Settings(), metrics=ApiMetrics())
    transport = httpx.ASGITransport(app=cast("Any", create_app(resources)))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get("/openapi.json")).raise_for_status().text


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(document()) + "\n")
