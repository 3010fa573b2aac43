"""Connections that tasks share, while PostgreSQL is restarted, stopped or paused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from connectors.errors import InvalidDataError, RejectedError, UnavailableError
from connectors.local import Endpoints
from connectors.postgres_pool import PostgresPool
from tests.integration.link_proxy import LinkProxy


@pytest.fixture
def link(endpoints: Endpoints) -> Iterator[LinkProxy]:
    parts = urlsplit(endpoints.postgres_dsn)
    with LinkProxy(parts.hostname or "", parts.port or 0) as opened:
        yield opened


@pytest.fixture
def dsn(endpoints: Endpoints, link: LinkProxy) -> str:
    parts = urlsplit(endpoints.postgres_dsn)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{link.port}"))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(dsn, application_name="tests", wait_s=1.0, timeout_s=1.0) as opened:
        yield opened


async def value(pool: PostgresPool, statement: bytes = b"SELECT 1") -> object:
    async with pool.connection("reading a number") as connection:
        row = await (await connection.execute(statement)).fetchone()
        return row[0] if row is not None else None


async def eventually(pool: PostgresPool) -> object:
    """Ask until there is an answer."""
    while True:
        try:
            return await value(pool)
        except UnavailableError:
            await asyncio.sleep(0.05)


async def test_each_new_connection_is_told(dsn: str) -> None:
    told: list[int] = []
    async with PostgresPool(
        dsn, application_name="tests", on_connect=lambda one: told.append(one.info.backend_pid)
    ) as pool:
        assert [await value(pool, b"SELECT pg_backend_pid()") for _ in range(3)] == told * 3


async def test_connections_are_opened_when_they_are_needed_and_shared(pool: PostgresPool, link: LinkProxy) -> None:
    assert link.connections == 0
    for _ in range(5):
        assert await value(pool) == 1
    assert link.connections == 1
    assert await asyncio.gather(*(value(pool) for _ in range(50))) == [1] * 50
    assert link.connections <= 4


async def test_a_server_that_was_restarted_is_not_noticed(pool: PostgresPool, link: LinkProxy) -> None:
    assert await value(pool) == 1
    link.hang_up()
    assert await value(pool) == 1


async def test_an_absent_server_is_named_at_once(dsn: str, link: LinkProxy) -> None:
    async with PostgresPool(dsn, application_name="tests", wait_s=1_000, pause_s=0) as pool:
        assert await value(pool) == 1
        link.cut()
        found = await asyncio.wait_for(asyncio.gather(*(value(pool) for _ in range(20)), return_exceptions=True), 60)
        for error in found:
            assert isinstance(error, UnavailableError)
            assert re.search(r"while reading a number: .*refused", str(error))
        link.restore()
        assert await eventually(pool) == 1


async def test_no_connection_is_tried_for_a_while_after_a_failure(dsn: str, link: LinkProxy) -> None:
    async with PostgresPool(dsn, application_name="tests", pause_s=1_000) as pool:
        link.cut()
        with pytest.raises(UnavailableError, match="refused"):
            await value(pool)
        link.restore()
        with pytest.raises(UnavailableError, match="refused"):
            await value(pool)
        assert link.connections == 0


async def test_callers_that_are_cancelled_keep_no_connections(pool: PostgresPool) -> None:
    for steps in range(30):
        tasks = [asyncio.create_task(value(pool)) for _ in range(8)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[1::2] == [1] * 4  # after four lost connections, nobody gets one


async def test_a_paused_server_takes_no_longer_than_the_limits(pool: PostgresPool, link: LinkProxy) -> None:
    assert await value(pool) == 1
    link.stall()
    with pytest.raises(UnavailableError, match="did not answer within 2 s while reading a number"):
        await asyncio.wait_for(value(pool), 60)
    link.restore()
    assert await eventually(pool) == 1


async def test_the_server_ends_a_statement_that_takes_too_long(pool: PostgresPool) -> None:
    with pytest.raises(UnavailableError, match="statement timeout"):
        await value(pool, b"SELECT pg_sleep(60)")
    assert await value(pool) == 1


async def test_errors_of_statements_and_of_logins_are_translated(pool: PostgresPool, dsn: str) -> None:
    with pytest.raises(InvalidDataError, match="division by zero"):
        await value(pool, b"SELECT 1 / 0")
    with pytest.raises(RejectedError, match="no_such_table"):
        await value(pool, b"SELECT * FROM no_such_table")
    wrong = urlunsplit(urlsplit(dsn)._replace(path="/no_such_database"))
    async with PostgresPool(wrong, application_name="tests", wait_s=1.0) as other:
        with pytest.raises(RejectedError, match="no_such_database"):
            await value(other)


async def test_a_pool_for_readers_refuses_to_write(dsn: str) -> None:
    async with PostgresPool(dsn, application_name="tests", read_only=True) as pool:
        with pytest.raises(UnavailableError, match="read-only transaction"):
            await value(pool, b"CREATE TABLE mine (n integer)")


async def test_a_pool_that_is_not_open_says_so(dsn: str) -> None:
    pool = PostgresPool(dsn, application_name="tests")
    with pytest.raises(UnavailableError, match="not open"):
        await value(pool)
    await pool.open()
    assert await value(pool) == 1
    await pool.close()
    with pytest.raises(UnavailableError, match="closed"):
        await value(pool)
