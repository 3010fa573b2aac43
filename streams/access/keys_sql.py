"""The statements on the table of API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

from psycopg.errors import UndefinedTable

from connectors.errors import RejectedError
from connectors.postgres_pool import AsyncConnection, PostgresPool
from streams.access.keys import GivenKey, StoredKey
from streams.access.scopes import Scope, known_scopes

_COLUMNS = "id, name, secret_sha256, scopes, requests_per_minute, created_at, expires_at, revoked_at, last_used_on"
"""In the order of the fields of `StoredKey`."""

# The column last_used_on is left out, because it changes every day and means nothing to a verifier.
_FINGERPRINT = """
    SELECT count(*), bit_xor(hashtextextended(
        ROW(id, name, secret_sha256, scopes, requests_per_minute, expires_at, revoked_at)::text, 0
    )) FROM api_keys
"""

_FOR_VERIFIERS = f"""
    SELECT {_COLUMNS} FROM api_keys WHERE revoked_at IS NULL OR revoked_at > now() - interval '30 days'
"""

_ADD = f"""
    INSERT INTO api_keys (id, name, secret_sha256, scopes, requests_per_minute, expires_at)
    VALUES (%s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}
"""

_MARK_USED = """
    UPDATE api_keys SET last_used_on = %(day)s
    WHERE id = ANY (%(ids)s) AND (last_used_on IS NULL OR last_used_on < %(day)s)
"""


@asynccontextmanager
async def keys_connection(pool: PostgresPool, doing: str) -> AsyncIterator[AsyncConnection]:
    """Lend a connection as `PostgresPool.connection` does, and say what to do if there is no table of keys."""
    try:
        async with pool.connection(doing) as connection:
            yield connection
    except RejectedError as exc:
        if isinstance(exc.__cause__, UndefinedTable):
            raise RejectedError("this database has no table of API keys; run `emostream init`") from exc
        raise


async def fingerprint(connection: AsyncConnection) -> tuple[int, int]:
    """Returns the number of keys, revoked ones included, and a hash over what verifiers need to know of them."""
    [[number, hashes]] = await _fetch_all(connection, _FINGERPRINT)
    return number, hashes or 0


async def read_for_verifiers(connection: AsyncConnection) -> list[StoredKey]:
    """Returns the keys, without those that were revoked more than 30 days ago."""
    return [_key(row) for row in await _fetch_all(connection, _FOR_VERIFIERS)]


async def read_all(connection: AsyncConnection) -> list[StoredKey]:
    """Returns all keys, the newest last."""
    return [
        _key(row) for row in await _fetch_all(connection, f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, id")
    ]


async def count_active(connection: AsyncConnection) -> int:
    """Returns how many keys are not revoked."""
    [[number]] = await _fetch_all(connection, "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL")
    return int(number)


async def add(
    connection: AsyncConnection,
    key: GivenKey,
    *,
    name: str,
    scopes: Collection[Scope],
    requests_per_minute: int | None,
    expires_at: datetime | None,
) -> StoredKey:
    """Store a key, without its secret, and return what is stored."""
    values = (key.id, name, key.sha256(), sorted(scopes), requests_per_minute, expires_at)
    [row] = await _fetch_all(connection, _ADD, *values)
    return _key(row)


async def revoke(connection: AsyncConnection, id_: str) -> StoredKey | None:
    """Revoke a key, and return it; None if there is no such key. A key that was revoked before keeps that time."""
    statement = f"UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s RETURNING {_COLUMNS}"
    rows = await _fetch_all(connection, statement, id_)
    return _key(rows[0]) if rows else None


async def mark_used(connection: AsyncConnection, ids: Sequence[str], day: date) -> None:
    """Store that keys were used on a day."""
    await connection.execute(_MARK_USED, {"ids": list(ids), "day": day})


async def _fetch_all(connection: AsyncConnection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, values)).fetchall()


def _key(row: tuple[Any, ...]) -> StoredKey:
    id_, name, sha256, scopes, *rest = row
    return StoredKey(id_, name, bytes(sha256), known_scopes(scopes), *rest)
