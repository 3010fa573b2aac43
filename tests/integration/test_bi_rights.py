"""The roles of the database have the rights that they need and no others, whoever creates them."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors, sql

from connectors.local import Endpoints
from connectors.postgres import find_migrations, migrate
from streams.ops.init import init_postgres
from streams.settings import load_settings
from streams.sink.migrations import migrations_folder
from tests.integration.bi_support import (
    VIEWS,
    Connection,
    add_an_hour,
    add_post,
    connection,
    database,
    dsn,
    renamed,
    rows,
    tableau,
)
from tests.integration.support import wait_for

__all__ = ["connection", "database", "dsn", "tableau"]  # fixtures

ALERTS = (
    "alert_rules",
    "alert_mutes",
    "alert_positions",
    "alert_series",
    "alert_ticks",
    "alert_incidents",
    "alert_outbox",
)

WRITTEN = (
    "posts",
    "emotion_windows",
    "emotion_window_labels",
    "emotion_window_sentiments",
    "model_versions",
    "sink_offsets",
    "sink_ledger",
    "sink_gaps",
    "erased_posts",
    "erased_authors",
    *ALERTS,
)
"""What the writer changes and the HTTP service reads."""

WRITER_ONLY = ("alert_examples",)


def test_tableau_reads_the_views_and_nothing_else(connection: Connection, tableau: str) -> None:
    add_an_hour(connection)
    add_post(connection, 1, datetime.now(UTC))  # makes a partition after the rights were granted
    others = rows(
        connection,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')",
    )
    with psycopg.connect(tableau, autocommit=True) as visitor:
        for view in VIEWS:
            visitor.execute(f"SELECT * FROM bi.{view}").fetchall()
        assert rows(visitor, "SELECT sum(posts) FROM emotion_share_all") == [(9,)]  # without the name of the schema
        assert rows(visitor, "SELECT count(*) FROM bi.recent_posts") == [(1,)]
        assert {name for (name,) in others} >= {*WRITTEN, "schema_migrations"}
        assert any(re.fullmatch(r"posts_\d{8}", name) for (name,) in others)
        for (name,) in others:
            with pytest.raises(errors.InsufficientPrivilege):
                visitor.execute(f"SELECT * FROM public.{name}")
        functions = rows(visitor, "SELECT oid, proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        assert {"make_post_days", "grant_roles"} <= {name for _, name in functions}
        for oid, name in functions:
            assert rows(visitor, f"SELECT has_function_privilege({oid}, 'EXECUTE')") == [(False,)], name


def test_tableau_cannot_change_anything(connection: Connection, tableau: str) -> None:
    with psycopg.connect(tableau, autocommit=True) as visitor:
        assert rows(visitor, "SHOW default_transaction_read_only") == [("on",)]
        assert rows(visitor, "SHOW statement_timeout") == [("1min",)]
        with pytest.raises(errors.ReadOnlySqlTransaction):
            visitor.execute("CREATE TEMP TABLE mine (n integer)")
        # The setting is a default that the role may change. Its rights still forbid writing.
        visitor.execute("SET default_transaction_read_only = off")
        with pytest.raises(errors.InsufficientPrivilege):
            visitor.execute("INSERT INTO bi.model_versions VALUES ('m', '1', now())")
        for statement in ("CREATE TABLE bi.mine (n integer)", "CREATE TABLE public.mine (n integer)"):
            with pytest.raises(errors.InsufficientPrivilege):
                visitor.execute(statement)


def test_tableau_cannot_log_in_before_an_administrator_allows_it(dsn: str, endpoints: Endpoints) -> None:
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        administrator.execute("ALTER ROLE tableau NOLOGIN PASSWORD NULL")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(renamed(dsn, user="tableau", password="guess"))


@pytest.fixture
def login(endpoints: Endpoints) -> Iterator[Callable[[str], str]]:
    """Creates login roles with the given options, returns a DSN for each, and drops the roles at the end."""
    made: list[str] = []

    def make(options: str) -> str:
        name, password = f"r{secrets.token_hex(4)}", secrets.token_hex(8)
        with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
            administrator.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {options}")
        made.append(name)
        return renamed(endpoints.postgres_dsn, user=name, password=password)

    yield make
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        for name in made:
            # A server process that still ends has temporary objects of the role.
            sessions = sql.SQL("SELECT FROM pg_stat_activity WHERE usename = {}").format(name)
            wait_for(lambda query=sessions: not rows(administrator, query), what=f"a session of {name} does not end")
            administrator.execute(f"DROP ROLE {name}")


def test_a_writer_has_the_rights_of_the_sink_and_no_others(dsn: str, login: Callable[[str], str]) -> None:
    user = urlsplit(login("IN ROLE emostream_writer"))
    writer_dsn = renamed(dsn, user=user.username or "", password=user.password or "")
    with psycopg.connect(writer_dsn, autocommit=True) as writer:
        add_an_hour(writer)
        add_post(writer, 1, datetime.now(UTC))  # in a new partition, which has no rights of its own
        assert rows(writer, "SELECT count(*) FROM posts") == [(1,)]
        assert rows(writer, "SELECT max(version) FROM schema_migrations")
        writer.execute("CREATE TEMP TABLE stage (LIKE posts)")
        for table in WRITTEN:
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                assert rows(writer, f"SELECT has_table_privilege('{table}', '{right}')") == [(True,)], (table, right)
            for refused in (f"TRUNCATE {table}", f"DROP TABLE {table}", f"ALTER TABLE {table} ADD COLUMN n integer"):
                with pytest.raises(errors.InsufficientPrivilege):
                    writer.execute(refused)
        for refused in ("CREATE TABLE mine (n integer)", "INSERT INTO schema_migrations VALUES (999)"):
            with pytest.raises(errors.InsufficientPrivilege):
                writer.execute(refused)


def test_the_api_reads_history_and_keys_and_changes_only_rules_and_when_a_key_was_used(
    connection: Connection, dsn: str, login: Callable[[str], str]
) -> None:
    add_an_hour(connection)
    add_post(connection, 1, datetime.now(UTC))
    user = urlsplit(login("IN ROLE emostream_api"))
    api_dsn = renamed(dsn, user=user.username or "", password=user.password or "")
    with psycopg.connect(api_dsn, autocommit=True) as api:
        for name in (*WRITTEN, "sink_topics", "schema_migrations", "hourly_windows", "hourly_languages", "api_keys"):
            api.execute(f"SELECT * FROM {name}").fetchall()
            changes = "DELETE, TRUNCATE"
            if name not in {"alert_rules", "alert_mutes"}:
                changes += ", INSERT, UPDATE"
            assert rows(api, f"SELECT has_table_privilege('{name}', '{changes}')") == [(False,)], name
        assert rows(api, "SELECT count(*) FROM posts") == [(1,)]
        api.execute("UPDATE api_keys SET last_used_on = now() WHERE id = 'x'")
        api.execute("INSERT INTO alert_rules (id, revision, rule) VALUES ('x', 1, '{}')")
        api.execute("INSERT INTO alert_mutes (until) VALUES (now())")
        for refused in (
            "UPDATE api_keys SET revoked_at = NULL",
            "UPDATE api_keys SET last_used_on = now(), scopes = '{}'",
            "CREATE TABLE mine (n integer)",
            "SELECT grant_roles()",
            *(f"SELECT * FROM {name}" for name in WRITER_ONLY),
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                api.execute(refused)
    user = urlsplit(login("IN ROLE emostream_writer"))
    writer_dsn = renamed(dsn, user=user.username or "", password=user.password or "")
    with psycopg.connect(writer_dsn) as writer, pytest.raises(errors.InsufficientPrivilege):
        writer.execute("SELECT * FROM api_keys")


@pytest.fixture
def own_roles(tmp_path: Path, endpoints: Endpoints) -> Iterator[tuple[Path, str]]:
    """A folder of migrations whose role names have a new suffix, and the suffix."""
    suffix = f"_{secrets.token_hex(4)}"
    for migration in find_migrations(migrations_folder()):
        text = migration.path.read_text("utf-8")
        if "grant_roles" in text:
            text = re.sub(r"\b(emostream_writer|emostream_api|tableau)\b", rf"\g<0>{suffix}", text)
        (tmp_path / migration.path.name).write_text(text, "utf-8")
    yield tmp_path, suffix
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        for role in ("emostream_writer", "emostream_api", "tableau"):
            administrator.execute(f"DROP ROLE IF EXISTS {role}{suffix}")


def warned(connection: Connection) -> list[str]:
    """Returns a list that receives the warnings of the connection from now on."""
    found: list[str] = []
    connection.add_notice_handler(
        lambda notice: found.append(notice.message_primary or "") if notice.severity_nonlocalized == "WARNING" else None
    )
    return found


def test_databases_that_are_migrated_at_the_same_time_share_the_roles(
    own_roles: tuple[Path, str], database: Callable[..., str]
) -> None:
    # Without the handlers for a role that was created meanwhile, the migration failed here in each of ten runs.
    folder, suffix = own_roles
    migrations = find_migrations(folder)
    # The last migration that makes a role, which no database of the server has yet.
    number = max(one.version for one in migrations if "SELECT grant_roles(" in one.path.read_text("utf-8"))
    connections = [psycopg.connect(database()) for _ in range(6)]
    found: list[object] = []
    together = threading.Barrier(len(connections))

    def run(connection: Connection) -> None:
        warnings = warned(connection)
        together.wait(60)
        try:
            migrate(connection, migrations[number - 1 :])
        except Exception as exc:  # noqa: BLE001 - looked at below
            found.append(exc)
        found.extend(warnings)

    for connection in connections:  # noqa: F402 - a name of its own
        migrate(connection, migrations[: number - 1])
    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert found == []
        for connection in connections:
            for role, table in (("tableau", "bi.emotion_share"), ("emostream_api", "api_keys")):
                granted = f"SELECT has_table_privilege('{role}{suffix}', '{table}', 'SELECT')"
                assert rows(connection, granted) == [(True,)]
    finally:
        for connection in connections:
            connection.close()


def test_a_server_that_has_the_roles_gives_no_warning(database: Callable[..., str]) -> None:
    for _ in range(2):
        with closing(psycopg.connect(database())) as connection:
            warnings = warned(connection)
            assert migrate(connection, find_migrations(migrations_folder()))
            assert warnings == []


def test_an_owner_without_the_right_to_create_roles_gets_the_statements(
    own_roles: tuple[Path, str], login: Callable[[str], str], database: Callable[..., str], endpoints: Endpoints
) -> None:
    folder, suffix = own_roles
    owner_dsn = database(login("CREATEDB"))
    with closing(psycopg.connect(owner_dsn)) as connection:
        warnings = warned(connection)
        assert 5 in migrate(connection, find_migrations(folder))
        created = [re.findall(r"CREATE ROLE \w+ NOLOGIN", warning) for warning in warnings]
        names = ("emostream_writer", "tableau", "emostream_api")
        assert created == [[f"CREATE ROLE {name}{suffix} NOLOGIN"] for name in names]
        assert rows(connection, "SELECT count(*) FROM bi.emotion_share") == [(0,)]
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        for (statement,) in created:
            administrator.execute(sql.SQL(statement))  # type: ignore[arg-type] # our own words
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        warnings = warned(connection)
        connection.execute("SELECT grant_roles()")
        granted = f"SELECT has_table_privilege('tableau{suffix}', 'bi.emotion_share', 'SELECT')"
        assert rows(connection, granted) == [(True,)]
        granted = f"SELECT has_table_privilege('emostream_writer{suffix}', 'erased_posts', 'INSERT')"
        assert rows(connection, granted) == [(True,)]
    # Only an administrator of a role may change its settings.
    left = [warning.partition("must run: ")[2] for warning in warnings]
    assert len(left) == 4
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        for statement in left:
            assert statement.startswith(f"ALTER ROLE tableau{suffix} IN DATABASE ")
            administrator.execute(sql.SQL(statement))  # type: ignore[arg-type]


def test_rights_can_be_granted_again(connection: Connection) -> None:
    warnings = warned(connection)
    connection.execute("SELECT grant_roles()")
    assert warnings == []


def test_init_prints_the_warnings(login: Callable[[str], str], database: Callable[..., str]) -> None:
    owner_dsn = database(login("CREATEDB"))
    lines: list[str] = []
    init_postgres(load_settings(env_file=None, environ={"EMOSTREAM_POSTGRES_DSN": owner_dsn}), lines.append)
    warnings = [line for line in lines if line.startswith("PostgreSQL: ")]
    assert warnings
    assert all("an administrator must run: " in line for line in warnings)
    assert "migration 005 applied" in lines
