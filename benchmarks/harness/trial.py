"""One run of one system: on topics of its own, watched from outside, its results read and checked at the end."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.broker import Broker
from benchmarks.harness.checks import Check, Result, check
from benchmarks.harness.ours import all_at_work, division
from benchmarks.harness.pacing import Schedule, posts_for
from benchmarks.harness.posts import Raw, make_posts
from benchmarks.harness.program import Program
from benchmarks.harness.report import GROUPS, Latency, Throughput
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.stats import percentiles
from benchmarks.harness.systems import BARE, OURS, Installed
from benchmarks.peers.task import Task
from connectors.kafka.admin import KafkaAdmin
from streams.bench.meter import Meter
from streams.bench.pipeline import applied
from streams.bench.steady import WARM_SHARE, steady
from streams.demo.processes import clean_environment
from streams.init import init_topics
from streams.settings import Settings, load_settings
from streams.topology import topic_specs
from streams.windows.opening import open_store
from streams.wiring import kafka_config

ROOT = Path(__file__).parents[2]
STALL_S = 60.0
"""Without a new result for so long, a run is given up; the slowest start is a third of it."""
BEHIND_S = 1.0
"""Windows that are complete later than this after the last result: their time counts as well."""
WARM_POSTS = 64
LEAD_S = 0.5
_POLL_S = 0.25
_POLL_NEAR_END_S = 0.05


class TrialError(Exception):
    """A run that gave no measurement."""


@dataclass
class Bench:
    """What all runs share.

    Attributes:
        servers: Kafka and Redis, running.
        broker: the harness's connection.
        cores: who runs where.
        folder: for logs and what systems write.
        posts: for the fastest systems; slower ones are given the first of them.
        texts: of the posts.
        model: the package's folder.
        network: the DistilBERT-shaped network.
        threads: of ONNX Runtime.
        batch: posts that are handed to the model at once.
        wait_ms: how long such a batch waits to fill.
        partitions: of the topics.
    """

    servers: Servers
    broker: Broker
    cores: Cores
    folder: Path
    posts: Sequence[Raw]
    texts: Sequence[str]
    model: Path
    network: Path
    threads: int
    batch: int
    wait_ms: int
    partitions: int
    labels: dict[str, str] = field(default_factory=dict)
    _count: int = 0
    _loaded: set[int] = field(default_factory=set)

    def throughput(self, installed: Installed, number: int) -> Throughput:
        """Let a system work off posts that lie ready.

        Raises:
            TrialError, ProgramError, BrokerError: it gave no measurement.
        """
        system = installed.system
        posts = self.posts[: max(WARM_POSTS, len(self.posts) // system.divisor)]
        if system is BARE:
            return self._bare(installed, posts, number)
        with self._trial(installed, raw=f"posts-{len(posts)}") as trial:
            if len(posts) not in self._loaded:
                self.broker.send(trial.settings.topic_raw, posts)
                self._loaded.add(len(posts))
            with trial.start() as program, self._meter(program) as meter:
                trial.wait(program, len(posts))
                done = trial.finished(program, len(posts))
            results = self.broker.read(trial.settings.topic_classified)
        last = max(result.at for result in results)
        lag_s = None if done is None else max(0.0, done - last)
        labels = None if system.own_model else self.labels
        found = check(results, {post.id for post in posts}, labels)
        return self._throughput(meter, results, number, lag_s, found=found)

    def find_labels(self, bare: Installed) -> None:
        """Ask the bare loop once, before anything is measured."""
        results, _ = self._run_bare(bare, self.posts)
        self.labels = {result.id: result.label for result in results}

    def latency(self, installed: Installed, share: float, maximum: float, seconds: float) -> Latency:
        """Send a system posts at a share of its maximum rate.

        Raises:
            TrialError, ProgramError, BrokerError: it gave no measurement.
        """
        rate = share * maximum
        posts = self.posts[: posts_for(rate, seconds)]
        with self._trial(installed, raw=None) as trial:
            raw = trial.settings.topic_raw
            with trial.start() as program, self._meter(program) as meter:
                warm = self._warm_up(trial, program)
                schedule = Schedule(time.time() + LEAD_S, rate, len(posts))
                late = self.broker.send_paced(raw, posts, schedule, program.check)
                trial.wait(program, warm + len(posts))
                end = time.time()
            results = [r for r in self.broker.read(trial.settings.topic_classified) if not r.id.startswith("warm")]
        due = {post.id: schedule.at(number) for number, post in enumerate(posts)}
        first = int(len(posts) * WARM_SHARE)
        counted = {post.id for post in posts[first:]}
        taken = [1_000 * max(0.0, result.at - due[result.id]) for result in results if result.id in counted]
        p50, p95, p99 = percentiles(taken)
        return Latency(
            share=share,
            rate=rate,
            posts=len(taken),
            p50=p50,
            p95=p95,
            p99=p99,
            late_ms=1_000 * late,
            cpu_s={group: 1_000 * meter.cpu_s(group, schedule.at(first), end) / len(taken) for group in GROUPS},
            check=check(results, due, None if installed.system.own_model else self.labels),
        )

    def _warm_up(self, trial: Trial, program: Program) -> int:
        """Send posts until every process has answered some: before, it is still starting. How many they were."""
        sent = 0
        while not sent or (trial.installed.system is OURS and not all_at_work(trial.settings)):
            self.broker.send(trial.settings.topic_raw, make_posts(self.texts, WARM_POSTS, prefix=f"warm-{sent}"))
            sent += WARM_POSTS
            trial.wait(program, sent)
        return sent

    def _bare(self, installed: Installed, posts: Sequence[Raw], number: int) -> Throughput:
        results, meter = self._run_bare(installed, posts)
        found = check(results, {post.id for post in posts}, self.labels)
        return self._throughput(meter, results, number, None, found=found)

    def _run_bare(self, installed: Installed, posts: Sequence[Raw]) -> tuple[list[Result], Meter]:
        folder = self._new_folder(installed)
        given, answers = folder / "posts.jsonl", folder / "results.jsonl"
        given.write_bytes(b"\n".join(post.value for post in posts))
        argv = [str(installed.python), "-m", BARE.module, str(given), str(answers)]
        with (
            Program(
                argv,
                env=self.environment(self._task(f"bench-{self._count}", "none", "none")),
                folder=folder,
                log=folder / "log",
                cores=self.cores.system,
            ) as program,
            self._meter(program) as meter,
        ):
            program.wait()
        lines = answers.read_text("utf-8").splitlines()
        return [Result(*json.loads(line)) for line in lines], meter

    def _throughput(
        self, meter: Meter, results: Sequence[Result], number: int, lag_s: float | None, *, found: Check
    ) -> Throughput:
        times = [result.at for result in results]
        late_end = max(times) + lag_s if lag_s is not None and lag_s > BEHIND_S else None
        part = steady(times, late_end)
        # What the windows cost after the last result is theirs, however soon they are complete.
        until = part.end if late_end else part.end + (lag_s or 0.0)
        return Throughput(
            round=number,
            posts=len(results),
            measured=part.posts,
            seconds=part.end - part.begin,
            per_second=part.per_second,
            cpu_s={group: 1_000 * meter.cpu_s(group, part.begin, until) / part.posts for group in GROUPS},
            peak_mb=meter.peak_bytes("system") / 1e6,
            lag_s=lag_s,
            check=found,
        )

    def _meter(self, program: Program) -> Meter:
        pids = self.servers.pids
        groups = {"system": program.pid, "broker": pids["kafka"], "redis": pids["redis"]}
        return Meter(groups, alone=("broker", "redis"))

    def _new_folder(self, installed: Installed) -> Path:
        self._count += 1
        folder = self.folder / f"{self._count:03d}-{installed.system.name}"
        folder.mkdir(parents=True)
        return folder

    def _task(self, group: str, raw: str, classified: str) -> Task:
        return Task(
            bootstrap=self.servers.endpoints.kafka_bootstrap,
            raw=raw,
            classified=classified,
            group=group,
            model=self.model,
            network=self.network,
            threads=self.threads,
            batch=self.batch,
            wait_ms=self.wait_ms,
        )

    @staticmethod
    def environment(task: Task, ours: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a system's process sees."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return {**clean_environment(ours or {}), **task.environment(), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    @contextmanager
    def _trial(self, installed: Installed, *, raw: str | None) -> Iterator[Trial]:
        folder = self._new_folder(installed)
        name = f"bench-{self._count}"
        topics = ("classified", "dead", "late", "windows", "totals", "control")
        ours = {
            **self.servers.endpoints.as_env(),
            "EMOSTREAM_MODEL_URI": str(self.model),
            **division(self.threads, self.partitions),
            "EMOSTREAM_BATCH_MAX": str(self.batch),
            "EMOSTREAM_BATCH_WAIT_MS": str(self.wait_ms),
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
        task = self._task(name, settings.topic_raw, settings.topic_classified)
        try:
            yield Trial(self, installed, settings, folder, self.environment(task, ours))
        finally:
            own = [getattr(settings, f"topic_{topic}") for topic in topics]
            self.broker.delete(own if raw else [*own, settings.topic_raw])
            self.servers.empty_redis()


@dataclass(frozen=True)
class Trial:
    """A system on its topics."""

    bench: Bench
    installed: Installed
    settings: Settings
    folder: Path
    env: Mapping[str, str]

    def start(self) -> Program:
        """Start the system."""
        system = self.installed.system
        return Program(
            [str(self.installed.python), "-m", system.module, *system.arguments],
            env=self.env,
            folder=self.folder,
            log=self.folder / "log",
            cores=self.bench.cores.system,
        )

    def wait(self, program: Program, posts: int) -> None:
        """Wait until so many results are there.

        Raises:
            TrialError: none came for `STALL_S`.
            ProgramError: the system ended.
        """
        seen, changed = 0, time.monotonic()
        while (count := self.bench.broker.count(self.settings.topic_classified)) < posts:
            program.check()
            if count > seen:
                seen, changed = count, time.monotonic()
            if time.monotonic() - changed > STALL_S:
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
