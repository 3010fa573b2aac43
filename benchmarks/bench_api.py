"""Measures what a request costs the HTTP service, as ratios within one run.

    python benchmarks/bench_api.py
    python benchmarks/bench_api.py --seconds 10 --rounds 5 --json api.json

It needs wrk. It starts its own Kafka, Valkey and PostgreSQL, fills the window tables, and measures in turns:

1. a bare ASGI app in the same web server, and `POST /v1/query` answered from the cache: CPU time of the server's
   process for each request, so that the load generator's share of the machine does not matter;
2. the bare model, and `POST /v1/predict` with 64 clients: posts a second, and CPU time for each post;
3. the memory of the API process.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psutil

from benchmarks.bench_frontier import describe_machine
from benchmarks.bench_idle import fill
from benchmarks.harness.broker import BenchmarkError
from benchmarks.harness.program import Program
from benchmarks.harness.wrk import WrkResult, is_installed, run_wrk
from connectors.errors import ConnectorError
from connectors.local import LocalStack
from connectors.local.ports import accepts
from models.package.folder import bundled_package_path
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.classification.texts import classify_texts
from streams.cli.common import console
from streams.cli.stress_inputs import texts_of
from streams.errors import EmostreamError
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.demo.sample import sample_posts
from streams.process.signals import exit_on_signals
from streams.settings import load_settings

CLIENTS = 16
PREDICT_CLIENTS = 64
WINDOWS = 10_000
READY_S = 120.0
_LISTENS = re.compile(r"the HTTP service listens on (http://[^;]+);")


@dataclass(frozen=True)
class Round:
    """One measurement of a server.

    Attributes:
        cpu_us: CPU time of the server's processes for a request, in microseconds.
        per_s: requests a second.
        p95_ms: latency from sending; 0 without requests over the network.
        p99_ms: the same.
    """

    cpu_us: float
    per_s: float
    p95_ms: float = 0.0
    p99_ms: float = 0.0


def spent(pid: int) -> float:
    """Returns the CPU seconds of a process and its descendants."""
    root = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in [root, *root.children(recursive=True)])


def measured(pid: int, send: Callable[[], WrkResult]) -> Round:
    """Send, and measure the server meanwhile."""
    before = spent(pid)
    found = send()
    cpu = spent(pid) - before
    if found.failed:
        raise BenchmarkError(f"{found.failed} requests of {found.requests} failed")
    return Round(1e6 * cpu / found.requests, found.requests / found.seconds, found.p95_ms, found.p99_ms)


def bare_model(model: OnnxClassifier, texts: list[str], seconds: float) -> Round:
    """Classify batches of as many texts as there are clients, in this process."""
    models = ModelSet(model)
    begin, cpu, posts = time.perf_counter(), time.process_time(), 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        batch = [texts[(posts + at) % len(texts)] for at in range(PREDICT_CLIENTS)]
        posts += len(classify_texts(models, batch, [None] * len(batch)))
    return Round(1e6 * (time.process_time() - cpu) / posts, posts / elapsed)


def address_of(role: Role) -> str:
    """Wait until the service listens, and return its address."""
    deadline = time.monotonic() + READY_S
    while not (found := _LISTENS.findall(role.log.read_text("utf-8", "replace"))):
        role.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the service did not listen after {READY_S:.0f} s")
        time.sleep(0.1)
    return str(found[0])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def measure(folder: Path, seconds: int, rounds: int) -> dict[str, object]:
    """Start everything, and return what was measured."""
    with ExitStack() as stack:
        local = LocalStack(folder)
        stack.callback(local.down)
        environment = {
            **local.up().as_env(),
            "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
            "EMOSTREAM_API_PORT": "0",
            "EMOSTREAM_API_REQUESTS_PER_MINUTE": "0",
            "EMOSTREAM_QUERY_FRESH_S": "3600",
        }
        clean = clean_environment(environment)
        if Role("init", ["init"], env=clean, log=folder / "init.log").wait(READY_S):
            raise BenchmarkError("emostream init failed")
        asyncio.run(fill(load_settings(env_file=None, environ=environment), WINDOWS))
        role = stack.enter_context(Role("api", ["api"], env=clean, log=folder / "api.log"))
        address = address_of(role)
        port = _free_port()
        argv = [sys.executable, "-m", "benchmarks.api_hello", str(port)]
        hello = stack.enter_context(Program(argv, env=clean, folder=Path.cwd(), log=folder / "hello.log", cores=()))
        texts = texts_of(sample_posts())
        question, posts = [{"keyword": "*"}], [{"text": text} for text in texts]

        def at(url: str, bodies: list[dict[str, str]], clients: int) -> Callable[[], WrkResult]:
            return lambda: run_wrk(url, bodies, clients=clients, seconds=seconds, folder=folder)

        plain = at(f"http://127.0.0.1:{port}/", question, CLIENTS)
        query = at(f"{address}/v1/query", question, CLIENTS)
        predict = at(f"{address}/v1/predict", list(posts), PREDICT_CLIENTS)
        while not accepts(port, 1):
            hello.check()
            time.sleep(0.1)
        for warm in (plain, query, predict):
            warm()
        model = OnnxClassifier.load(bundled_package_path(), threads=1)
        memory = psutil.Process(role.pid).memory_full_info()
        found: dict[str, list[Round]] = {"hello": [], "query": [], "model": [], "predict": []}
        for _ in range(rounds):
            found["hello"].append(measured(hello.pid, plain))
            found["query"].append(measured(role.pid, query))
        for _ in range(rounds):
            found["model"].append(bare_model(model, texts, seconds))
            found["predict"].append(measured(role.pid, predict))
        return {
            "rounds": {name: [asdict(one) for one in of] for name, of in found.items()},
            "cpu_us": {name: round(statistics.median(one.cpu_us for one in of), 1) for name, of in found.items()},
            "per_s": {name: round(statistics.median(one.per_s for one in of), 1) for name, of in found.items()},
            "hello_to_query_cpu": ratio(found["hello"], found["query"]),
            "model_to_predict_cpu": ratio(found["model"], found["predict"]),
            "predict_to_model_per_s": round(
                statistics.median(p.per_s / m.per_s for m, p in zip(found["model"], found["predict"], strict=True)), 3
            ),
            "predict_p95_ms": round(statistics.median(one.p95_ms for one in found["predict"]), 1),
            "rss_mb": round(memory.rss / 1e6, 1),
            "pss_mb": round(memory.pss / 1e6, 1),
        }


def ratio(least: list[Round], of: list[Round]) -> float:
    """Returns the median over the rounds of the least CPU time to that of the service; 1 would be no cost."""
    return round(statistics.median(one.cpu_us / other.cpu_us for one, other in zip(least, of, strict=True)), 3)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--seconds", type=click.IntRange(1), default=5, show_default=True, help="Seconds of a measurement.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Measurements of each kind.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(*, seconds: int, rounds: int, json_file: Path | None) -> None:
    """Measure what a request costs the HTTP service, as ratios within one run."""
    if not is_installed():
        raise click.ClickException("wrk is not installed; it is a package of most systems")
    try:
        with exit_on_signals(), tempfile.TemporaryDirectory(prefix="emostream-bench-") as name:
            found = measure(Path(name), seconds, rounds)
    except (EmostreamError, ConnectorError, BenchmarkError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    for key, value in found.items():
        if key != "rounds":
            console().print(f"{key}: {value}", soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": describe_machine(), **found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
