"""Measures how the rate grows with the number of workers: 1, 2 and 4, each with an equal part of the machine.

    python benchmarks/bench_scaling.py --data DATA
    python benchmarks/bench_scaling.py --data DATA --rounds 5 --json scaling.json --plot scaling.png

It starts its own Kafka and Valkey, on their own cores. A worker is one process with one model thread. With enough
cores, each worker has its own core. With fewer cores, each worker has a CPU quota, the same for one worker and for
four. A quota needs a control group, and that needs root. Without quotas, only the numbers of workers that have enough
cores are measured. Posts are sent when all workers have partitions, the same number for each worker. The clock stops
when the windows hold every post. Every result is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.bench_frontier import DEFAULT_DATA, ROOT, describe_machine
from benchmarks.harness.broker import BenchmarkError, KafkaClient
from benchmarks.harness.cgroups import CpuShare, NoCgroupError, can_limit_cpu
from benchmarks.harness.checks import check
from benchmarks.harness.division import Division, divide
from benchmarks.harness.options import data_option
from benchmarks.harness.posts import RawPost, make_posts, read_texts
from benchmarks.harness.program import CAN_PIN, pin
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.stats import Spread
from benchmarks.harness.waiting import Stall
from benchmarks.scaling_figures import Run, Scaling, markdown
from connectors.errors import ConnectorError
from models.errors import ModelError
from models.package.folder import bundled_package_path
from streams.cli.common import console, progress_console
from streams.errors import EmostreamError
from streams.ops.bench.meter import Meter
from streams.ops.bench.pipeline import applied
from streams.ops.bench.steady import steady
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_topics
from streams.process.signals import exit_on_signals
from streams.settings import Settings, load_settings
from streams.windows.connect import open_store

STALL_S = 120.0
"""Seconds without a new result after which a run fails. With a small quota, the first batch takes long."""

READY_S = 90.0
"""Seconds in which all workers must have partitions."""

BATCH = 512
"""Posts in a batch at most. Results come in bursts of this size, so a run needs several batches."""

_POLL_S = 0.1
_ERRORS = (
    ModelError,
    EmostreamError,
    ConnectorError,
    BenchmarkError,
    NoCgroupError,
    KafkaException,
    OSError,
    ValueError,
)


class _Progress:
    """Watches a count of posts until it is complete, and fails if it stops growing.

    `reached` says in the error what the counted posts have reached, such as `were classified`.
    """

    def __init__(self, reached: str, posts: int, roles: Sequence[Role]) -> None:
        self._reached, self._posts, self._roles = reached, posts, roles
        self._stall = Stall(STALL_S)

    def complete(self, count: int) -> bool:
        """Returns whether `count` is the number of all posts.

        Raises:
            EmostreamError: A worker has ended.
            BenchmarkError: The count did not grow for `STALL_S`.
        """
        for role in self._roles:
            role.check()
        if self._stall.reached(count) and count < self._posts:
            raise BenchmarkError(
                f"{count:,} of {self._posts:,} posts {self._reached}, then no more for {STALL_S:.0f} s"
            )
        return count >= self._posts


class Bench:
    """Runs workers on running servers and measures them."""

    def __init__(self, servers: Servers, kafka: KafkaClient, division: Division, partitions: int, folder: Path) -> None:
        self._servers, self._kafka, self._division = servers, kafka, division
        self._partitions, self._folder = partitions, folder
        self._count = 0

    def run(self, posts: Sequence[RawPost], workers: int, number: int) -> Run:
        """Measure how fast `workers` workers classify and count the posts.

        Args:
            posts: All posts of the run.
            workers: Number of workers.
            number: Number of the round.

        Raises:
            EmostreamError, ConnectorError, BenchmarkError, ValueError: The run failed.
        """
        settings, environment = self._prepare()
        topics = [getattr(settings, name) for name in Settings.model_fields if name.startswith("topic_")]
        try:
            with ExitStack() as stack:
                # Entered before the workers, so that the workers are stopped first.
                shares = [stack.enter_context(share) for share in self._shares(workers)]
                roles = [self._start(stack, environment, worker) for worker in range(workers)]
                self._await_members(settings, roles)
                # Quotas apply only now, because the start is not measured.
                for share, role in zip(shares, roles, strict=bool(shares)):
                    share.add(role.pid)
                pids = self._servers.pids
                groups = {"kafka": pids["kafka"], "redis": pids["redis"], **{role.name: role.pid for role in roles}}
                meter = stack.enter_context(Meter(groups, alone=("kafka", "redis")))
                self._kafka.send(settings.topic_raw, posts)
                self._await_results(settings, roles, len(posts))
                complete = asyncio.run(self._await_windows(settings, roles, len(posts)))
            results = self._kafka.read(settings.topic_classified)
        finally:
            self._kafka.delete(topics)
            self._servers.empty_redis()
        times = [result.at for result in results]
        # Windows are part of the work, so the clock runs until they hold every post.
        part = steady(times, complete)
        spent = {name: meter.cpu_s(name, part.begin, part.end) for name in groups}
        of_servers = spent["kafka"] + spent["redis"]
        return Run(
            round=number,
            workers=workers,
            per_second=part.per_second,
            lag_s=max(0.0, complete - max(times)),
            worker_cpu_s=1_000 * sum(spent[role.name] for role in roles) / part.posts,
            server_cpu_s=1_000 * of_servers / part.posts,
            server_cores=of_servers / (part.end - part.begin),
            check=check(results, {post.id for post in posts}, None),
        )

    def _prepare(self) -> tuple[Settings, dict[str, str]]:
        self._count += 1
        name = f"scaling-{self._count}"
        topics = ("raw", "classified", "dead", "late", "windows", "totals", "control", "keywords")
        environment = {
            **self._servers.endpoints.as_env(),
            "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
            "EMOSTREAM_MODEL_THREADS": "1",
            "EMOSTREAM_WORKER_PROCESSES": "1",
            "EMOSTREAM_BATCH_MAX": str(BATCH),
            "EMOSTREAM_PARTITIONS": str(self._partitions),
            "EMOSTREAM_GROUP_PREFIX": name,
            "EMOSTREAM_REDIS_PREFIX": name,
            "EMOSTREAM_WEB_PORT": "0",
            **{f"EMOSTREAM_TOPIC_{topic.upper()}": f"{name}.{topic}" for topic in topics},
        }
        settings = load_settings(env_file=None, environ=environment)
        init_topics(settings, lambda line: None)
        return settings, environment

    def _shares(self, workers: int) -> Iterator[CpuShare]:
        if self._division.share is not None:
            for _ in range(workers):
                yield CpuShare(self._division.share)

    def _start(self, stack: ExitStack, environment: Mapping[str, str], worker: int) -> Role:
        log = self._folder / f"{self._count:03d}-worker-{worker}.log"
        role = Role(f"worker-{worker}", ["worker"], env=clean_environment(environment), log=log)
        stack.enter_context(role)
        pin(role.pid, self._division.cores_of(worker))
        return role

    def _await_members(self, settings: Settings, roles: Sequence[Role]) -> None:
        """Wait until every worker has partitions, because the start is not measured."""
        admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 2})
        groups = [f"{settings.group_prefix}-{stage}" for stage in ("classify", "aggregate")]
        deadline = time.monotonic() + READY_S
        while True:
            for role in roles:
                role.check()
            with contextlib.suppress(KafkaException):  # a broker that has just started cannot describe groups yet
                found = [future.result() for future in admin.describe_consumer_groups(groups).values()]
                holding = [sum(bool(member.assignment.topic_partitions) for member in group.members) for group in found]
                if all(number >= len(roles) for number in holding):
                    return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"some of {len(roles)} workers have no partition after {READY_S:.0f} s")
            time.sleep(_POLL_S)

    def _await_results(self, settings: Settings, roles: Sequence[Role], posts: int) -> None:
        progress = _Progress("were classified", posts, roles)
        while not progress.complete(self._kafka.count(settings.topic_classified)):
            time.sleep(_POLL_S)

    async def _await_windows(self, settings: Settings, roles: Sequence[Role], posts: int) -> float:
        """Wait until the windows hold every post. Returns when they did, in seconds since 1970."""
        progress = _Progress("were in the windows", posts, roles)
        async with open_store(settings) as store:
            while True:
                if progress.complete(await applied(store)):
                    return time.time()
                await asyncio.sleep(_POLL_S)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@data_option
@click.option(
    "--workers",
    "counts",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 2, 4),
    show_default="1, 2 and 4",
    help="A number of workers to measure; may be repeated. 1 is always measured.",
)
@click.option(
    "--posts",
    type=click.IntRange(min=5 * BATCH),
    default=6_000,
    show_default=True,
    help="Posts for each worker in a run, so that all runs take about equally long.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each number.")
@click.option(
    "--partitions", type=click.IntRange(min=1), default=8, show_default=True, help="Partitions of each topic."
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / ".emostream" / "bench" / "logs",
    show_default=".emostream/bench/logs",
    help="Folder of the workers' logs. Each call makes a new folder in it.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
@click.option(
    "--markdown", "markdown_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a table here."
)
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), help="Draw a PNG here.")
def main(
    *,
    data: Path | None,
    counts: tuple[int, ...],
    posts: int,
    rounds: int,
    partitions: int,
    work: Path,
    json_file: Path | None,
    markdown_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Measure how the rate grows with the number of workers, and print a table.

    Run nothing else on the machine meanwhile. The exit code is 1 if a post was lost or duplicated.
    """
    if data is None and not DEFAULT_DATA.is_dir():
        click.echo("no data sets in ../shared/data; give their folder: bench_scaling.py --data DATA")
        return
    wanted = sorted({1, *counts})
    if partitions % wanted[-1]:
        raise click.UsageError(
            f"--partitions {partitions} is not a multiple of {wanted[-1]}, the largest number of workers"
        )
    if plot_file is not None:
        try:
            from benchmarks.scaling_plot import plot  # noqa: PLC0415 - loads matplotlib
        except ModuleNotFoundError as exc:
            raise click.ClickException("--plot needs matplotlib: pip install 'emostream[bench]'") from exc
    try:
        division = divide(_cores(), wanted, quotas=can_limit_cpu())
    except ValueError as exc:
        click.echo(f"cannot measure: {exc}")
        return
    machine = describe_machine()  # before the benchmark loads the machine and pins this process to some cores
    try:
        progress_console().print(division.note, soft_wrap=True, markup=False)
        sent = make_posts(read_texts(data or DEFAULT_DATA), posts * max(division.counts))
        runs = _measure(division, sent, posts, rounds=rounds, partitions=partitions, work=work)
        scaling = Scaling(
            machine=machine,
            settings={"posts for each worker": posts, "rounds": rounds, "partitions": partitions},
            note=division.note,
            runs=tuple(runs),
        )
    except _ERRORS as exc:
        raise click.ClickException(str(exc)) from exc
    for file, text in ((json_file, json.dumps(scaling.to_dict(), indent=2) + "\n"), (markdown_file, markdown(scaling))):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    if plot_file is not None:
        plot({count: Spread.of(list(scaling.rates(count).values())) for count in scaling.counts()}, plot_file)
    console().print(markdown(scaling), markup=False, soft_wrap=True)
    if scaling.faults():
        raise SystemExit(1)


def _measure(
    division: Division, posts: Sequence[RawPost], each: int, *, rounds: int, partitions: int, work: Path
) -> list[Run]:
    """Run all rounds with `each` posts for a worker. Each round begins with another number of workers."""
    work.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="scaling-", dir=work))
    runs = []
    with ExitStack() as stack:
        stack.enter_context(exit_on_signals())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emostream-bench-")))
        servers = stack.enter_context(Servers(folder, Cores(division.workers, division.servers)))
        kafka = KafkaClient(servers.endpoints.kafka_bootstrap, partitions)
        stack.callback(kafka.close)
        bench = Bench(servers, kafka, division, partitions, logs)
        for number in range(1, rounds + 1):
            at = (number - 1) % len(division.counts)
            for count in (*division.counts[at:], *division.counts[:at]):
                run = bench.run(posts[: count * each], count, number)
                runs.append(run)
                line = f"round {number} of {rounds}, {count} workers: {run.per_second:,.0f} posts/s"
                progress_console().print(line, soft_wrap=True, markup=False)
    return runs


def _cores() -> set[int]:
    if not CAN_PIN:
        raise ValueError("workers and servers need separate cores, and this system cannot pin processes to cores")
    return os.sched_getaffinity(0)


if __name__ == "__main__":
    main()
