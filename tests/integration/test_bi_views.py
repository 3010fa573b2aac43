"""The schema `bi`: its figures, compared with figures computed by hand, and the rights of its roles."""

from __future__ import annotations

import re
import secrets
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree

import psycopg
import pytest
from psycopg import errors, sql

from connectors.local import Endpoints
from connectors.postgres import find_migrations, migrate
from streams.ops.bi.queries import read_chart_data
from streams.ops.init import init_postgres
from streams.settings import load_settings
from streams.sink.migrations import migrations_folder

Connection = psycopg.Connection[tuple[Any, ...]]
Labels = Mapping[str, tuple[int, float]]
"""Posts and mean confidence of each label."""

MINUTE, FIVE, HOUR, DAY = 60, 300, 3_600, 86_400
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIEWS = (
    "confidence_scatter",
    "emotion_share",
    "emotion_share_all",
    "emotion_trend",
    "emotion_trend_all",
    "freshness",
    "keyword_frequency",
    "model_versions",
    "recent_posts",
    "sentiment_trend",
    "sentiment_trend_all",
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
)


def renamed(dsn: str, *, database: str | None = None, user: str | None = None, password: str = "") -> str:
    parts = urlsplit(dsn)
    netloc = parts.netloc if user is None else f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}" if database else parts.path))


@pytest.fixture
def database(endpoints: Endpoints) -> Iterator[Callable[..., str]]:
    """Creates databases, as the user of the application or another one, and drops them at the end."""
    made: list[tuple[str, str]] = []

    def make(dsn: str = endpoints.postgres_dsn) -> str:
        name = f"bi{secrets.token_hex(4)}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append((dsn, name))
        return renamed(dsn, database=name)

    yield make
    for dsn, name in made:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name}")


@pytest.fixture
def dsn(database: Callable[..., str]) -> str:
    """The DSN of a database with the schema."""
    found = database()
    with closing(psycopg.connect(found)) as connection:
        migrate(connection, find_migrations(migrations_folder()))
    return found


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        opened.execute("SET timezone = 'UTC'")
        yield opened


@pytest.fixture
def tableau(dsn: str, endpoints: Endpoints) -> str:
    """The DSN of this database for the role tableau, which may log in, as docs/tableau.md tells an administrator."""
    password = secrets.token_hex(8)
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        administrator.execute(f"ALTER ROLE tableau LOGIN PASSWORD '{password}'")
    return renamed(dsn, user="tableau", password=password)


def add_window(
    connection: Connection,
    keyword: str,
    size: int,
    start: datetime,
    labels: Labels,
    *,
    posts: int | None = None,
    sentiments: Mapping[str, int] | None = None,
    sentiment_score: float | None = None,
) -> None:
    posts = sum(count for count, _ in labels.values()) if posts is None else posts
    end = start + timedelta(seconds=size)
    connection.execute(
        "INSERT INTO emotion_windows VALUES (%s, %s, %s, %s, %s, %s, '{}', '{}', %s, %s, 0, true, 1)",
        (keyword, size, start, end, posts, sentiment_score, start, end - timedelta(seconds=1)),
    )
    for label, (count, confidence) in labels.items():
        percent = round(100 * count / posts, 4)
        connection.execute(
            "INSERT INTO emotion_window_labels VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (keyword, size, start, label, count, percent, confidence),
        )
    for label, count in (sentiments or {}).items():
        connection.execute(
            "INSERT INTO emotion_window_sentiments VALUES (%s, %s, %s, %s, %s, %s)",
            (keyword, size, start, label, count, round(100 * count / sum((sentiments or {}).values()), 4)),
        )


def add_post(connection: Connection, offset: int, created_at: datetime, **fields: Any) -> None:
    connection.execute("SELECT make_post_days(%s)", ([created_at.astimezone(UTC).date()],))
    values = {
        "origin_topic": "posts.raw",
        "origin_partition": 0,
        "origin_offset": offset,
        "id": f"id-{offset}",
        "source": "mastodon",
        "keywords": ["tea"],
        "created_at": created_at,
        "text": "what a lovely day",
        "label": "joy",
        "confidence": 0.9,
        "scores": "{}",
        "model_name": "emotion",
        "model_version": "1.0.0",
        "model_tier": "main",
        "classified_at": created_at,
        **fields,
    }
    connection.execute(
        f"INSERT INTO posts ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
        list(values.values()),
    )


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


# ---- figures ----

# Of 9 posts, 6 are about tea and 4 about rain. Two of these are about both, and one post has no keyword.
TEA: Labels = {"joy": (3, 0.9), "anger": (3, 0.5)}
RAIN: Labels = {"sadness": (3, 0.8), "joy": (1, 0.6)}
ALL: Labels = {"joy": (4, 0.8), "anger": (3, 0.5), "sadness": (2, 0.7)}


def add_an_hour(
    connection: Connection, start: datetime = NOON, *, sizes: tuple[int, ...] = (MINUTE, HOUR, DAY)
) -> None:
    for size in sizes:
        begin = start.replace(hour=0) if size == DAY else start
        add_window(connection, "tea", size, begin, TEA)
        add_window(connection, "rain", size, begin, RAIN)
        add_window(connection, "*", size, begin, ALL)


def test_emotion_share(connection: Connection) -> None:
    add_an_hour(connection)
    assert rows(connection, "SELECT * FROM bi.emotion_share ORDER BY 1, 3") == [
        ("rain", NOON, "joy", 1, 25.0, 0.6),
        ("rain", NOON, "sadness", 3, 75.0, 0.8),
        ("tea", NOON, "anger", 3, 50.0, 0.5),
        ("tea", NOON, "joy", 3, 50.0, 0.9),
    ]
    assert rows(connection, "SELECT * FROM bi.emotion_share_all ORDER BY emotion") == [
        ("all posts", NOON, "anger", 3, 33.3333, 0.5),
        ("all posts", NOON, "joy", 4, 44.4444, 0.8),
        ("all posts", NOON, "sadness", 2, 22.2222, 0.7),
    ]


def test_each_post_counts_once_in_a_view(connection: Connection) -> None:
    add_an_hour(connection, sizes=(MINUTE, FIVE, HOUR, DAY))
    for view, posts in (
        ("emotion_share_all", 9),
        ("emotion_share", 10),
        ("emotion_trend_all", 9),
        ("emotion_trend", 10),
    ):
        assert rows(connection, f"SELECT sum(posts) FROM bi.{view}") == [(posts,)], view
    assert rows(connection, "SELECT sum(posts) FROM bi.keyword_frequency") == [(10,)]
    assert rows(connection, "SELECT sum(posts) FROM bi.confidence_scatter") == [(10,)]


@pytest.mark.parametrize("sizes", [(HOUR,), (FIVE,)], ids=["hours", "added-up"])
def test_percent_adds_up_to_a_hundred(connection: Connection, sizes: tuple[int, ...]) -> None:
    thirds: Labels = {"joy": (1, 0.5), "anger": (1, 0.5), "fear": (1, 0.5)}
    for size in sizes:
        for keyword in ("tea", "*"):
            for hours in range(3):
                add_window(connection, keyword, size, NOON + timedelta(hours=hours), thirds)
    for view in ("emotion_share", "emotion_share_all"):
        sums = rows(connection, f"SELECT sum(percent) FROM bi.{view} GROUP BY keyword, hour")
        assert len(sums) == 3
        assert [float(percent) for (percent,) in sums] == [pytest.approx(100, abs=0.01)] * 3


def test_hours_are_summed_if_there_are_no_windows_of_an_hour(connection: Connection) -> None:
    for minutes in (0, 5, 60):
        start = NOON + timedelta(minutes=minutes)
        labels: Labels = {"joy": (1, 0.5), "fear": (1, 0.7)} if minutes else {"joy": (3, 0.9)}
        for keyword in ("tea", "*"):
            add_window(
                connection, keyword, FIVE, start, labels, sentiments={"positive": 2, "negative": 1}, sentiment_score=0.5
            )
            for minute in range(5):  # windows of a minute with the same posts, which must not be counted again
                add_window(connection, keyword, MINUTE, start + timedelta(minutes=minute), labels)
            add_window(connection, keyword, 420, start, labels)  # 7 minutes, which do not divide an hour
    later = NOON + timedelta(hours=1)
    assert rows(connection, "SELECT * FROM bi.emotion_share ORDER BY hour, emotion") == [
        ("tea", NOON, "fear", 1, 20.0, 0.7),
        ("tea", NOON, "joy", 4, 80.0, pytest.approx((3 * 0.9 + 0.5) / 4)),
        ("tea", later, "fear", 1, 50.0, 0.7),
        ("tea", later, "joy", 1, 50.0, 0.5),
    ]
    assert rows(connection, "SELECT * FROM bi.keyword_frequency ORDER BY hour") == [
        ("tea", NOON, 5, 100.0),
        ("tea", later, 2, 100.0),
    ]
    assert rows(
        connection, "SELECT hour, sentiment, posts, percent, mean_sentiment FROM bi.sentiment_trend ORDER BY 1, 2"
    ) == [
        (NOON, "negative", 2, pytest.approx(100 / 3), 0.5),
        (NOON, "positive", 4, pytest.approx(200 / 3), 0.5),
        (later, "negative", 1, pytest.approx(100 / 3), 0.5),
        (later, "positive", 2, pytest.approx(200 / 3), 0.5),
    ]


def test_hours_before_the_first_window_of_an_hour_are_summed(connection: Connection) -> None:
    later = NOON + timedelta(hours=1)
    for keyword in ("tea", "*"):
        for start in (NOON, NOON + timedelta(minutes=5), later):
            add_window(connection, keyword, FIVE, start, {"joy": (2, 0.9)})
        add_window(connection, keyword, HOUR, later, {"joy": (7, 0.8)})
    assert rows(connection, "SELECT hour, posts FROM bi.emotion_share ORDER BY hour") == [(NOON, 4), (later, 7)]
    assert rows(connection, "SELECT hour, posts FROM bi.keyword_frequency ORDER BY hour") == [(NOON, 4), (later, 7)]


def test_sizes_that_do_not_divide_an_hour_leave_the_hourly_views_empty(connection: Connection) -> None:
    add_an_hour(connection, sizes=(420, DAY))
    assert rows(connection, "SELECT count(*) FROM bi.emotion_share") == [(0,)]
    assert rows(connection, "SELECT sum(posts) FROM bi.emotion_trend") == [(10,)]


def test_emotion_trend_has_a_row_for_an_emotion_without_posts(connection: Connection) -> None:
    add_an_hour(connection)
    assert rows(connection, "SELECT * FROM bi.emotion_trend ORDER BY keyword, emotion") == [
        ("rain", NOON, 1.0, "anger", 0, 0.0, None, 4),
        ("rain", NOON, 1.0, "joy", 1, 25.0, 0.6, 4),
        ("rain", NOON, 1.0, "sadness", 3, 75.0, 0.8, 4),
        ("tea", NOON, 1.0, "anger", 3, 50.0, 0.5, 6),
        ("tea", NOON, 1.0, "joy", 3, 50.0, 0.9, 6),
        ("tea", NOON, 1.0, "sadness", 0, 0.0, None, 6),
    ]


def test_emotion_trend_takes_the_shortest_size_that_is_still_written(connection: Connection) -> None:
    yesterday = NOON - timedelta(days=1)
    add_window(connection, "*", MINUTE, yesterday, ALL)
    for start in (yesterday, NOON):
        add_window(connection, "*", FIVE, start, ALL)
        add_window(connection, "*", DAY, start.replace(hour=0), ALL)
    found = rows(connection, 'SELECT "time", minutes, sum(posts) FROM bi.emotion_trend_all GROUP BY 1, 2 ORDER BY 1')
    assert found == [(yesterday, 5.0, 9), (NOON, 5.0, 9)]


def test_confidence_scatter_marks_outliers(connection: Connection) -> None:
    confidences = {"a": 0.80, "b": 0.81, "c": 0.82, "d": 0.83, "e": 0.84, "odd": 0.30, "rare": 0.10}
    for keyword, confidence in confidences.items():
        joy = 29 if keyword == "rare" else 40
        add_window(connection, keyword, HOUR, NOON, {"joy": (joy, confidence), "fear": (100 - joy, 0.5)})
    add_window(connection, "a", HOUR, NOON - timedelta(days=8), {"joy": (1000, 0.1)})
    add_window(connection, "*", HOUR, NOON, {"joy": (270, 0.7)})
    found = {
        keyword: (posts, confidence, usual, score, outlier)
        for keyword, posts, confidence, usual, score, outlier in rows(
            connection,
            "SELECT keyword, posts, mean_confidence, usual_confidence, confidence_score, is_outlier "
            "FROM bi.confidence_scatter WHERE emotion = 'joy'",
        )
    }
    judged = [value for keyword, value in confidences.items() if keyword != "rare"]
    median = statistics.median(judged)
    deviation = statistics.median(abs(value - median) for value in judged)
    for keyword, confidence in confidences.items():
        score = None if keyword == "rare" else pytest.approx(0.6745 * (confidence - median) / deviation)
        posts = 29 if keyword == "rare" else 40
        expected = (posts, pytest.approx(confidence), pytest.approx(median), score, keyword == "odd")
        assert found[keyword] == expected
    # The confidence of fear is the same everywhere, so it has no outlier.
    assert rows(connection, "SELECT count(*) FROM bi.confidence_scatter WHERE emotion = 'fear' AND is_outlier") == [
        (0,)
    ]


def test_keyword_frequency_is_a_share_of_all_posts(connection: Connection) -> None:
    add_an_hour(connection)
    found = rows(connection, "SELECT * FROM bi.keyword_frequency ORDER BY keyword")
    assert found == [("rain", NOON, 4, pytest.approx(400 / 9)), ("tea", NOON, 6, pytest.approx(600 / 9))]


def test_recent_posts(connection: Connection) -> None:
    now = datetime.now(UTC)
    add_post(connection, 1, now - timedelta(days=8))
    add_post(
        connection, 2, now, keywords=["tea", "rain"], url="https://example.org/2", sentiment_label="positive",
        sentiment_score=0.7, lang="en", author="someone",
    )  # fmt: skip
    add_post(connection, 3, now - timedelta(days=6), keywords=[], text=None)
    assert rows(connection, "SELECT * FROM bi.recent_posts ORDER BY created_at DESC") == [
        (now, "what a lovely day", "joy", 0.9, "positive", 0.7, "mastodon", "tea, rain", "en", "someone",
            "https://example.org/2", "emotion 1.0.0", "id-2"),
        (now - timedelta(days=6), None, "joy", 0.9, None, None, "mastodon", "", None, None, None,
            "emotion 1.0.0", "id-3"),
    ]  # fmt: skip


def test_freshness(connection: Connection) -> None:
    assert rows(connection, "SELECT * FROM bi.freshness") == [(None, None, None)]
    add_an_hour(
        connection, datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2), sizes=(HOUR,)
    )
    ((newest, hour, behind),) = rows(connection, "SELECT * FROM bi.freshness")
    assert newest - hour == timedelta(minutes=59, seconds=59)
    assert behind == pytest.approx((datetime.now(UTC) - newest).total_seconds() / 60, abs=0.5)


def test_every_view_and_column_has_a_comment(connection: Connection) -> None:
    views = rows(
        connection, "SELECT relname, obj_description(oid) FROM pg_class WHERE relnamespace = 'bi'::regnamespace"
    )
    assert sorted(name for name, _ in views) == sorted(VIEWS)
    assert [name for name, comment in views if not comment] == []
    bare = rows(
        connection,
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
        "WHERE relnamespace = 'bi'::regnamespace AND col_description(attrelid, attnum) IS NULL",
    )
    assert bare == []


# ---- the workbook and the charts ----

WORKBOOK = Path(__file__).parents[2] / "docs/tableau/emostream.twb"
SCRIPT = Path(__file__).parents[2] / "scripts/bi_charts.py"
DATATYPES = {
    "text": "string",
    "double precision": "real",
    "bigint": "integer",
    "timestamp with time zone": "datetime",
    "boolean": "boolean",
}


def test_the_workbook_has_the_columns_of_the_views_with_their_types(connection: Connection) -> None:
    sources = ElementTree.parse(WORKBOOK).findall("datasources/datasource")
    assert len(sources) >= 5
    for source in sources:
        relation = source.find("connection/relation")
        assert relation is not None
        schema, view = re.findall(r"\[(\w+)\]", relation.get("table", ""))
        found = connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, view),
        ).fetchall()
        declared = [
            (record.findtext("remote-name"), record.findtext("local-type")) for record in source.iter("metadata-record")
        ]
        assert declared == [(column, DATATYPES[kind]) for column, kind in found], view


def draw(dsn: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--dsn", dsn, "--out", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_role_tableau_can_draw_the_charts(connection: Connection, tableau: str, tmp_path: Path) -> None:
    add_an_hour(connection)
    found = draw(tableau, tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    for line in found.stdout.splitlines():
        assert Path(line).read_bytes()[:4] == b"\x89PNG"
    data = read_chart_data(tableau)
    assert [(share.keyword, share.counts) for share in data.shares] == [
        ("*", {"joy": 4, "anger": 3, "sadness": 2}),
        ("tea", {"joy": 3, "anger": 3}),
        ("rain", {"sadness": 3, "joy": 1}),
    ]
    assert {(each.keyword, each.emotion, each.posts) for each in data.points} == {
        ("tea", "joy", 3),
        ("tea", "anger", 3),
        ("rain", "joy", 1),
        ("rain", "sadness", 3),
    }


def test_charts_without_posts_or_views_are_an_error_of_one_line(
    tableau: str, database: Callable[..., str], tmp_path: Path
) -> None:
    empty = draw(tableau, tmp_path)
    assert empty.returncode == 1
    assert "have no posts yet" in empty.stderr
    bare = draw(database(), tmp_path)
    assert bare.returncode == 1
    assert bare.stderr.startswith('error: PostgreSQL refused while reading the views of the schema bi: relation "bi.')
    assert empty.stderr.count("\n") == bare.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# ---- rights ----


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


@pytest.fixture
def own_roles(tmp_path: Path, endpoints: Endpoints) -> Iterator[tuple[Path, str]]:
    """A folder of migrations whose role names have a new suffix, and the suffix."""
    suffix = f"_{secrets.token_hex(4)}"
    for migration in find_migrations(migrations_folder()):
        text = migration.path.read_text("utf-8")
        if migration.path.name == "005_roles.sql":
            text = re.sub(r"\b(emostream_writer|tableau)\b", rf"\g<0>{suffix}", text)
        (tmp_path / migration.path.name).write_text(text, "utf-8")
    yield tmp_path, suffix
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        for role in (f"emostream_writer{suffix}", f"tableau{suffix}"):
            administrator.execute(f"DROP ROLE IF EXISTS {role}")


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
    connections = [psycopg.connect(database()) for _ in range(6)]
    found: list[object] = []
    together = threading.Barrier(len(connections))

    def run(connection: Connection) -> None:
        warnings = warned(connection)
        together.wait(60)
        try:
            migrate(connection, migrations[-1:])
        except Exception as exc:  # noqa: BLE001 - looked at below
            found.append(exc)
        found.extend(warnings)

    for connection in connections:
        migrate(connection, migrations[:-1])
    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert found == []
        for connection in connections:
            granted = f"SELECT has_table_privilege('tableau{suffix}', 'bi.emotion_share', 'SELECT')"
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
        assert created == [[f"CREATE ROLE emostream_writer{suffix} NOLOGIN"], [f"CREATE ROLE tableau{suffix} NOLOGIN"]]
        assert rows(connection, "SELECT count(*) FROM bi.emotion_share") == [(0,)]
    with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as administrator:
        for (statement,) in created:
            administrator.execute(sql.SQL(statement))  # type: ignore[arg-type] # our own words
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        warnings = warned(connection)
        connection.execute("SELECT grant_roles()")
        granted = f"SELECT has_table_privilege('tableau{suffix}', 'bi.emotion_share', 'SELECT')"
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
