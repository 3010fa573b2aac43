"""Puts the HTTP service together: routes, errors and middlewares."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from api import problems
from api.edge import Edge
from api.resources import Resources
from api.routes import audit, health, keywords, windows
from streams import __version__

GZIP_FROM_BYTES = 1_024
"""Bytes from which an answer is compressed. A shorter one fits into one packet anyway."""

_DESCRIPTION = """\
Ask what people feel about a keyword, classify texts, and follow the live windows.

Errors are problem documents (RFC 9457). Times are RFC 3339 in UTC.
"""


def create_app(resources: Resources) -> FastAPI:
    """Returns the app over these resources, which must stay open while it serves."""
    app = FastAPI(
        title="emostream",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redoc_url=None,
    )
    app.state.resources = resources
    for routes in (windows, keywords, audit, health):
        app.include_router(routes.router)
    problems.install(app)
    settings = resources.settings
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES)
    if settings.api_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api_cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "Last-Event-ID"],
            expose_headers=["ETag", "Retry-After"],
        )
    app.add_middleware(Edge, metrics=resources.metrics, max_body_bytes=settings.api_max_body_bytes)
    return app
