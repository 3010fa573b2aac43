"""Measures what an idle system costs: a worker and Redis with many windows, while no post arrives.

    python benchmarks/bench_idle.py
    python benchmarks/bench_idle.py --windows 1000 --windows 1000000 --json idle.json

It starts its own Kafka and Valkey, fills the window tables, starts a worker of one process, and measures the processor
time of the worker and of Redis while nothing happens. The sink writes only while the machine is idle, so what an idle
worker uses is taken from the sink.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.bench_frontier import describe_machine
from benchmarks.bench_wide_posts import BATCH, posts_for_counting
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.servers import Cores, Servers
from connectors.errors import ConnectorError
from models.package.folder import bundled_package_path
from streams.cli.common import console
from streams.errors import EmostreamError
from streams.ops.bench.meter import Meter
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_topics
from streams.process.signals import exit_on_signals
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.parts import divide
from streams.windows.update import ShardUpdate

KEYWORDS = 64
READY_S = 60.0
"""Seconds in which the worker must be running."""

SETTLE_S = 15.0
"""Seconds to wait after that: the worker joins its groups, and fills the top keywords."""


@dataclass(frozen=True)
class Idle:
    """What an idle system uses. Shares are of one core, 0 to 1.

    Attributes:
        windows: Windows in Redis.
        worker: Share of the worker.
        redis: Share of Redis.
        kafka: Share of Kafka.
    """

    windows: int
    worker: float
    redis: float
    kafka: float


async def fill(settings: Settings, windows: int) -> None:
    """Make at least `windows` windows of this minute, hour and day. They count as published."""
    async with open_store(settings) as store:
        for shard in range(store.shards):
            await store.initialise(shard, 0)
        sizes = settings.window_sizes
        count = -(-windows // (len(sizes) * KEYWORDS))
        posts = posts_for_counting(count, KEYWORDS)
        positions = [Position()] * store.shards
        for first in range(0, count, BATCH):
            entries = [Entry(post.origin.offset, post) for post in posts[first : first + BATCH]]
            for part in divide({0: entries}, {0: entries[-1].offset + 1}, sizes=sizes, shards=store.shards):
                reduced = reduce_entries(part[0].entries, positions=positions, end=part[0].end, sizes=sizes)
                # Without positions: the topics are empty, and the worker starts at their beginning.
                await store.apply_all({shard: ShardUpdate(windows=one.windows) for shard, one in enumerate(reduced)})
        for shard in range(store.shards):
            await store._redis.unlink(store._key(shard, "dirty"))


def measure(servers: Servers, folder: Path, windows: int, seconds: float) -> Idle:
    """Fill the window tables, start a worker, and measure it."""
    name = f"idle-{windows}"
    topics = ("raw", "classified", "dead", "late", "windows", "totals", "control", "keywords")
    environment = {
        **servers.endpoints.as_env(),
        "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
        "EMOSTREAM_WORKER_PROCESSES": "1",
        "EMOSTREAM_WEB_PORT": "0",
        "EMOSTREAM_GROUP_PREFIX": name,
        "EMOSTREAM_REDIS_PREFIX": name,
        **{f"EMOSTREAM_TOPIC_{topic.upper()}": f"{name}.{topic}" for topic in topics},
    }
    settings = load_settings(env_file=None, environ=environment)
    init_topics(settings, lambda line: None)
    asyncio.run(fill(settings, windows))
    role = Role("worker", ["worker"], env=clean_environment(environment), log=folder / f"{name}.log")
    groups = {"redis": servers.pids["redis"], "kafka": servers.pids["kafka"], "worker": role.pid}
    with role, Meter(groups, alone=("redis", "kafka")) as meter:
        deadline = time.monotonic() + READY_S
        while "worker is running" not in role.log.read_text("utf-8", "replace"):
            role.check()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the worker did not run after {READY_S:.0f} s")
            time.sleep(0.5)
        time.sleep(SETTLE_S)
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        role.check()
    found = {group: meter.cpu_s(group, begin, end) / (end - begin) for group in groups}
    return Idle(windows, found["worker"], found["redis"], found["kafka"])


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--windows",
    "counts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1_000, 100_000, 1_000_000),
    show_default="1,000, 100,000 and 1,000,000",
    help="A number of windows in Redis; may be repeated.",
)
@click.option("--seconds", type=click.FloatRange(min=5), default=30.0, show_default=True, help="Seconds to measure.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, counts: tuple[int, ...], seconds: float, json_file: Path | None) -> None:
    """Measure the processor time of an idle system, for several numbers of windows."""
    found = []
    try:
        with (
            exit_on_signals(),
            tempfile.TemporaryDirectory(prefix="emostream-bench-") as name,
            Servers(Path(name), Cores()) as servers,
        ):
            for windows in counts:
                found.append(measure(servers, Path(name), windows, seconds))
                servers.empty_redis()
                one = found[-1]
                console().print(
                    f"{one.windows:,} windows: the worker uses {one.worker:.1%} of a core, Redis {one.redis:.1%}, "
                    f"Kafka {one.kafka:.1%}",
                    soft_wrap=True,
                )
    except (EmostreamError, ConnectorError, BenchmarkError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if json_file is not None:
        content = {"machine": describe_machine(), "idle": [asdict(one) for one in found]}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
