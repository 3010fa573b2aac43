"""Keeps a worker at full load for half an hour, and checks that its memory does not grow.

    python benchmarks/soak.py --data DATA
    python benchmarks/soak.py --data DATA --minutes 240 --json soak.json --plot soak.png

It starts its own Kafka and Valkey, and one worker process with all features on: classified topic, four window sizes in
Redis, the windows and totals topics, metrics. Posts with the current time are sent so that some always wait in Kafka.
Every few seconds it records the memory of the worker and of Redis, and how many posts are classified and counted.
Kafka's log grows by about a kilobyte a post, which is three gigabytes in half an hour at 1,500 posts/s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click
import httpx
import psutil
import redis
from confluent_kafka import KafkaException

from benchmarks.bench_frontier import DEFAULT_DATA, ROOT, describe_machine
from benchmarks.harness.broker import BenchmarkError, KafkaClient
from benchmarks.harness.options import data_option
from benchmarks.harness.posts import read_texts
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.waiting import Stall
from benchmarks.soak_feed import Feed
from benchmarks.soak_figures import MIN_SLOPE_RUN_S, Sample, exceeded_limit, summarize
from connectors.errors import ConnectorError
from connectors.local import ports
from models.errors import ModelError
from models.package.folder import bundled_package_path
from streams.cli.common import console, progress_console
from streams.errors import EmostreamError
from streams.ops.bench.pipeline import applied
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_topics
from streams.process.signals import exit_on_signals
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store

STALL_S = 60.0
"""Seconds without a new classified post after which the soak fails."""


class SamplingError(Exception):
    """A measured value cannot be read."""


async def take_samples(
    settings: Settings, kafka: KafkaClient, worker: Role, feed: Feed, *, seconds: float, every_s: float
) -> list[Sample]:
    """Take samples from the first classified post on, for `seconds`.

    Raises:
        EmostreamError, BenchmarkError: The worker has ended, or classified nothing for `STALL_S`.
        SamplingError: A measured value cannot be read.
        ConnectorError: Redis does not answer.
    """
    samples: list[Sample] = []
    stall = Stall(STALL_S)
    begin = due = time.monotonic()
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        async with open_store(settings) as store:
            while not samples or samples[-1].at < seconds:
                worker.check()
                feed.check()
                now, classified = time.monotonic(), await asyncio.to_thread(kafka.count, settings.topic_classified)
                feed.classified = classified
                if stall.reached(classified):
                    raise BenchmarkError(
                        f"no post was classified for {STALL_S:.0f} s; see the worker's log {worker.log}"
                    )
                if not samples and classified:
                    begin = due = now
                if classified and now >= due:
                    samples.append(
                        Sample(
                            at=now - begin,
                            rss=memory_of(worker.pid),
                            redis=redis_memory(client),
                            classified=classified,
                            # It is read after `classified`, so it may be larger.
                            counted=min(classified, await applied(store)),
                            waiting=max(0, feed.sent - classified),
                        )
                    )
                    scrape(settings)
                    print_progress(samples, seconds)
                    due += every_s
                await asyncio.sleep(min(0.25, every_s))
    return samples


def memory_of(pid: int) -> int:
    """Returns the resident memory of a process and its children, in bytes.

    Raises:
        SamplingError: The process has ended.
    """
    try:
        root = psutil.Process(pid)
        total = root.memory_info().rss
        children = root.children(recursive=True)
    except psutil.Error as exc:
        raise SamplingError(f"the memory of process {pid} cannot be read: {exc}") from exc
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # the child has just ended
            total += child.memory_info().rss
    return int(total)


def redis_memory(client: redis.Redis) -> int:
    """Returns the memory of Redis's data, in bytes.

    Raises:
        SamplingError: Redis does not answer.
    """
    try:
        return int(client.info("memory")["used_memory"])
    except redis.RedisError as exc:
        raise SamplingError(f"the memory of Redis cannot be read: {exc}") from exc


def scrape(settings: Settings) -> None:
    """Read the worker's metrics, because a monitoring system would do it too.

    Raises:
        SamplingError: The worker does not answer.
    """
    try:
        httpx.get(f"http://127.0.0.1:{settings.web_port}/metrics", timeout=30, trust_env=False).raise_for_status()
    except httpx.HTTPError as exc:
        raise SamplingError(f"the worker's metrics cannot be read: {exc}") from exc


def print_progress(samples: Sequence[Sample], seconds: float) -> None:
    """Print a line about once a minute, and five times in a run shorter than five minutes."""
    last = samples[-1]
    step = min(60.0, seconds / 5)
    if len(samples) < 2 or int(last.at / step) == int(samples[-2].at / step):
        return
    rate = (last.classified - samples[-2].classified) / (last.at - samples[-2].at)
    progress_console().print(
        f"{last.at / 60:.1f} of {seconds / 60:g} min: {rate:,.0f} posts/s, worker {last.rss / 1e6:.0f} MB, "
        f"Redis {last.redis / 1e6:.0f} MB, {last.waiting:,} posts wait, {last.behind:,} are not counted yet",
        soft_wrap=True,
    )


def soak(
    texts: Sequence[str], log: Path, *, seconds: float, every_s: float, backlog: int, partitions: int
) -> list[Sample]:
    """Start the servers, the worker and the feed, and take samples.

    Args:
        texts: The texts of the posts.
        log: File for the worker's log.
        seconds: How long samples are taken.
        every_s: Seconds between two samples.
        backlog: Posts that always wait in Kafka.
        partitions: Partitions of each topic.

    Raises:
        EmostreamError, ConnectorError, BenchmarkError, SamplingError: The worker has ended, or something does not
        answer.
    """
    with ExitStack() as stack:
        stack.enter_context(exit_on_signals())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emostream-soak-")))
        servers = stack.enter_context(Servers(folder, Cores()))
        environment = {
            **servers.endpoints.as_env(),
            "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
            "EMOSTREAM_PARTITIONS": str(partitions),
            "EMOSTREAM_WORKER_PROCESSES": "1",
            "EMOSTREAM_WEB_PORT": str(ports.choose(["web"], {}, set())["web"]),
        }
        settings = load_settings(env_file=None, environ=environment)
        init_topics(settings, lambda line: None)
        kafka = KafkaClient(servers.endpoints.kafka_bootstrap, partitions)
        stack.callback(kafka.close)
        worker = stack.enter_context(Role("worker", ["worker"], env=clean_environment(environment), log=log))
        feed = stack.enter_context(Feed(settings, texts, backlog))
        try:
            return asyncio.run(take_samples(settings, kafka, worker, feed, seconds=seconds, every_s=every_s))
        except SamplingError:
            worker.check()  # if the worker has ended, its error says more
            raise


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option(
    "--minutes", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="How long the soak runs."
)
@click.option(
    "--every", type=click.FloatRange(min=0.5), default=3.0, show_default=True, help="Seconds between samples."
)
@click.option(
    "--backlog",
    type=click.IntRange(min=1, max=50_000),
    default=10_000,
    show_default=True,
    help="Posts that always wait in Kafka, so that the worker always has work.",
)
@click.option(
    "--partitions", type=click.IntRange(min=1), default=4, show_default=True, help="Partitions of each topic."
)
@click.option(
    "--max-rss",
    type=click.FloatRange(min=1),
    default=400.0,
    show_default=True,
    help="Limit of the worker's memory in MB. If it uses more, the exit code is 1.",
)
@click.option(
    "--max-slope",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Limit of the growth of the worker's memory in MiB an hour. If it grows faster, the exit code is 1. A run of "
    f"less than {MIN_SLOPE_RUN_S / 60:g} minutes is too short to check this.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / ".emostream" / "bench" / "soak-worker.log",
    show_default=".emostream/bench/soak-worker.log",
    help="File for the worker's log.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), help="Draw a PNG here.")
def main(
    *,
    data: Path | None,
    minutes: float,
    every: float,
    backlog: int,
    partitions: int,
    max_rss: float,
    max_slope: float,
    log: Path,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Keep a worker at full load, and measure its memory. Run nothing else on the machine meanwhile."""
    if data is None and not DEFAULT_DATA.is_dir():
        raise click.ClickException("no data sets in ../shared/data; give their folder: soak.py --data DATA")
    if plot_file is not None:
        try:
            from benchmarks.soak_plot import plot  # noqa: PLC0415 - loads matplotlib
        except ModuleNotFoundError as exc:
            raise click.ClickException("--plot needs matplotlib: pip install 'emostream[bench]'") from exc
    try:
        texts = read_texts(data or DEFAULT_DATA)
        machine = describe_machine()
        samples = soak(texts, log, seconds=60 * minutes, every_s=every, backlog=backlog, partitions=partitions)
    except (ModelError, EmostreamError, ConnectorError, BenchmarkError, SamplingError, KafkaException, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    summary = summarize(samples)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": machine,
            "settings": {"minutes": minutes, "every_s": every, "backlog": backlog, "partitions": partitions},
            # JSON has no NaN.
            "summary": asdict(summary) | {"slope": None if math.isnan(summary.slope) else summary.slope},
            "samples": [asdict(sample) for sample in samples],
        }
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if plot_file is not None:
        plot(samples, plot_file, limit_mb=max_rss)
    unchecked = "" if 60 * summary.minutes >= MIN_SLOPE_RUN_S else " (the run is too short to check this)"
    console().print(
        f"{summary.posts:,} posts in {summary.minutes:.1f} min: {summary.per_second:,.0f} posts/s\n"
        f"worker at most {summary.rss_mb:.0f} MB, after the warm-up {summary.slope:+.1f} MiB an hour{unchecked}\n"
        f"Redis {summary.redis_mb:.0f} MB at the end; at most {summary.most_waiting:,} posts waited in Kafka, and "
        f"{summary.most_behind:,} classified posts were not counted yet",
        soft_wrap=True,
    )
    exceeded = exceeded_limit(summary, limit_mb=max_rss, limit_slope=max_slope)
    if exceeded is not None:
        raise click.ClickException(exceeded)


if __name__ == "__main__":
    main()
