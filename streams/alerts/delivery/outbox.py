"""The outbox in Postgres: claims deliveries, and records how they ended.

A claim is a lease: the row is due again after `lease_s`, so the deliveries of a process that was killed are tried
again. The number of the try fences a process that was paused: what it reports of an earlier try changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from connectors.postgres_pool import AsyncConnection
from streams.alerts.storage import sql
from streams.alerts.storage.store import fetch_all
from streams.alerts.storage.stored import Backlog, Delivery


async def claim(connection: AsyncConnection, channel: str, *, limit: int, lease_s: float) -> list[Delivery]:
    """Begin a try of at most `limit` deliveries to a channel that are due. Other processes skip them meanwhile.

    The end of an incident is not due before its start was delivered to the same channel, or has failed. The most urgent
    ones come first: many incidents of one rule must not hold up a critical one of another.

    Args:
        connection: the connection.
        channel: the channel; `TOPIC_CHANNEL` for the topic.
        limit: the most deliveries.
        lease_s: seconds in which the caller calls `delivered`, `failed` or `retry`; then another one may claim them.
    """
    rows = await fetch_all(connection, sql.CLAIM, {"channel": channel, "limit": limit, "lease_s": lease_s})
    return sorted((Delivery(*row) for row in rows), key=lambda delivery: delivery.id)


async def delivered(connection: AsyncConnection, delivery: Delivery) -> bool:
    """Record that a delivery was made; returns False if the try was no longer the last one."""
    return await _end(connection, sql.DELIVERED, delivery)


async def failed(connection: AsyncConnection, delivery: Delivery, error: str) -> bool:
    """Record that a delivery is given up, and why, without secrets; returns False as `delivered` does."""
    return await _end(connection, sql.FAILED, delivery, error=error)


async def retry(connection: AsyncConnection, delivery: Delivery, error: str, wait_s: float) -> bool:
    """Record why a try failed, without secrets, and make it due in `wait_s`; returns False as `delivered` does."""
    return await _end(connection, sql.RETRY, delivery, error=error, wait_s=wait_s)


async def _end(connection: AsyncConnection, statement: str, delivery: Delivery, **values: object) -> bool:
    fence = {"id": delivery.id, "attempts": delivery.attempts}
    return (await connection.execute(statement, {**fence, **values})).rowcount == 1


async def due_channels(connection: AsyncConnection) -> set[str]:
    """Returns the channels for which a delivery is due."""
    return {channel for (channel,) in await fetch_all(connection, sql.DUE_CHANNELS)}


async def fail_others(connection: AsyncConnection, known: Collection[str], error: str) -> list[str]:
    """Give up what waits for channels that are not `known`, and return their names, each as often as it had a row."""
    rows = await fetch_all(connection, sql.FAIL_OTHERS, {"known": list(known), "error": error})
    return [channel for (channel,) in rows]


async def backlog(connection: AsyncConnection) -> Backlog:
    """Returns how many deliveries wait or have failed."""
    [row] = await fetch_all(connection, sql.BACKLOG)
    return Backlog(*row)
