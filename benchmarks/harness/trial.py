"""Runs a system once, on its own topics: makes the topics, starts the system and waits for its results."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.broker import KafkaClient
from benchmarks.harness.program import Program
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.systems import EMOSTREAM, InstalledSystem, System
from benchmarks.harness.waiting import Stall
from benchmarks.peers.task import Task
from connectors.kafka.admin import KafkaAdmin
from connectors.local import ports
from streams.connections import kafka_config
from streams.ops.bench.meter import Meter
from streams.ops.bench.pipeline import applied
from streams.ops.bench.steady import WARM_SHARE
from streams.ops.demo.processes import clean_environment
from streams.ops.init import init_topics
from streams.settings import Settings, load_settings
from streams.topology import topic_specs
from streams.windows.connect import open_store

ROOT = Path(__file__).parents[2]
THREADS = 1
"""Threads of ONNX Runtime. With one thread, the result does not depend on how a system divides its work: emostream uses
several processes, the other systems several threads."""

STALL_S = 60.0
"""Seconds without a new result after which a run fails. The slowest system needs a third of this to start."""

_POLL_S = 0.25
"""Seconds between two counts of the results."""

_POLL_NEAR_END_S = 0.05
"""The same near the end of a run, whose time is measured."""


class RunError(Exception):
    """A run failed, and there is no measurement."""


@dataclass
class Setup:
    """What all runs share.

    Attributes:
        servers: Kafka and Redis, running.
        kafka: The harness's connection to Kafka.
        cores: Which cores the system and the servers use.
        folder: Folder of the logs and of the files that systems write.
        model: Folder of the model package.
        network: File of the DistilBERT-shaped network.
        batch: Posts in a batch at most.
        model_batch: Texts in a model batch, for systems that classify posts in the order of their arrival.
        wait_ms: How long a batch waits to fill, in milliseconds. A batch of emostream waits as its own setting says.
        partitions: Partitions of each topic.
    """

    servers: Servers
    kafka: KafkaClient
    cores: Cores
    folder: Path
    model: Path
    network: Path
    batch: int
    model_batch: int
    wait_ms: int
    partitions: int
    _count: int = 0

    def new_folder(self, installed: InstalledSystem) -> Path:
        """Make a new folder for one run."""
        self._count += 1
        folder = self.folder / f"{self._count:03d}-{installed.system.name}"
        folder.mkdir(parents=True)
        return folder

    def start(
        self,
        installed: InstalledSystem,
        arguments: Sequence[str],
        task: Task,
        folder: Path,
        *,
        emostream_env: Mapping[str, str],
    ) -> Program:
        """Start a system.

        Args:
            installed: The system.
            arguments: Arguments of its module.
            task: Passed on in environment variables.
            folder: The working directory, where the log goes too.
            emostream_env: Emostream's settings as environment variables.
        """
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return Program(
            [str(installed.python), "-m", installed.system.module, *arguments],
            env={**clean_environment(emostream_env), **task.environment(), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            folder=folder,
            log=folder / "log",
            cores=self.cores.system,
        )

    def meter(self, program: Program) -> Meter:
        """Returns a meter of the processor time and memory of a program and the servers."""
        pids = self.servers.pids
        groups = {"system": program.pid, "broker": pids["kafka"], "redis": pids["redis"]}
        return Meter(groups, alone=("broker", "redis"))

    def task(self, system: System, group: str, raw: str, classified: str) -> Task:
        """Returns a system's task: where its posts are, where its results go, and which model it uses."""
        return Task(
            bootstrap=self.servers.endpoints.kafka_bootstrap,
            raw=raw,
            classified=classified,
            group=group,
            model=self.model,
            network=self.network,
            threads=THREADS,
            batch=self.batch,
            model_batch=self.model_batch if system.arrival_order else 0,
            wait_ms=self.wait_ms,
            partitions=self.partitions,
        )

    @contextmanager
    def run(self, installed: InstalledSystem, *, raw: str | None) -> Iterator[SystemRun]:
        """Make the topics of one run. On exit they are deleted, and Redis is emptied.

        Args:
            installed: The system.
            raw: Name of a raw topic that other runs use too, and that is kept; None for a raw topic of this run.

        Raises:
            ConnectorError: Kafka or Redis does not answer.
        """
        folder = self.new_folder(installed)
        name = f"bench-{self._count}"
        topics = ("classified", "dead", "late", "windows", "totals", "control", "keywords")
        emostream_env = {
            **self.servers.endpoints.as_env(),
            "EMOSTREAM_MODEL_URI": str(self.model),
            "EMOSTREAM_MODEL_THREADS": str(THREADS),
            "EMOSTREAM_WORKER_PROCESSES": "1",
            "EMOSTREAM_WEB_PORT": str(ports.choose(["web"], {}, set())["web"]),
            "EMOSTREAM_BATCH_MAX": str(self.batch),
            "EMOSTREAM_PARTITIONS": str(self.partitions),
            "EMOSTREAM_GROUP_PREFIX": name,
            "EMOSTREAM_REDIS_PREFIX": name,
            "EMOSTREAM_TOPIC_RAW": raw or f"{name}.raw",
            **{f"EMOSTREAM_TOPIC_{topic.upper()}": f"{name}.{topic}" for topic in topics},
        }
        settings = load_settings(env_file=None, environ=emostream_env)
        if installed.system is EMOSTREAM:
            init_topics(settings, lambda line: None)
        else:
            wanted = {settings.topic_raw, settings.topic_classified}
            KafkaAdmin(kafka_config(settings)).create([spec for spec in topic_specs(settings) if spec.name in wanted])
        try:
            yield SystemRun(self, installed, settings, folder, emostream_env)
        finally:
            of_run = [getattr(settings, f"topic_{topic}") for topic in topics]
            self.kafka.delete(of_run if raw else [*of_run, settings.topic_raw])
            self.servers.empty_redis()


@dataclass(frozen=True)
class SystemRun:
    """One run of a system, whose topics exist.

    Attributes:
        setup: What all runs share.
        installed: The system.
        settings: Emostream's settings, which name the topics of every system.
        folder: Folder of the run's log.
        emostream_env: The settings as environment variables.
    """

    setup: Setup
    installed: InstalledSystem
    settings: Settings
    folder: Path
    emostream_env: Mapping[str, str]

    def start(self) -> Program:
        """Start the system."""
        settings = self.settings
        task = self.setup.task(
            self.installed.system, settings.group_prefix, settings.topic_raw, settings.topic_classified
        )
        return self.setup.start(
            self.installed, self.installed.system.arguments, task, self.folder, emostream_env=self.emostream_env
        )

    def wait_for_results(self, program: Program, posts: int) -> None:
        """Wait until the classified topic has `posts` results.

        Raises:
            RunError: No result came for `STALL_S`.
            ProgramError: The system has ended.
        """
        stall = Stall(STALL_S)
        while (count := self.setup.kafka.count(self.settings.topic_classified)) < posts:
            program.check()
            if stall.reached(count):
                raise RunError(
                    f"no result for {STALL_S:.0f} s after {count:,} of {posts:,} posts: {program.last_line()}"
                )
            time.sleep(_POLL_S if count < posts * (1 - WARM_SHARE) else _POLL_NEAR_END_S)

    def wait_for_windows(self, program: Program, posts: int) -> float | None:
        """Wait until emostream's windows hold every post.

        Returns:
            When they did, in seconds since 1970; None for a system without windows.

        Raises:
            RunError: The windows did not hold every post within `STALL_S`.
            ProgramError: The system has ended.
        """
        if self.installed.system is not EMOSTREAM:
            return None

        async def wait() -> float:
            async with open_store(self.settings) as store:
                deadline = time.monotonic() + STALL_S
                while await applied(store) < posts:
                    program.check()
                    if time.monotonic() > deadline:
                        raise RunError(f"the windows do not hold every post {STALL_S:.0f} s after the last result")
                    await asyncio.sleep(0.02)
                return time.time()

        return asyncio.run(wait())
