"""Measures how fast the sink writes, compared with a bare COPY of the same rows.

    python -m benchmarks.bench_sink
    python -m benchmarks.bench_sink --posts 500000 --json sink.json

It starts its own Kafka, Valkey and PostgreSQL. In each round it writes the same rows in three ways:

copy    COPY in text form into a table like `posts`, with its key and index; no staging, no ledger, not exactly once
write   the sink's transactions on rows in memory: COPY into a staging table, INSERT … ON CONFLICT, offsets, ledger
sink    the complete sink: read from Kafka, decode, write

On a busy machine, the rates are unreliable; the ratios to `copy` are not.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psycopg

from benchmarks.bench_aggregate import make_posts, preload
from connectors.local import LocalStack
from streams.cli.common import console, progress_console
from streams.gate.cpu_aware import OpenGate
from streams.ops.init import init_postgres, init_topics
from streams.records import ClassifiedPost
from streams.settings import Settings, load_settings
from streams.sink.history import History
from streams.sink.ledger import spans_of
from streams.sink.rows import POST_COLUMNS, PostRow, post_row
from streams.sink.runner import GC_THRESHOLDS, open_sink
from streams.sink.targets import posts_of

PARTITIONS = 4
KEYWORDS = 500
SPAN_S = 3_600.0
SLICE = 5_000


@dataclass(frozen=True)
class Rate:
    """The rate of one way to write the rows.

    Attributes:
        name: Name of the way.
        rows_per_second: Median of the rounds.
        ratio: Ratio of this median to that of a bare COPY.
        rounds: Rows per second in each round.
    """

    name: str
    rows_per_second: float
    ratio: float
    rounds: list[float]


def bare_copy(settings: Settings, rows: Sequence[PostRow]) -> float:
    """Returns the rows per second of COPY into an empty table with the key and the index of `posts`."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute("CREATE TABLE bare (LIKE posts INCLUDING ALL)")
        values = [
            tuple(
                json.dumps(value) if name == "scores" else value for name, value in zip(POST_COLUMNS, row, strict=True)
            )
            for row in rows
        ]
        begin = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(f"COPY bare ({', '.join(POST_COLUMNS)}) FROM STDIN") as copy:
            for row in values:
                copy.write_row(row)
        return len(rows) / (time.perf_counter() - begin)


def delete_rows(settings: Settings) -> None:
    """Delete the rows, offsets and ledger of the last way."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("TRUNCATE posts, sink_offsets, sink_ledger")


def write(settings: Settings, rows: Sequence[PostRow]) -> float:
    """Returns the rows per second of the sink's transactions."""
    history = History(settings.postgres_dsn.get_secret_value(), application_name="bench")
    topic = settings.topic_classified
    history.start_offsets(topic, {partition: (0, len(rows)) for partition in range(PARTITIONS)})
    starts = dict.fromkeys(range(PARTITIONS), 0)
    begin = time.perf_counter()
    for first in range(0, len(rows), SLICE):
        part = rows[first : first + SLICE]
        spans = spans_of(((row.origin_partition, row.origin_offset) for row in part), starts)
        history.write(topic, posts_of("posts.raw"), part, spans)
        starts |= {span.partition: span.end for span in spans}
    seconds = time.perf_counter() - begin
    history.close()
    return len(rows) / seconds


def sink(settings: Settings, count: int) -> float:
    """Returns the rows per second of the complete sink, from its first transaction to its last."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        with open_sink(settings, gate=OpenGate()) as opened:
            opened.run(threading.Event(), once=True)
        found = connection.execute(
            "SELECT sum(rows), extract(epoch FROM max(written_at) - min(begun_at)) FROM ("
            "  SELECT rows, written_at, min(written_at) OVER () AS begun_at FROM sink_ledger WHERE topic = %s"
            ") AS ranges",
            (settings.topic_classified,),
        ).fetchone()
    assert found is not None
    assert found[0] == count, found
    return count / float(found[1])


def measure(settings: Settings, rows: Sequence[PostRow], rounds: int) -> list[Rate]:
    """Measure every way in every round."""
    ways: dict[str, Callable[[], float]] = {
        "copy": lambda: bare_copy(settings, rows),
        "write": lambda: write(settings, rows),
        "sink": lambda: sink(settings, len(rows)),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            delete_rows(settings)
            taken[name].append(way())
    bare = statistics.median(taken["copy"])
    return [
        Rate(name, statistics.median(found), statistics.median(found) / bare, found) for name, found in taken.items()
    ]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--posts", type=click.IntRange(min=1_000), default=200_000, show_default=True, help="Posts to write.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each way.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, posts: int, rounds: int, json_file: Path | None) -> None:
    """Measure how fast the sink writes posts, compared with a bare COPY."""
    gc.set_threshold(*GC_THRESHOLDS)
    load = os.getloadavg()[0]
    if load > 0.5:
        progress_console().print(f"the machine is busy (load {load:.1f}): the rates are unreliable, the ratios are not")
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        stack = LocalStack(Path(folder))
        try:
            environment = {**stack.up().as_env(), "EMOSTREAM_PARTITIONS": str(PARTITIONS)}
            settings = load_settings(env_file=None, environ=environment)
            init_topics(settings, lambda line: None)
            init_postgres(settings, lambda line: None)
            posts_made = list(make_posts(posts, KEYWORDS, SPAN_S, PARTITIONS))
            preload(settings, iter(posts_made))
            rows = [post_row(ClassifiedPost.from_json(value)) for _, _, value in posts_made]
            rates = measure(settings, rows, rounds)
        finally:
            stack.down()
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(rate) for rate in rates], indent=2) + "\n", encoding="utf-8")
    for rate in rates:
        console().print(f"{rate.name:6} {rate.rows_per_second:>9,.0f} rows/s   {rate.ratio:.2f} of a bare COPY")


if __name__ == "__main__":
    main()
