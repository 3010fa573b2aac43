"""Measures a question that is answered by inference, and the same question from the cache.

    python benchmarks/bench_cold.py
    python benchmarks/bench_cold.py --questions 20

It starts its own Kafka, Valkey and PostgreSQL, and a network with a search, which speaks the protocol of Hacker News
from this machine. Each keyword has 250 posts there and none in the windows. So the first question searches for 250
posts, classifies them, and sends them to the raw topic; the next ones come from the cache.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from api.client import Client
from api.models.query import AnswerSource
from benchmarks.bench_api import READY_S, address_of, spent
from benchmarks.harness.broker import BenchmarkError
from connectors.errors import ConnectorError
from connectors.local import LocalStack
from models.package.folder import bundled_package_path
from streams.cli.common import console
from streams.cli.stress_inputs import texts_of
from streams.errors import EmostreamError
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.demo.sample import sample_posts
from streams.process.signals import exit_on_signals
from tests.source_servers.hackernews import HackerNewsServer
from tests.source_servers.threaded import threaded

POSTS = 250
HITS = 100
"""Questions from the cache for each keyword. One takes less CPU time than the system's clock of it can tell."""


def filled(keywords: list[str]) -> HackerNewsServer:
    """Returns a network with `POSTS` comments for each keyword, all different."""
    server = HackerNewsServer(start=int(time.time()) - 80_000)
    texts = texts_of(sample_posts())
    for keyword in keywords:
        for number in range(POSTS):
            server.add(f"{texts[number % len(texts)]} {keyword} {number}")
    return server


def measure(folder: Path, questions: int) -> dict[str, float]:
    """Start everything, ask, and return milliseconds and milliseconds of CPU time, cold and hot."""
    keywords = [f"keyword{number}" for number in range(questions)]
    with ExitStack() as stack:
        network = stack.enter_context(threaded(filled(keywords)))
        sources = folder / "sources.toml"
        sources.write_text(
            f'[hackernews]\nsearch_endpoint = "{network.server.url}"\nallow_private = true\n', encoding="utf-8"
        )
        local = LocalStack(folder / "servers")
        stack.callback(local.down)
        environment = {
            **local.up().as_env(),
            "EMOSTREAM_MODEL_URI": str(bundled_package_path()),
            "EMOSTREAM_API_PORT": "0",
            "EMOSTREAM_QUERY_SOURCES": str(sources),
            "EMOSTREAM_QUERY_DEADLINE_S": "60",
            "EMOSTREAM_QUERY_FRESH_S": "3600",
        }
        clean = clean_environment(environment)
        if Role("init", ["init"], env=clean, log=folder / "init.log").wait(READY_S):
            raise BenchmarkError("emostream init failed")
        role = stack.enter_context(Role("api", ["api"], env=clean, log=folder / "api.log"))
        client = stack.enter_context(Client(address_of(role), timeout_s=120))
        client.predict("the first run of a model takes longer")
        cold_ms, hot_ms, cold_cpu, hot_cpu = [], [], [], []
        for keyword in keywords:
            before, begin = spent(role.pid), time.perf_counter()
            answer = client.query(keyword, limit=POSTS)
            cold_ms.append(1e3 * (time.perf_counter() - begin))
            if (answer.count + answer.unsupported, answer.source) != (POSTS, AnswerSource.INFERENCE):
                raise BenchmarkError(f"the first answer has {answer.count} posts, from {answer.source}")
            time.sleep(1)  # the posts are sent to Kafka after the answer
            cold_cpu.append(1e3 * (spent(role.pid) - before))
        for keyword in keywords:
            before = spent(role.pid)
            for _ in range(HITS):
                begin = time.perf_counter()
                if client.query(keyword, limit=POSTS).source != AnswerSource.CACHE:
                    raise BenchmarkError("the next answer is not from the cache")
                hot_ms.append(1e3 * (time.perf_counter() - begin))
            hot_cpu.append(1e3 * (spent(role.pid) - before) / HITS)
    middle = statistics.median
    return {
        "cold_ms": middle(cold_ms),
        "hot_ms": middle(hot_ms),
        "hot_p99_ms": statistics.quantiles(hot_ms, n=100)[98],
        "cold_to_hot": middle(cold_ms) / middle(hot_ms),
        "cold_cpu_ms": middle(cold_cpu),
        "hot_cpu_ms": middle(hot_cpu),
        "cold_to_hot_cpu": middle(cold_cpu) / middle(hot_cpu),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--questions", type=click.IntRange(1), default=10, show_default=True, help="Keywords that are asked for.")
def main(*, questions: int) -> None:
    """Measure a question that is answered by inference, and the same question from the cache."""
    try:
        with exit_on_signals(), tempfile.TemporaryDirectory(prefix="emostream-bench-") as name:
            found = measure(Path(name), questions)
    except (EmostreamError, ConnectorError, BenchmarkError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    for key, value in found.items():
        console().print(f"{key}: {value:.2f}")


if __name__ == "__main__":
    main()
