"""Runs the measurement, with its own servers in a temporary folder that is removed at the end."""

from __future__ import annotations

import asyncio
import math
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from connectors.local import Endpoints, LocalStack
from models.package.folder import ModelPackage
from streams import __version__
from streams.ingest.produce import send_posts
from streams.ops.bench.meter import family_cpu_s
from streams.ops.bench.model import ModelRate, measure_model
from streams.ops.bench.pipeline import Throughput, measure_workers
from streams.ops.bench.posts import make_posts, mean_keywords
from streams.ops.bench.sizing import Assumptions, Costs, Size, sizes_for
from streams.ops.bench.storage import SinkFigures, WindowMemory, measure_sink, record_bytes, redis_used, window_memory
from streams.ops.demo.processes import clean_environment
from streams.ops.init import init_postgres, init_topics
from streams.process.signals import hold_signals
from streams.records import Post
from streams.redact import remember_secrets
from streams.setting_types import PREFIX
from streams.settings import Settings, load_settings

MODEL_SHARE = 0.25
"""Share of the seconds to measure for in which the model alone is measured."""

SURPLUS = 1.25
"""Factor on the number of posts, because the first posts of a run are not measured."""

FEWEST_BATCHES = 4
"""The fewest batches for each worker process. Results come in batches, and fewer do not give a rate."""

BUSY_SHARE = 0.1
"""Share of the machine's processors from which on the load of other processes makes the figures unreliable."""

FEW_SAMPLES = 100
"""With fewer samples, a batch of Kafka has the same text several times and is compressed better than usual."""

COPIED_SETTINGS: Final = (
    "aggregate_batch_max",
    "aggregate_wait_ms",
    "batch_max",
    "batch_wait_ms",
    "deduplication_s",
    "emit_interval_ms",
    "keep_text",
    "shards",
    "sink_batch",
    "sink_slice_ms",
    "text_max_chars",
)
"""The settings of the user, besides the window sizes, that change what a post costs. The measurement uses them."""


class ProgressDisplay(Protocol):
    """Shows the progress of the measurement."""

    def step(self, text: str) -> None:
        """Called when a step begins."""

    def count(self, done: int, total: int) -> None:
        """Called with the posts of the step that are done, and the total."""


@dataclass(frozen=True)
class Machine:
    """The machine of a measurement.

    Attributes:
        processors: the number of processors, hyper-threads included.
        architecture: such as `x86_64`.
        system: such as `Linux 6.8.0`.
        python: the version of Python.
        emostream: the version of emostream.
    """

    processors: int
    architecture: str
    system: str
    python: str
    emostream: str


@dataclass(frozen=True)
class Report:
    """Everything that was measured, and what the rates need.

    Attributes:
        machine: the machine.
        processes: the number of worker processes.
        model: the model alone, on one thread.
        accept_cpu_s: processor seconds of Kafka to accept a post from a producer.
        pipeline: the worker at full speed.
        redis: the memory of windows in Redis, for each size.
        postgres: what the sink wrote, and what that cost.
        costs: the costs of a post and of a window, from which `sizes` is computed.
        assumptions: what `sizes` depends on besides the costs.
        sizes: what each rate needs.
        warnings: why the figures may be wrong.
    """

    machine: Machine
    processes: int
    model: ModelRate
    accept_cpu_s: float
    pipeline: Throughput
    redis: Sequence[WindowMemory]
    postgres: SinkFigures
    costs: Costs
    assumptions: Assumptions
    sizes: Sequence[Size]
    warnings: Sequence[str]


def run_bench(
    settings: Settings,
    package: ModelPackage,
    samples: Sequence[Post],
    *,
    seconds: float,
    keywords: int,
    processes: int,
    rates: Sequence[float],
    display: ProgressDisplay,
) -> Report:
    """Measure what a post costs on this machine, and compute what each rate needs.

    Args:
        settings: the settings of the user. `COPIED_SETTINGS` and the window sizes are used; the servers are not.
        package: the model.
        samples: the posts whose texts are used.
        seconds: about how long to measure for; at least 2.
        keywords: the number of different keywords.
        processes: the number of worker processes.
        rates: rates in posts a second.
        display: shows the progress.

    Raises:
        MeasurementError: A figure could not be measured.
        EmostreamError, ConnectorError, ModelError: A part does not work; the message says which.
    """
    with _servers(display) as (stack, endpoints):
        environment = {**endpoints.as_env(), **environment_for(settings, package.path, processes=processes)}
        own = load_settings(env_file=None, environ=environment)
        remember_secrets(own.secrets())
        init_topics(own, lambda line: None)
        init_postgres(own, lambda line: None)
        pids = {status.name: status.pid for status in stack.status() if status.pid is not None}

        display.step("the model alone, on one thread")
        texts = [sample.text for sample in samples]
        model = measure_model(package, texts, batch=own.batch_max, seconds=seconds * MODEL_SHARE)

        count = posts_for(seconds, model.posts_per_second, batch=own.batch_max, processes=processes)
        display.step(f"writing {count:,} posts to Kafka")
        before = family_cpu_s(pids["kafka"])
        send_posts(own, make_posts(samples, count, keywords=keywords, end=datetime.now(UTC)))
        taking = (family_cpu_s(pids["kafka"]) - before) / count
        empty = asyncio.run(redis_used(own))

        display.step(f"workers at full speed ({processes} process{'es' if processes > 1 else ''})")
        pipeline = measure_workers(
            own,
            clean_environment(environment),
            {name: pids[name] for name in ("kafka", "redis")},
            count,
            log=stack.data_dir / "logs" / "worker.log",
            on_count=display.count,
        )
        redis = asyncio.run(window_memory(own, empty))
        display.step("the sink")
        postgres = measure_sink(own, {name: pids[name] for name in ("postgres", "kafka")}, count)
        logs = stack.data_dir / "kafka" / "data"
        raw, classified, windows = (
            record_bytes(own, logs, topic) for topic in (own.topic_raw, own.topic_classified, own.topic_windows)
        )
    costs = Costs(
        worker_cpu_s=pipeline.cpu_s["worker"],
        broker_cpu_s=taking + pipeline.cpu_s["kafka"] + postgres.kafka_cpu_s,
        redis_cpu_s=pipeline.cpu_s["redis"],
        sink_cpu_s=postgres.sink_cpu_s,
        postgres_cpu_s=postgres.postgres_cpu_s,
        worker_bytes=pipeline.worker_bytes / processes,
        window_bytes={memory.size: memory.bytes_each for memory in redis},
        post_row_bytes=postgres.post_bytes,
        window_row_bytes=postgres.window_bytes,
        raw_bytes=raw,
        classified_bytes=classified,
        window_record_bytes=windows,
        keywords_per_post=mean_keywords(samples, keywords),
    )
    assumptions = Assumptions(keywords, own.window_sizes, own.emit_interval_ms / 1_000)
    return Report(
        machine=_machine(),
        processes=processes,
        model=model,
        accept_cpu_s=taking,
        pipeline=pipeline,
        redis=redis,
        postgres=postgres,
        costs=costs,
        assumptions=assumptions,
        sizes=list(sizes_for(rates, costs, assumptions)),
        warnings=warnings_of(pipeline, len(samples)),
    )


@contextmanager
def _servers(display: ProgressDisplay) -> Iterator[tuple[LocalStack, Endpoints]]:
    folder = tempfile.TemporaryDirectory(prefix="emostream-bench-")
    stack = LocalStack(Path(folder.name))
    try:
        display.step("starting Kafka, Valkey and PostgreSQL")
        endpoints = stack.up()
        stack.stop("s3")
        yield stack, endpoints
    finally:
        # A Ctrl-C here must not leave servers running whose folder is removed.
        with hold_signals(), folder:
            display.step("stopping the servers")
            stack.down()


def posts_for(seconds: float, rate: float, *, batch: int, processes: int) -> int:
    """Returns the number of posts to measure with.

    Args:
        seconds: about how long to measure for.
        rate: posts a second that the model alone classifies.
        batch: the most posts in a batch of a worker process.
        processes: the number of worker processes.
    """
    return processes * max(FEWEST_BATCHES * batch, math.ceil(SURPLUS * seconds * rate))


def environment_for(settings: Settings, model: Path, *, processes: int) -> dict[str, str]:
    """Returns the settings of the application while it is measured, without the addresses of the servers.

    Args:
        settings: the settings of the user, of which `COPIED_SETTINGS` and the window sizes are used.
        model: the folder of the model package.
        processes: the number of worker processes.
    """
    return {
        **{PREFIX + name.upper(): str(getattr(settings, name)) for name in COPIED_SETTINGS},
        "EMOSTREAM_WINDOW_SIZES": ",".join(map(str, settings.window_sizes)),
        "EMOSTREAM_PARTITIONS": str(max(settings.partitions, processes)),
        "EMOSTREAM_MODEL_URI": str(model),
        # A process uses one core, as the sizes assume.
        "EMOSTREAM_MODEL_THREADS": "1",
        "EMOSTREAM_WORKER_PROCESSES": str(processes),
        "EMOSTREAM_WEB_PORT": "0",
        "EMOSTREAM_SINK_WEB_PORT": "0",
    }


def _machine() -> Machine:
    return Machine(
        processors=os.cpu_count() or 1,
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        emostream=__version__,
    )


def warnings_of(pipeline: Throughput, samples: int) -> list[str]:
    """Returns why the figures may be wrong, a line for each reason.

    Args:
        pipeline: the worker at full speed.
        samples: the number of different posts.
    """
    found = []
    if pipeline.others >= BUSY_SHARE:
        found.append(
            f"the machine was busy: other processes used {100 * pipeline.others:.0f} % of its processors, so posts/s "
            "are too low and processor times may be too high"
        )
    if samples < FEW_SAMPLES:
        found.append(f"there are only {samples} different posts, which Kafka compresses better than real ones")
    return found
