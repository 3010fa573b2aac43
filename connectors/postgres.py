"""PostgreSQL: connections with time limits, the mapping of its errors, and migrations under an advisory lock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from connectors.errors import ConnectorError, InvalidDataError, RejectedError, UnavailableError, most_specific

Connection = psycopg.Connection[tuple[object, ...]]

CONNECT_TIMEOUT_S = 10
"""Seconds to wait for a connection."""

IDLE_IN_TRANSACTION_MS = 10_000
"""Milliseconds after which the server ends a transaction in which no statement comes, and releases its locks. A process
that is paused in a transaction loses it after this time. A running process sends its statements milliseconds apart."""

LOCK_TIMEOUT_MS = 30_000
"""Milliseconds to wait for a lock: longer than a paused process can hold one, so that one wait is enough."""

MIGRATION_LOCK = 0x656D6F73
"""The advisory lock that lets one caller at a time migrate a database; "emos" in ASCII."""

_REFUSED = (RejectedError, "PostgreSQL refused")
_NO_ANSWER = (UnavailableError, "PostgreSQL did not answer")
_BROKEN = (UnavailableError, "PostgreSQL's connection broke")
_NO_ROOM = (UnavailableError, "PostgreSQL has no room left")
_INVALID = (InvalidDataError, "PostgreSQL does not take the data")

_MEANINGS: dict[type[BaseException], tuple[type[ConnectorError], str]] = {
    psycopg.Error: _REFUSED,
    psycopg.OperationalError: _NO_ANSWER,
    # psycopg calls these operational errors too, but a retry does not change the answer.
    psycopg.errors.InvalidAuthorizationSpecification: _REFUSED,
    psycopg.errors.InvalidPassword: _REFUSED,
    psycopg.errors.InvalidCatalogName: _REFUSED,
    psycopg.InterfaceError: _BROKEN,
    psycopg.errors.IdleInTransactionSessionTimeout: _BROKEN,
    psycopg.errors.TransactionTimeout: _BROKEN,
    psycopg.errors.InFailedSqlTransaction: _BROKEN,
    psycopg.errors.ReadOnlySqlTransaction: _BROKEN,  # the server is a standby, for example during a fail-over
    # No disk space, memory or connections are left: SQLSTATE class 53. When an operator has helped, the same statement
    # succeeds.
    psycopg.errors.InsufficientResources: _NO_ROOM,
    psycopg.errors.DiskFull: _NO_ROOM,
    psycopg.errors.OutOfMemory: _NO_ROOM,
    psycopg.errors.TooManyConnections: _NO_ROOM,
    psycopg.errors.ConfigurationLimitExceeded: _NO_ROOM,
    # The content of a row is rejected: SQLSTATE classes 22 and 23, and a value that is too long for an index.
    psycopg.DataError: _INVALID,
    psycopg.IntegrityError: _INVALID,
    psycopg.errors.ProgramLimitExceeded: _INVALID,
}
"""By class of psycopg: the class of our error, and what it says. A class stands for its subclasses that have no entry
of their own."""

_LOGIN_REFUSALS = (
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "permission denied",
)
"""Parts of the texts with which a server refuses a login. Only the text tells, because libpq does not pass on the
SQLSTATE of a failed connection. A refusal in another language than English counts as no answer, and is tried again."""

_MIGRATION_NAME = re.compile(r"(\d{3})_[a-z0-9_]+\.sql")


def connect(dsn: str, *, application_name: str) -> Connection:
    """Open a connection.

    Raises:
        UnavailableError: No server answers at the address.
        RejectedError: The credentials or the database are wrong, or libpq cannot read the address.
    """
    with postgres_errors("reading its address"):
        where = address_of(dsn)
    with postgres_errors(f"connecting to {where}"):
        return psycopg.connect(dsn, **session_options(application_name))


def session_options(application_name: str, *, statement_timeout_ms: int = 0, read_only: bool = False) -> dict[str, Any]:
    """Returns the keyword arguments of `connect`, with which a lost server and a forgotten transaction have an end.

    Args:
        application_name: What `pg_stat_activity` shows.
        statement_timeout_ms: Milliseconds after which the server ends a statement; 0 for no limit.
        read_only: Whether the server refuses to write.
    """
    options = {
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "statement_timeout": statement_timeout_ms,
        "default_transaction_read_only": "on" if read_only else None,
    }
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": application_name,
        # A server that no longer answers is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # no keepalives are sent while sent data is not acknowledged
        "options": " ".join(f"-c {name}={value}" for name, value in options.items() if value),
    }


def address_of(dsn: str) -> str:
    """Returns `host:port/database` of an address as libpq reads it, without the credentials.

    Several hosts are separated by commas.

    Raises:
        psycopg.ProgrammingError: libpq cannot read the address.
    """
    found = conninfo_to_dict(dsn)
    hosts = str(found.get("host", "localhost")).split(",")
    ports = str(found.get("port", "")).split(",")
    if len(ports) == 1:
        ports *= len(hosts)  # libpq takes a single port for every host
    servers = ",".join(f"{host}:{port or 5432}" for host, port in zip(hosts, ports, strict=False))
    return f"{servers}/{found['dbname']}" if "dbname" in found else servers


@contextmanager
def postgres_errors(doing: str) -> Iterator[None]:
    """Translate the errors of psycopg into those of `connectors.errors`.

    Args:
        doing: What is attempted, for the message.

    Raises:
        UnavailableError: The server does not answer, starts or stops, ended the connection, has no room left, or a
            transaction failed because of a concurrent one.
        InvalidDataError: A value or a row violates its type or a constraint.
        RejectedError: The server rejected the call for any other reason.
    """
    try:
        yield
    except psycopg.Error as exc:
        kind, what = _REFUSED if _is_login_refusal(exc) else most_specific(_MEANINGS, exc) or _REFUSED
        raise kind(f"{what} while {doing}: {_first_line(exc)}") from exc


def _is_login_refusal(exc: psycopg.Error) -> bool:
    """Returns whether the server answered a connection attempt, and refused it."""
    if not isinstance(exc, psycopg.OperationalError) or exc.sqlstate is not None:
        return False
    needs_password = exc.pgconn is not None and exc.pgconn.needs_password
    return needs_password or any(text in str(exc) for text in _LOGIN_REFUSALS)


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


@dataclass(frozen=True)
class Migration:
    """A numbered SQL file. It records itself in `schema_migrations`."""

    version: int
    path: Path


def find_migrations(folder: Path) -> list[Migration]:
    """Returns the migrations of a folder, in order.

    Raises:
        RejectedError: A file is misnamed, or a number is missing or used twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _MIGRATION_NAME.fullmatch(path.name)
        if match is None:
            raise RejectedError(f"{path.name}: a migration must be named like 001_what_it_does.sql")
        found.append(Migration(int(match[1]), path))
    if not found or [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise RejectedError(f"{folder}: migrations must be numbered 001, 002, … without a gap")
    return found


def migrate(connection: Connection, migrations: Sequence[Migration]) -> list[int]:
    """Apply the missing migrations, each in a transaction of its own, and return their versions.

    An advisory lock lets one caller at a time continue. The callers that waited then find nothing to do.

    Raises:
        ConnectorError: The database did not answer, or rejected a statement.
    """
    applied = []
    for migration in migrations:
        with postgres_errors(f"applying {migration.path.name}"), connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            if migration.version not in _applied(connection):
                connection.execute(sql.SQL(migration.path.read_text("utf-8")))
                applied.append(migration.version)
    return applied


def _applied(connection: Connection) -> set[int]:
    exists = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if exists is None or not exists[0]:
        return set()
    rows = connection.execute("SELECT version FROM schema_migrations").fetchall()
    return {int(str(row[0])) for row in rows}
