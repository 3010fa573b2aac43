"""Puts the HTTP service together: routes, errors, documentation and middlewares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from api import problems
from api.direct_middleware import DirectMiddleware
from api.guarded import SECURITY_SCHEMES
from api.models.base import Problem
from api.outer_middleware import OuterMiddleware
from api.pages import PageFile, PageMiddleware, read_pages
from api.resources import Resources
from api.responses import PROBLEM_SCHEMA
from api.routes import (
    alert_preview,
    alerts,
    audit,
    followed,
    health,
    incidents,
    keywords,
    live,
    model,
    posts,
    query,
    status,
    texts,
    windows,
)
from streams import __version__

GZIP_FROM_BYTES = 1_024
"""Bytes from which an answer is compressed. A shorter one fits into one packet anyway."""

_DESCRIPTION = """\
Ask what people feel about a keyword, classify texts, and follow the live windows.

Errors are problem documents (RFC 9457). Times are RFC 3339 in UTC. `GET /v1/live` is the live stream as a WebSocket; it
takes the same parameters as `GET /v1/stream`.
"""


def create_app(resources: Resources, pages: Mapping[str, PageFile] | None = None) -> ASGIApp:
    """Returns the app over these resources, which must stay open while it serves.

    `pages` are the files of the dashboard; None for those that are installed.
    """
    service = FastAPIOffline(redoc_url=None, redirect_slashes=False, **_description())
    _add_routes(service)
    service.state.resources = resources
    problems.install(service)
    settings = resources.settings
    service.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)
    # These are around the service and not in it, because its own outer layers cost as much as an answer.
    app: ASGIApp = DirectMiddleware(service, routers=[query.router, texts.router], gzip_from_bytes=GZIP_FROM_BYTES)
    if settings.api_cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.api_cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID", "X-API-Key"],
            expose_headers=["ETag", "Retry-After"],
        )
    app = PageMiddleware(app, read_pages() if pages is None else pages)
    return OuterMiddleware(app, metrics=resources.metrics, max_body_bytes=settings.api_max_body_bytes)


async def _to_documentation() -> Response:
    return RedirectResponse("/docs")


def _description() -> dict[str, Any]:
    return {
        "title": "emostream",
        "version": __version__,
        "description": _DESCRIPTION,
        "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _add_routes(app: FastAPI) -> None:
    for routes in (query, texts, windows, keywords, posts, live, alerts, incidents, model, status, audit, health):
        app.include_router(routes.router)
    writing = (alerts.writing, alert_preview.router, followed.reading, followed.following, followed.ending)
    for router in (*writing, live.sockets):
        app.include_router(router)
    app.add_api_route("/", _to_documentation, include_in_schema=False)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(routes=app.routes, **_description())
            components = document["components"]
            components["securitySchemes"] = SECURITY_SCHEMES
            components["schemas"][PROBLEM_SCHEMA] = Problem.model_json_schema()
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's documentation has it
