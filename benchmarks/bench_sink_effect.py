"""Measures how much a sink slows down a worker on the same machine.

none    no sink
gate    a sink with a backlog, which writes only while other processes leave the CPU idle, as it does by default
forced  a sink with a backlog and without the CPU limit, for comparison

    python -m benchmarks.bench_sink_effect
    python -m benchmarks.bench_sink_effect --posts 50000 --rounds 5 --json effect.json
    python -m benchmarks.bench_sink_effect --rate 40

It starts its own Kafka, Valkey, PostgreSQL and S3. In each round, a worker classifies and counts the same posts in each
of these ways, as fast as it can. With --rate, posts come at that rate instead, which leaves the machine idle enough for
the sink to write.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psycopg
from confluent_kafka import Producer

from benchmarks.bench_aggregate import make_posts, preload
from connectors.local import LocalStack
from models.package.folder import bundled_package_path
from streams.cli.common import console, progress_console
from streams.ops.bench.pipeline import applied
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_postgres, init_topics
from streams.records import ClassifiedPost, Keywords, Post
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store

PARTITIONS = 4
WARM_SHARE = 0.1
"""Share of the posts that are counted before the measurement begins: imports, the model and connections slow them
down."""

WAYS = {"none": None, "gate": {}, "forced": {"EMOSTREAM_SINK_CPU_PERCENT": "100"}}
"""The sink's settings in each way; None for no sink."""


@dataclass(frozen=True)
class Load:
    """The work of a run.

    Attributes:
        posts: Posts for the worker.
        backlog: Classified posts for the sink.
        rate: Posts a second for the worker; None for all at once.
    """

    posts: int
    backlog: int
    rate: float | None


@dataclass(frozen=True)
class Effect:
    """One run.

    Attributes:
        way: Name of the way, a key of `WAYS`.
        posts_per_second: Posts a second that the worker classified and counted.
        rows: Rows that the sink wrote during the run.
    """

    way: str
    posts_per_second: float
    rows: int


def send_raw(settings: Settings, values: list[tuple[int, str, bytes]], rate: float | None = None) -> None:
    """Send the texts of classified posts as raw posts, all at once or `rate` a second."""
    begin = time.monotonic()
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 50, "compression.type": "lz4"})
    for number, (partition, key, value) in enumerate(values):
        if rate is not None:
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        one = ClassifiedPost.from_json(value)
        post = Post(one.id, one.text or "", one.created_at, one.source, Keywords(one.keywords))
        producer.produce(settings.topic_raw, post.to_json(), key.encode(), partition=partition)
        producer.poll(0)
    if producer.flush(60):
        raise click.ClickException("Kafka did not confirm the posts in 60 s")


def rows(settings: Settings) -> int:
    """Returns the number of rows in `posts`."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        found = connection.execute("SELECT count(*) FROM posts").fetchone()
    return int(found[0]) if found else 0


async def run_once(base: dict[str, str], folder: Path, load: Load, way: str) -> Effect:
    """Run a worker on its own topics and window tables, and a sink with a backlog unless `way` has none."""
    name = f"b{secrets.token_hex(4)}"
    environment = {
        **base,
        **{
            f"EMOSTREAM_TOPIC_{t.upper()}": f"{name}.{t}"
            for t in ("raw", "classified", "dead", "late", "windows", "totals", "control", "keywords")
        },
        "EMOSTREAM_GROUP_PREFIX": name,
        "EMOSTREAM_REDIS_PREFIX": name,
    }
    settings = load_settings(env_file=None, environ=environment)
    init_topics(settings, lambda line: None)
    classified = list(make_posts(load.backlog, 500, 3_600.0, PARTITIONS, settings.topic_raw))
    preload(settings, iter(classified))
    if load.rate is None:
        send_raw(settings, classified[: load.posts])
    before = rows(settings)
    roles = [Role("worker", ["worker"], env=clean_environment(environment), log=folder / f"{name}-worker.log")]
    if (sink_settings := WAYS[way]) is not None:
        env = clean_environment({**environment, **sink_settings})
        roles.append(Role("sink", ["sink"], env=env, log=folder / f"{name}-sink.log"))
    try:
        async with open_store(settings) as store:
            ready = load.backlog + (load.posts * WARM_SHARE if load.rate is None else 0)
            while (first := await applied(store)) < ready:
                roles[0].check()
                await asyncio.sleep(0.05)
            begin = time.monotonic()
            if load.rate is not None:
                await asyncio.to_thread(send_raw, settings, classified[: load.posts], load.rate)
            while (last := await applied(store)) < load.backlog + load.posts:
                for role in roles:
                    role.check()
                await asyncio.sleep(0.05)
            seconds = time.monotonic() - begin
    finally:
        for role in roles:
            role.stop()
    return Effect(way, (last - first) / seconds, rows(settings) - before)


def run_all(load: Load, rounds: int, folder: Path) -> list[Effect]:
    """Run every way in every round."""
    stack = LocalStack(folder)
    try:
        base = {
            **stack.up().as_env(),
            "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
            "EMOSTREAM_PARTITIONS": str(PARTITIONS),
            "EMOSTREAM_WEB_PORT": "0",
            "EMOSTREAM_SINK_WEB_PORT": "0",
            "EMOSTREAM_WORKER_PROCESSES": "1",
        }
        init_postgres(load_settings(env_file=None, environ=base), lambda line: None)
        found = []
        for number in range(rounds):
            for way in WAYS:
                progress_console().print(f"round {number + 1} of {rounds}: {way}")
                found.append(asyncio.run(run_once(base, folder, load, way)))
        return found
    finally:
        stack.down()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--posts", type=click.IntRange(min=100), default=20_000, show_default=True, help="Posts for the worker.")
@click.option(
    "--backlog", type=click.IntRange(min=100), default=100_000, show_default=True, help="Classified posts for the sink."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Posts a second, for half a minute. It replaces --posts.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each way.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, posts: int, backlog: int, rate: float | None, rounds: int, json_file: Path | None) -> None:
    """Measure how much a sink slows down a worker on the same machine."""
    machine_load = os.getloadavg()[0]
    if machine_load > 0.5:
        progress_console().print(
            f"the machine is busy (load {machine_load:.1f}): the rates are unreliable, the ratios are not"
        )
    with tempfile.TemporaryDirectory(prefix="emostream-bench-") as folder:
        if rate is not None:
            posts = min(backlog, int(30 * rate))
        found = run_all(Load(posts, backlog, rate), rounds, Path(folder))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(effect) for effect in found], indent=2) + "\n", encoding="utf-8")
    speeds = {way: statistics.median(one.posts_per_second for one in found if one.way == way) for way in WAYS}
    for way, speed in speeds.items():
        written = statistics.median(one.rows for one in found if one.way == way)
        console().print(
            f"{way:6} {speed:>7,.1f} posts/s  {speed / speeds['none']:.3f}  {written:>9,.0f} rows written by the sink"
        )


if __name__ == "__main__":
    main()
