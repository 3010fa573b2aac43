"""How a real PostgreSQL refuses a login, and which error that becomes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from connectors.errors import RejectedError, UnavailableError
from connectors.local import Endpoints
from connectors.postgres import connect

PASSWORD = "a-password"


class Login:
    """A role that a test changes, and a database of its own."""

    def __init__(self, dsn: str) -> None:
        self.name = f"login_{secrets.token_hex(4)}"
        self._dsn = dsn
        self.run("CREATE ROLE {} LOGIN PASSWORD 'a-password'")
        self.run("CREATE DATABASE {}")
        self.run("REVOKE CONNECT ON DATABASE {0} FROM public")
        self.run("GRANT CONNECT ON DATABASE {0} TO {0}")

    def run(self, statement: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self.name)))

    def dsn(self, credentials: str, database: str | None = None) -> str:
        parts = urlsplit(self._dsn)
        address = f"{self.name}{credentials}@{parts.hostname}:{parts.port}"
        return urlunsplit(parts._replace(netloc=address, path=f"/{database or self.name}"))


@pytest.fixture
def login(endpoints: Endpoints) -> Iterator[Login]:
    made = Login(endpoints.postgres_dsn)
    yield made
    made.run("DROP DATABASE {}")
    made.run("DROP ROLE {}")


def test_a_login_that_is_taken(login: Login) -> None:
    connect(login.dsn(f":{PASSWORD}"), application_name="tests").close()


@pytest.mark.parametrize(
    ("change", "credentials", "database"),
    [
        (None, ":wrong", None),
        (None, "", None),
        (None, f":{PASSWORD}", "no_such_database"),
        ("ALTER ROLE {} NOLOGIN", f":{PASSWORD}", None),
        ("REVOKE CONNECT ON DATABASE {0} FROM {0}", f":{PASSWORD}", None),
    ],
)
def test_a_login_that_is_refused_for_good(
    login: Login, change: str | None, credentials: str, database: str | None
) -> None:
    if change is not None:
        login.run(change)
    with pytest.raises(RejectedError, match="PostgreSQL refused while connecting"):
        connect(login.dsn(credentials, database), application_name="tests")


def test_a_login_that_a_limit_refuses_may_succeed_later(login: Login) -> None:
    login.run("ALTER ROLE {} CONNECTION LIMIT 0")
    with pytest.raises(UnavailableError, match="too many connections"):
        connect(login.dsn(f":{PASSWORD}"), application_name="tests")
    login.run("ALTER ROLE {} CONNECTION LIMIT 1")
    connect(login.dsn(f":{PASSWORD}"), application_name="tests").close()
