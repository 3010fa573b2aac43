"""A system on topics of its own: how it is set up, started and waited for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.broker import Broker
from benchmarks.harness.program import Program
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.systems import OURS, Installed, System
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
"""Of ONNX Runtime. With more, it would count how a system divides itself: ours into processes, others into threads."""

STALL_S = 60.0
"""Without a new result for so long, a run is given up; the slowest start is a third of it."""

_POLL_S = 0.25
_POLL_NEAR_END_S = 0.05


class TrialError(Exception):
    """A run that gave no measurement."""


@dataclass
class Setup:
    """What all runs share.

    Attributes:
        servers: Kafka and Redis, running.
        broker: the harness's connection.
        cores: who runs where.
        folder: for logs and what systems write.
        model: the package's folder.
        network: the DistilBERT-shaped network.
        batch: posts that are handed to the model at once.
        model_batch: of these, the texts that it runs on at once in systems that call it on posts as they come.
        wait_ms: how long such a batch waits to fill; emostream's by its own setting.
        partitions: of the topics.
    """

    servers: Servers
    broker: Broker
    cores: Cores
    folder: Path
    model: Path
    network: Path
    batch: int
    model_batch: int
    wait_ms: int
    partitions: int
    _count: int = 0

    def new_folder(self, installed: Installed) -> Path:
        """For one run."""
        self._count += 1
        folder = self.folder / f"{self._count:03d}-{installed.system.name}"
        folder.mkdir(parents=True)
        return folder

    def start(
        self, installed: Installed, arguments: Sequence[str], task: Task, folder: Path, *, ours: Mapping[str, str]
    ) -> Program:
        """Start a system with what it is to do and, where it is emostream, its settings."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return Program(
            [str(installed.python), "-m", installed.system.module, *arguments],
            env={**clean_environment(ours), **task.environment(), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            folder=folder,
            log=folder / "log",
            cores=self.cores.system,
        )

    def meter(self, program: Program) -> Meter:
        """A meter of it and the servers."""
        pids = self.servers.pids
        groups = {"system": program.pid, "broker": pids["kafka"], "redis": pids["redis"]}
        return Meter(groups, alone=("broker", "redis"))

    def task(self, system: System, group: str, raw: str, classified: str) -> Task:
        """What a system is to do."""
        return Task(
            bootstrap=self.servers.endpoints.kafka_bootstrap,
            raw=raw,
            classified=classified,
            group=group,
            model=self.model,
            network=self.network,
            threads=THREADS,
            batch=self.batch,
            model_batch=self.model_batch if system.as_they_come else 0,
            wait_ms=self.wait_ms,
            partitions=self.partitions,
        )

    @contextmanager
    def trial(self, installed: Installed, *, raw: str | None) -> Iterator[Trial]:
        """Topics for one run; they are deleted at its end.

        Args:
            installed: the system.
            raw: name of the raw topic, which stays; None for one of its own.

        Raises:
            ConnectorError: Kafka or Redis does not do it.
        """
        folder = self.new_folder(installed)
        name = f"bench-{self._count}"
        topics = ("classified", "dead", "late", "windows", "totals", "control")
        ours = {
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
        settings = load_settings(env_file=None, environ=ours)
        if installed.system is OURS:
            init_topics(settings, lambda line: None)
        else:
            wanted = {settings.topic_raw, settings.topic_classified}
            KafkaAdmin(kafka_config(settings)).create([spec for spec in topic_specs(settings) if spec.name in wanted])
        try:
            yield Trial(self, installed, settings, folder, ours)
        finally:
            own = [getattr(settings, f"topic_{topic}") for topic in topics]
            self.broker.delete(own if raw else [*own, settings.topic_raw])
            self.servers.empty_redis()


@dataclass(frozen=True)
class Trial:
    """A system on its topics."""

    setup: Setup
    installed: Installed
    settings: Settings
    folder: Path
    ours: Mapping[str, str]

    def start(self) -> Program:
        """Start the system."""
        settings = self.settings
        task = self.setup.task(
            self.installed.system, settings.group_prefix, settings.topic_raw, settings.topic_classified
        )
        return self.setup.start(self.installed, self.installed.system.arguments, task, self.folder, ours=self.ours)

    def wait(self, program: Program, posts: int) -> None:
        """Wait until so many results are there.

        Raises:
            TrialError: none came for `STALL_S`.
            ProgramError: the system ended.
        """
        stall = Stall(STALL_S)
        while (count := self.setup.broker.count(self.settings.topic_classified)) < posts:
            program.check()
            if stall.reached(count):
                raise TrialError(
                    f"{count:,} of {posts:,} posts, then nothing for {STALL_S:.0f} s: {program.last_words()}"
                )
            time.sleep(_POLL_S if count < posts * (1 - WARM_SHARE) else _POLL_NEAR_END_S)

    def finished(self, program: Program, posts: int) -> float | None:
        """Wait until the windows hold everything; when that was, or None for a system without windows.

        Raises:
            TrialError: they did not within `STALL_S`.
            ProgramError: the system ended.
        """
        if self.installed.system is not OURS:
            return None

        async def wait() -> float:
            async with open_store(self.settings) as store:
                deadline = time.monotonic() + STALL_S
                while await applied(store) < posts:
                    program.check()
                    if time.monotonic() > deadline:
                        raise TrialError(f"the windows are not complete {STALL_S:.0f} s after the last post")
                    await asyncio.sleep(0.02)
                return time.time()

        return asyncio.run(wait())
