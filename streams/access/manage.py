"""Makes, lists and revokes API keys, for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import TypeVar

from connectors.postgres_pool import AsyncConnection, PostgresPool
from streams.access import keys_sql
from streams.access.keys import GivenKey, StoredKey, is_key_id, new_key, parse_key
from streams.access.scopes import Scope
from streams.errors import InputError
from streams.settings import Settings

T = TypeVar("T")

MAX_KEYS = 10_000
"""The most keys that are not revoked: every process of the HTTP service holds them in memory."""

MAX_NAME = 200
"""Characters of the longest name."""

_WAIT_S = 10.0


def add_key(
    settings: Settings,
    name: str,
    *,
    scopes: Collection[Scope],
    requests_per_minute: int | None,
    expires_at: datetime | None,
) -> tuple[GivenKey, StoredKey]:
    """Make a key, and return it with what is stored of it. Nobody can show it again.

    Raises:
        InputError: The name is empty, too long or has control characters, or there are too many keys.
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InputError(f"the name of a key has 1 to {MAX_NAME} printable characters")

    async def run(connection: AsyncConnection) -> tuple[GivenKey, StoredKey]:
        if await keys_sql.count_active(connection) >= MAX_KEYS:
            raise InputError(f"there are {MAX_KEYS:,} keys already; revoke some with `emostream keys revoke`")
        key = new_key()
        stored = await keys_sql.add(
            connection,
            key,
            name=name,
            scopes=scopes,
            requests_per_minute=requests_per_minute,
            expires_at=expires_at,
        )
        return key, stored

    return _with_connection(settings, "adding an API key", run)


def list_keys(settings: Settings) -> list[StoredKey]:
    """Returns all keys, revoked ones included, the newest last.

    Raises:
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    return _with_connection(settings, "reading the API keys", keys_sql.read_all)


def revoke_key(settings: Settings, id_or_key: str) -> StoredKey:
    """Revoke a key, and return it. One that was revoked before keeps that time.

    Args:
        settings: All settings.
        id_or_key: The id, or the whole key.

    Raises:
        InputError: There is no such key.
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    given = parse_key(id_or_key)
    id_ = id_or_key if given is None else given.id
    if not is_key_id(id_):
        raise InputError("the id of a key has ten letters and digits; `emostream keys list` shows it")
    stored = _with_connection(settings, "revoking an API key", lambda connection: keys_sql.revoke(connection, id_))
    if stored is None:
        raise InputError(f"there is no API key {id_}; `emostream keys list` shows those that there are")
    return stored


def _with_connection(settings: Settings, doing: str, run: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def connected() -> T:
        dsn = settings.postgres_dsn.get_secret_value()
        async with (
            PostgresPool(dsn, application_name="emostream-keys", max_size=1, wait_s=_WAIT_S) as pool,
            keys_sql.keys_connection(pool, doing) as connection,
        ):
            return await run(connection)

    return asyncio.run(connected())
