"""Measures the queries of a BI tool on the views of the schema `bi` over millions of posts.

    python benchmarks/bench_history_queries.py
    python benchmarks/bench_history_queries.py --posts 200000 --days 3 --json queries.json
    python benchmarks/bench_history_queries.py --index "CREATE INDEX ON posts (created_at)"

It makes the rows inside Postgres, in a new database that it drops at the end. On each view it runs the queries that
Tableau sends for common filters. Each query runs twice, and the second run is measured, when the data that fit are in
memory. With `--index`, all queries run again with that index, and the table has both results. It starts its own servers
unless `--dsn` names one.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
import psycopg
from rich.table import Table

from connectors import postgres
from connectors.errors import ConnectorError
from connectors.local import LocalStack
from streams.cli.common import console, progress_console
from streams.sink.migrations import migrations_folder

Connection = psycopg.Connection[tuple[Any, ...]]

SIZES = (60, 300, 3600, 86_400)
KEYWORDS_PER_POST = 1.5

LABELS = """(VALUES
    ('joy', 0.24), ('neutral', 0.22), ('anger', 0.15), ('sadness', 0.12), ('love', 0.10), ('fear', 0.08),
    ('surprise', 0.06), ('disgust', 0.03)
) AS l (label, share)"""

POSTS = """
    INSERT INTO posts
    SELECT
        'posts.raw', n %% 8, %(first)s + n, 'post-' || %(first)s + n,
        (ARRAY['mastodon', 'bluesky', 'reddit', 'rss'])[1 + n %% 4],
        CASE n %% 4
            WHEN 0 THEN ARRAY[keyword, 'keyword-' || floor(%(keywords)s * random())]
            WHEN 1 THEN ARRAY[keyword, 'keyword-0']
            ELSE ARRAY[keyword]
        END,
        %(start)s::timestamptz + n * interval '86400 seconds' / %(posts)s,
        repeat('a post of usual length ', 3 + n %% 6), 'en', 'author-' || n %% 5000, 'https://example.org/' || n,
        label, 0.4 + 0.6 * random(),
        jsonb_build_object('joy', random(), 'sadness', random(), 'anger', random(), 'fear', random(), 'love', random(),
            'surprise', random(), 'disgust', random(), 'neutral', random()),
        (ARRAY['negative', 'neutral', 'positive'])[1 + n %% 3], 2 * random() - 1, 'emotion', '1.0.0', 'main', now()
    FROM (
        SELECT
            n::integer,
            'keyword-' || floor(%(keywords)s * random() ^ 3) AS keyword,
            (ARRAY['joy', 'neutral', 'anger', 'sadness', 'love', 'fear', 'surprise', 'joy', 'neutral', 'disgust'])
                [1 + floor(10 * random())::integer] AS label
        FROM generate_series(0, %(posts)s - 1) AS n
    ) AS made
"""

# A keyword's mean number of posts is what POSTS gives it. POSTS draws keyword k if the cube of a random number lies in
# the k-th of equal parts of 0 to 1, which has the probability of the difference of two cube roots.
# The term with `start_at` makes Postgres draw a random number for each window instead of one for each keyword.
WINDOWS = """
    INSERT INTO emotion_windows
    SELECT
        keyword, %(size)s, start_at, start_at + %(size)s * interval '1 second',
        greatest(1, round(mean * (0.5 + random()))), random() - 0.5, '{"1.0.0": 1}', '{"rss": 1}', start_at, start_at,
        0, true, 1
    FROM
        generate_series(
            date_trunc('day', %(since)s::timestamptz, 'UTC'), %(until)s, %(size)s * interval '1 second'
        ) AS start_at,
        (
            SELECT
                'keyword-' || k AS keyword,
                %(rate)s * %(per_post)s * %(size)s * ((k + 1.0) ^ (1 / 3.0) - k ^ (1 / 3.0)) / %(keywords)s ^ (1 / 3.0)
                    AS mean
            FROM generate_series(0, %(keywords)s - 1) AS k
            UNION ALL SELECT '*', %(rate)s * %(size)s
        ) AS known
    WHERE random() + 0 * extract(epoch FROM start_at) < 1 - exp(-least(mean, 50))
"""
WINDOW_LABELS = f"""
    INSERT INTO emotion_window_labels
    SELECT keyword, size_s, start_at, label, greatest(1, round(posts * share)), 100 * share, 0.5 + 0.4 * random()
    FROM emotion_windows, {LABELS}
    WHERE size_s = %(size)s AND random() < 1 - exp(-least(posts * share, 50))
"""
WINDOW_SENTIMENTS = """
    INSERT INTO emotion_window_sentiments
    SELECT keyword, size_s, start_at, label, greatest(1, posts / 3), 33.3
    FROM emotion_windows, unnest(ARRAY['negative', 'neutral', 'positive']) AS label
    WHERE size_s = %(size)s
"""

QUERIES = (
    ("emotion_share", "bar of the last day", "keyword, emotion, sum(posts)", "WHERE hour >= {day} GROUP BY 1, 2"),
    (
        "emotion_share",
        "a week of one keyword by hour",
        "hour, emotion, sum(posts), avg(percent)",
        "WHERE keyword = 'keyword-7' AND hour >= {week} GROUP BY 1, 2",
    ),
    (
        "emotion_share",
        "a week of one emotion by keyword",
        "keyword, sum(posts)",
        "WHERE emotion = 'anger' AND hour >= {week} GROUP BY 1",
    ),
    ("emotion_share", "everything, no filter", "keyword, emotion, sum(posts)", "GROUP BY 1, 2"),
    ("emotion_share", "list of keywords for a filter", "keyword", "GROUP BY 1"),
    ("emotion_share", "first and last hour for a filter", "min(hour), max(hour)", ""),
    ("emotion_share_all", "everything by day", "date_trunc('day', hour), emotion, sum(posts)", "GROUP BY 1, 2"),
    ("confidence_scatter", "the scatter", "keyword, emotion, percent, mean_confidence, is_outlier", ""),
    (
        "emotion_trend",
        "a day of one keyword",
        "time, emotion, sum(posts)",
        "WHERE keyword = 'keyword-7' AND time >= {day} GROUP BY 1, 2",
    ),
    (
        "emotion_trend",
        "the last hour of all keywords",
        "keyword, emotion, sum(posts)",
        "WHERE time >= {hour} GROUP BY 1, 2",
    ),
    ("emotion_trend_all", "the last day", "time, emotion, sum(posts)", "WHERE time >= {day} GROUP BY 1, 2"),
    (
        "keyword_frequency",
        "top ten of the last day",
        "keyword, sum(posts)",
        "WHERE hour >= {day} GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    ),
    (
        "keyword_frequency",
        "one keyword, everything",
        "hour, sum(posts), avg(percent_of_all)",
        "WHERE keyword = 'keyword-7' GROUP BY 1",
    ),
    (
        "sentiment_trend",
        "a week of one keyword",
        "hour, sentiment, sum(posts)",
        "WHERE keyword = 'keyword-7' AND hour >= {week} GROUP BY 1, 2",
    ),
    ("recent_posts", "the last hour", "created_at, text, emotion, confidence", "WHERE created_at >= {hour}"),
    (
        "recent_posts",
        "angry posts of a keyword, last day",
        "created_at, text, confidence",
        "WHERE emotion = 'anger' AND keywords LIKE '%keyword-7%' AND created_at >= {day}",
    ),
    ("recent_posts", "newest hundred", "created_at, text, emotion", "ORDER BY created_at DESC LIMIT 100"),
    ("recent_posts", "a week by source", "source, count(*)", "GROUP BY 1"),
    ("freshness", "all of it", "*", ""),
)
"""The view, the filters that a person set, the columns that Tableau selects, and the rest of the statement."""

SPANS = {span: f"now() - interval '1 {span}'" for span in ("hour", "day", "week")}


@dataclass(frozen=True)
class Run:
    """The measurement of one query.

    Attributes:
        view: The view that it reads, without the schema.
        what: The filters that a person set.
        milliseconds: Time of planning and execution.
        rows: Rows of the result.
        megabytes: Data read from memory or from disk, in 10^6 bytes.
        scans: The kinds of scan of each table.
    """

    view: str
    what: str
    milliseconds: float
    rows: int
    megabytes: float
    scans: list[str]


def load(connection: Connection, posts: int, days: int, keywords: int) -> None:
    """Make the rows: posts for each day, then windows and their labels for each size."""
    print_line = progress_console().print
    per_day = max(1, posts // days)
    until = datetime.now(UTC)
    since = until - timedelta(days=days)
    begin = time.monotonic()
    dates = [since.date() + timedelta(days=day) for day in range(days + 1)]
    connection.execute("SELECT make_post_days(%s)", (dates,))
    for day in range(days):
        start = since + timedelta(days=day)
        connection.execute(POSTS, {"first": day * per_day, "posts": per_day, "keywords": keywords, "start": start})
        if time.monotonic() - begin > 5 or day == days - 1:
            done = (day + 1) * per_day
            print_line(f"{done:,} posts, {done / (time.monotonic() - begin):,.0f} a second")
    for size in SIZES:
        values = {
            "size": size,
            "since": since,
            "until": until,
            "keywords": keywords,
            "rate": per_day / 86_400,
            "per_post": KEYWORDS_PER_POST,
        }
        windows = connection.execute(WINDOWS, values).rowcount
        labels = connection.execute(WINDOW_LABELS, values).rowcount
        if size >= 3600:
            connection.execute(WINDOW_SENTIMENTS, values)
        print_line(f"{windows:,} windows of {size} s with {labels:,} labels")
    connection.execute("VACUUM ANALYZE")
    size_now = connection.execute("SELECT pg_size_pretty(pg_database_size(current_database()))").fetchone()
    print_line(f"{size_now[0] if size_now else '?'} made in {time.monotonic() - begin:.0f} s")


def measure(connection: Connection) -> list[Run]:
    """Run every query twice, and measure the second run."""
    runs = []
    for view, what, columns, rest in QUERIES:
        query = f"SELECT {columns} FROM bi.{view} {rest.format(**SPANS)}"
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
        connection.execute(explain)
        row = connection.execute(explain).fetchone()
        assert row is not None
        found = row[0][0]
        plan = found["Plan"]
        runs.append(
            Run(
                view,
                what,
                found["Execution Time"] + found["Planning Time"],
                int(plan["Actual Rows"]),
                (plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]) * 8192 / 1e6,
                sorted(set(scans_of(plan))),
            )
        )
    return runs


def scans_of(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the kind of scan of each table that was read. The partitions of `posts` count as one table."""
    if "Relation Name" in plan and plan["Actual Loops"]:
        table = "posts" if plan["Relation Name"].startswith("posts") else plan["Relation Name"]
        yield f"{plan['Node Type']} {table}"
    for child in plan.get("Plans", []):
        yield from scans_of(child)


@contextmanager
def database(dsn: str) -> Iterator[Connection]:
    """Connect to a new database with the schema. On exit the database is dropped."""
    name = f"emostream_bench_{secrets.token_hex(4)}"
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            own = urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
            with psycopg.connect(own, autocommit=True) as connection:
                postgres.migrate(connection, postgres.find_migrations(migrations_folder()))
                yield connection
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def show(runs: Sequence[Run], after: Sequence[Run]) -> None:
    """Print the table. `after` has the same queries with the indexes, or is empty."""
    table = Table("view", "query", "rows", "ms", "MB", "reads")
    for number, run in enumerate(runs):
        other = after[number] if after else None
        table.add_row(
            run.view,
            run.what,
            f"{run.rows:,}",
            f"{run.milliseconds:.1f}" + (f" → {other.milliseconds:.1f}" if other else ""),
            f"{run.megabytes:.1f}" + (f" → {other.megabytes:.1f}" if other else ""),
            ", ".join(other.scans if other else run.scans),
        )
    console().print(table)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--posts", type=click.IntRange(min=1_000), default=10_000_000, show_default=True, help="Rows of posts.")
@click.option(
    "--days", type=click.IntRange(1, 399), default=30, show_default=True, help="Days that the posts are spread over."
)
@click.option(
    "--keywords", type=click.IntRange(min=8), default=50, show_default=True, help="Number of different keywords."
)
@click.option("--dsn", help="Address of a database on the server to use. Its user must be allowed to create databases.")
@click.option("--index", "indexes", multiple=True, help="SQL that creates an index to try; may be repeated.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(
    *, posts: int, days: int, keywords: int, dsn: str | None, indexes: Sequence[str], json_file: Path | None
) -> None:
    """Measure the queries of a BI tool on the views of the schema bi, and print a table."""
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        stack = LocalStack(Path(folder)) if dsn is None else None
        try:
            with database(dsn or (stack.up().postgres_dsn if stack else "")) as connection:
                load(connection, posts, days, keywords)
                runs = measure(connection)
                after = []
                for index in indexes:
                    connection.execute(index)
                    connection.execute("VACUUM ANALYZE")
                if indexes:
                    after = measure(connection)
        except (psycopg.Error, ConnectorError) as exc:
            raise click.ClickException(str(exc).splitlines()[0]) from exc
        finally:
            if stack is not None:
                stack.down()
    if json_file is not None:
        found = {"posts": posts, "days": days, "keywords": keywords, "queries": [asdict(run) for run in runs]}
        if after:
            found |= {"indexes": list(indexes), "with_indexes": [asdict(run) for run in after]}
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    show(runs, after)


if __name__ == "__main__":
    main()
