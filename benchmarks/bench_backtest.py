"""Measures how many windows a second `emostream alerts backtest` evaluates.

    python benchmarks/bench_backtest.py
    python benchmarks/bench_backtest.py --keywords 300 --days 7

It starts its own servers and writes synthetic windows: four weeks of hours, and then windows of five minutes. Two rules
watch each keyword: the z-scores of the share of an emotion, and of the volume.
Another process makes the windows, so that the peak of the memory is that of the backtest.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import psycopg

from benchmarks.alerts.methods import MEASURES
from benchmarks.alerts.streams import HISTORY_DAYS, LABELS, MONDAY_MS, Kind, make
from connectors.local import LocalStack
from connectors.postgres import find_migrations, migrate
from streams.alerts.backtest.backtest import run
from streams.alerts.backtest.past_windows import past_windows
from streams.alerts.engine.engine import RevisedRule
from streams.alerts.rules.rule import RobustZScore, Rule
from streams.records import ALL_KEYWORDS, from_ms
from streams.sink.migrations import migrations_folder

SEED = 2_026
DAY_MS = 86_400_000
BEGIN = MONDAY_MS + HISTORY_DAYS * DAY_MS

Window = tuple[str, int, int, dict[str, int]]
"""Keyword, size in seconds, start in ms since 1970, and posts by label."""


def windows(keywords: int, days: int) -> Iterator[Window]:
    """Yields the windows of keywords with 200 posts an hour, one keyword after the other."""
    for size, since in ((3_600, MONDAY_MS), (300, BEGIN)):
        for stream in make(Kind.NOTHING, [200.0] * keywords, seed=SEED, size_s=size, days=days):
            for window, labels in enumerate(stream.labels.tolist()):
                if stream.start_ms(window) >= since and any(labels):
                    counts = {label: count for label, count in zip(LABELS, labels, strict=True) if count}
                    yield stream.keyword, size, stream.start_ms(window), counts
        for start in range(since, BEGIN + days * DAY_MS, size * 1_000):
            yield ALL_KEYWORDS, size, start, {"joy": 1}


def store(dsn: str, keywords: int, days: int) -> int:
    """Write the windows, and return the number of those of five minutes that belong to keywords."""
    found = list(windows(keywords, days))
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        migrate(connection, find_migrations(migrations_folder()))
        with cursor.copy("COPY emotion_windows FROM STDIN") as copy:
            for keyword, size, start, counts in found:
                at, end = from_ms(start), from_ms(start + size * 1_000)
                posts = sum(counts.values())
                copy.write_row((keyword, size, at, end, posts, None, "{}", "{}", at, at, 0, True, 1, 0, "{}"))
        with cursor.copy("COPY emotion_window_labels FROM STDIN") as copy:
            for keyword, size, start, counts in found:
                for label, count in counts.items():
                    copy.write_row((keyword, size, from_ms(start), label, count, 0.0, 0.5))
        connection.execute("ANALYZE emotion_windows, emotion_window_labels")
    return sum(size == 300 and keyword != ALL_KEYWORDS for keyword, size, _, _ in found)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keywords", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Keywords.")
@click.option("--days", type=click.IntRange(1, 60), default=2, show_default=True, help="Days that are evaluated.")
def main(*, keywords: int, days: int) -> None:
    """Measure, and print a line."""
    rules = [
        Rule(id=name, name=name, keywords="each", window_s=300, measure=one, condition=RobustZScore(z=4))
        for name, one in MEASURES.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder))
        try:
            endpoints = stack.up()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
                there = other.submit(store, endpoints.postgres_dsn, keywords, days).result()
            began, used = time.perf_counter(), time.process_time()
            with past_windows(endpoints.postgres_dsn) as past:
                result = run(past, [RevisedRule(rule, 0) for rule in rules], BEGIN, BEGIN + days * DAY_MS)
            seconds, used = time.perf_counter() - began, time.process_time() - used
        finally:
            stack.down()
    if any(rule.windows != there for rule in result.rules):
        raise click.ClickException(f"{result.rules[0].windows:,} windows were evaluated, not {there:,}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    click.echo(
        f"{there:,} windows of {keywords} keywords, {len(rules)} rules: {seconds:.1f} s, of which {used:.1f} s of "
        f"processor time here; {there / seconds:,.0f} windows/s; {peak_mb:.0f} MB of memory"
    )


if __name__ == "__main__":
    main()
