"""What the routes share in one process: connections, models and metrics. It is opened before the service listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.draining import Draining
from api.metrics import ApiMetrics
from connectors.redis import RedisClient
from streams.settings import Settings
from streams.windows.connect import redis_client, window_reader
from streams.windows.reader import WindowReader


@dataclass(frozen=True)
class Resources:
    """The resources of one process.

    Attributes:
        settings: the settings.
        metrics: the metrics that `/metrics` shows.
        redis: a client of the windows' Redis.
        windows: reads the window tables.
        draining: tells the streams that the process stops.
    """

    settings: Settings
    metrics: ApiMetrics
    redis: RedisClient
    windows: WindowReader
    draining: Draining = field(default_factory=Draining)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the resources, and close them at the end.

    Redis and Postgres need not answer: the service starts without them, and says so in `/health/ready`.

    Raises:
        RejectedError: An address or an option of it is wrong.
        ModelError, UnavailableError: There is no model that could serve.
    """
    async with AsyncExitStack() as stack:
        metrics = ApiMetrics()
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        yield Resources(settings, metrics, redis, window_reader(redis, settings))


def _resources_of(request: Request) -> Resources:
    """Returns the resources of the app that serves a request."""
    found: Resources = request.app.state.resources
    return found


Shared = Annotated[Resources, Depends(_resources_of)]
"""The type of a route's argument that gets the resources of the app."""
