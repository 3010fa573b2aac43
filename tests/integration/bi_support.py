"""Helpers for tests of the schema `bi`: databases with the schema, the role tableau, and rows to write and read."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from connectors.local import Endpoints
from connectors.postgres import find_migrations, migrate
from streams.sink.migrations import migrations_folder

Connection = psycopg.Connection[tuple[Any, ...]]
Labels = Mapping[str, tuple[int, float]]
"""Posts and mean confidence of each label."""

MINUTE, FIVE, HOUR, DAY = 60, 300, 3_600, 86_400
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIEWS = (
    "alerts",
    "confidence_scatter",
    "emotion_share",
    "emotion_share_all",
    "emotion_trend",
    "emotion_trend_all",
    "freshness",
    "keyword_frequency",
    "keyword_frequency_all",
    "language_share",
    "language_share_all",
    "model_versions",
    "recent_posts",
    "sentiment_trend",
    "sentiment_trend_all",
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
    languages: Mapping[str, int] | None = None,
    unsupported: int = 0,
) -> None:
    posts = sum(count for count, _ in labels.values()) if posts is None else posts
    end = start + timedelta(seconds=size)
    connection.execute(
        "INSERT INTO emotion_windows VALUES (%s, %s, %s, %s, %s, %s, '{}', '{}', %s, %s, 0, true, 1, %s, %s)",
        (
            *(keyword, size, start, end, posts, sentiment_score, start, end - timedelta(seconds=1)),
            *(unsupported, json.dumps(languages or {})),
        ),
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
