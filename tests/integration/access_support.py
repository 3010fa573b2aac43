"""Fixtures for tests of API keys: a database with the schema behind a link, settings, and a clock that a test moves."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from connectors.errors import UnavailableError
from connectors.local import Endpoints
from connectors.redis import RedisClient, connect
from streams.access.access import Access
from streams.access.caller import Caller
from streams.access.errors import AccessError
from streams.access.keys import GivenKey
from streams.access.scopes import Scope
from streams.access.verifier import STALE_S
from streams.settings import Settings, load_settings
from tests.integration.link_proxy import LinkProxy


class Clock:
    """Seconds that pass only when a test says so."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(dsn: str) -> Iterator[LinkProxy]:
    """The link to the database."""
    parts = urlsplit(dsn)
    with LinkProxy(parts.hostname or "", parts.port or 0) as opened:
        yield opened


@pytest.fixture
def access_env(endpoints: Endpoints, dsn: str, link: LinkProxy) -> dict[str, str]:
    parts = urlsplit(dsn)
    netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{link.port}"
    return {
        "EMOSTREAM_POSTGRES_DSN": dsn,
        "EMOSTREAM_API_POSTGRES_DSN": urlunsplit(parts._replace(netloc=netloc)),
        "EMOSTREAM_REDIS_URL": endpoints.redis_url,
        "EMOSTREAM_REDIS_PREFIX": f"t{secrets.token_hex(4)}",
    }


@pytest.fixture
def access_settings(access_env: dict[str, str]) -> Settings:
    return load_settings(env_file=None, environ=access_env)


@pytest.fixture
async def redis(access_settings: Settings) -> AsyncIterator[RedisClient]:
    client = connect(access_settings.redis_url.get_secret_value())
    yield client
    await client.aclose()


@pytest.fixture
async def opened(access_env: dict[str, str], redis: RedisClient, clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    """Starts an `Access` with further settings; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def start(**more: str) -> Access:
            settings = load_settings(env_file=None, environ={**access_env, **more})
            access = Access(settings, redis, clock=clock)
            await access.start()
            stack.push_async_callback(access.close)
            return access

        yield start


def execute(dsn: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement, and return its rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


async def ask(access: Access, key: GivenKey | str | None, scope: Scope = Scope.READ) -> Caller:
    header = None if key is None else f"Bearer {key if isinstance(key, str) else key.reveal()}"
    return await access.admit(header, None, scope)


async def later(access: Access, clock: Clock, seconds: float = STALE_S + 1) -> None:
    """Let time pass, and let a request have the keys read again, however long that takes on this machine."""
    clock.now += seconds
    with suppress(AccessError, UnavailableError):
        await ask(access, None)
    if access._keys._refresher._task is not None:
        await asyncio.wait([access._keys._refresher._task])
