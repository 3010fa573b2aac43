"""A worker at full load for half an hour: whether its memory stays flat.

    python benchmarks/soak.py --data DATA
    python benchmarks/soak.py --data DATA --minutes 240 --json soak.json --plot soak.png

Starts Kafka and Valkey of its own, and one worker process with everything on: classified topic, four window sizes in
Redis, the windows and totals topics, metrics. Posts of now are sent so that some always wait in Kafka. Every few
seconds it takes down the worker's memory, Redis's, and how far classification and the windows are. Kafka's log grows by
about a kilobyte a post: three gigabytes in half an hour at 1,500 posts/s.
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
from streams.process.signals import leave_on_signals
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store

STALL_S = 60.0


class SamplingError(Exception):
    """Something that is watched cannot be asked."""


async def watch(
    settings: Settings, kafka: KafkaClient, worker: Role, feed: Feed, *, seconds: float, every_s: float
) -> list[Sample]:
    """Samples, from the first classified post on.

    Raises:
        EmostreamError, BenchmarkError: the worker ended, or did nothing for `STALL_S`.
        SamplingError: something cannot be asked.
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
                    raise BenchmarkError(f"nothing was classified for {STALL_S:.0f} s; the worker's log: {worker.log}")
                if not samples and classified:
                    begin = due = now
                if classified and now >= due:
                    samples.append(
                        Sample(
                            at=now - begin,
                            rss=memory_of(worker.pid),
                            redis=redis_memory(client),
                            classified=classified,
                            # Asked for later, it may be ahead.
                            counted=min(classified, await applied(store)),
                            waiting=max(0, feed.sent - classified),
                        )
                    )
                    scrape(settings)
                    tell(samples, seconds)
                    due += every_s
                await asyncio.sleep(min(0.25, every_s))
    return samples


def memory_of(pid: int) -> int:
    """Resident memory of a process and its children, in bytes.

    Raises:
        SamplingError: it has ended.
    """
    try:
        root = psutil.Process(pid)
        total = root.memory_info().rss
        children = root.children(recursive=True)
    except psutil.Error as exc:
        raise SamplingError(f"the memory of process {pid} cannot be read: {exc}") from exc
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # ended just now
            total += child.memory_info().rss
    return int(total)


def redis_memory(client: redis.Redis) -> int:
    """Memory of Valkey's data, in bytes.

    Raises:
        SamplingError: it does not answer.
    """
    try:
        return int(client.info("memory")["used_memory"])
    except redis.RedisError as exc:
        raise SamplingError(f"Redis cannot be asked for its memory: {exc}") from exc


def scrape(settings: Settings) -> None:
    """Read the worker's metrics, as a monitor would.

    Raises:
        SamplingError: it does not answer.
    """
    try:
        httpx.get(f"http://127.0.0.1:{settings.web_port}/metrics", timeout=30, trust_env=False).raise_for_status()
    except httpx.HTTPError as exc:
        raise SamplingError(f"the worker's metrics cannot be read: {exc}") from exc


def tell(samples: Sequence[Sample], seconds: float) -> None:
    """One line about once a minute, and in a short run oftener."""
    last = samples[-1]
    step = min(60.0, seconds / 5)
    if len(samples) < 2 or int(last.at / step) == int(samples[-2].at / step):
        return
    rate = (last.classified - samples[-2].classified) / (last.at - samples[-2].at)
    progress_console().print(
        f"{last.at / 60:.1f} of {seconds / 60:g} min: {rate:,.0f} posts/s, worker {last.rss / 1e6:.0f} MB, "
        f"Redis {last.redis / 1e6:.0f} MB, {last.waiting:,} wait, windows {last.behind:,} behind",
        soft_wrap=True,
    )


def soak(
    texts: Sequence[str], log: Path, *, seconds: float, every_s: float, backlog: int, partitions: int
) -> list[Sample]:
    """Run everything.

    Raises:
        EmostreamError, ConnectorError, BenchmarkError, SamplingError: something ended or does not answer.
    """
    with ExitStack() as stack:
        stack.enter_context(leave_on_signals())
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
            return asyncio.run(watch(settings, kafka, worker, feed, seconds=seconds, every_s=every_s))
        except SamplingError:
            worker.check()  # its last words say more
            raise


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option("--minutes", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="How long.")
@click.option(
    "--every", type=click.FloatRange(min=0.5), default=3.0, show_default=True, help="Seconds between samples."
)
@click.option(
    "--backlog",
    type=click.IntRange(min=1, max=50_000),
    default=10_000,
    show_default=True,
    help="Posts that wait in Kafka at any time, so that the worker never waits for one.",
)
@click.option("--partitions", type=click.IntRange(min=1), default=4, show_default=True)
@click.option(
    "--max-rss",
    type=click.FloatRange(min=1),
    default=400.0,
    show_default=True,
    help="The most memory of the worker in MB; with more the exit code is 1.",
)
@click.option(
    "--max-slope",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help=f"Likewise its growth in MiB an hour, of a run of {MIN_SLOPE_RUN_S / 60:g} minutes or more.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / ".emostream" / "bench" / "soak-worker.log",
    show_default=".emostream/bench/soak-worker.log",
    help="The worker's log.",
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
    """Keep a worker at full load, and watch its memory. Leave the machine alone meanwhile."""
    if data is None and not DEFAULT_DATA.is_dir():
        raise click.ClickException("there are no data sets at ../shared/data; name their folder: soak.py --data DATA")
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
    found = summarize(samples)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": machine,
            "settings": {"minutes": minutes, "every_s": every, "backlog": backlog, "partitions": partitions},
            # JSON has no NaN.
            "summary": asdict(found) | {"slope": None if math.isnan(found.slope) else found.slope},
            "samples": [asdict(sample) for sample in samples],
        }
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if plot_file is not None:
        plot(samples, plot_file, limit_mb=max_rss)
    judged = "" if 60 * found.minutes >= MIN_SLOPE_RUN_S else " (too short a run to judge that)"
    console().print(
        f"{found.posts:,} posts in {found.minutes:.1f} min: {found.per_second:,.0f} posts/s\n"
        f"worker {found.rss_mb:.0f} MB at the most, {found.slope:+.1f} MiB an hour after the warm-up{judged}\n"
        f"Redis {found.redis_mb:.0f} MB at the end; at the worst moment {found.most_waiting:,} posts waited in Kafka, "
        f"and the windows were {found.most_behind:,} behind",
        soft_wrap=True,
    )
    wrong = exceeded_limit(found, limit_mb=max_rss, limit_slope=max_slope)
    if wrong is not None:
        raise click.ClickException(wrong)


if __name__ == "__main__":
    main()
