"""Measures the share of questions that find a fresh answer in the cache, without and with the warmer.

    python benchmarks/bench_warm.py
    python benchmarks/bench_warm.py --rate 100 --seconds 60 --json warm.json

Questions come at a fixed rate, whether or not earlier ones have an answer (open loop). Their keywords follow Zipf's
law. Three phases have the same questions, and each one begins with an empty cache and no demand:

- `none`: no warmer runs;
- `open`: the warmer runs, and its gate is always open;
- `half`: the warmer runs, and its gate is open for every second `--pulse` seconds.

The first `--settle` seconds of a phase are not measured. The warmer runs in the same process as the questions. It uses
a gate of the benchmark, because the load of the machine is that of the benchmark itself. It starts its own Valkey.
There is no Postgres, since the window tables have all windows.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import click
from prometheus_client import CollectorRegistry
from rich.table import Table

from benchmarks.harness.pulsed_gate import PulsedGate, Sampler
from connectors.local import LocalStack, valkey
from connectors.local.state import StateFile
from connectors.postgres_pool import PostgresPool
from models.package.folder import bundled_package_path, read_manifest
from streams.cli.common import console, progress_console
from streams.gate.cpu_aware import OpenGate
from streams.query.cached_engine import CachedEngine, labels_of
from streams.query.demand import Demand, DemandWriter
from streams.query.engine import Engine
from streams.query.history import HistoryReader
from streams.query.metrics import CacheMetrics
from streams.query.open_cache import open_cache
from streams.query.question import Question
from streams.query.read_through import Refreshed
from streams.query.windows import KeywordWindows
from streams.records import Origin
from streams.settings import Settings, load_settings
from streams.warm.due import lifetime_s
from streams.warm.metrics import WarmMetrics
from streams.warm.warmer import Warmer
from streams.windows.connect import open_store, redis_client, table_arguments
from streams.windows.deltas import Entry, reduce_entries
from streams.windows.post import MICRO, PostForCounting
from streams.windows.store import WindowStore
from streams.windows.update import ShardUpdate

LABELS = ("joy", "anger", "sadness")
POSTS_PER_KEYWORD = 3


@dataclass(frozen=True)
class Load:
    """The load of a phase: `rate` questions a second about `keywords` keywords, of which number k has 1/k**exponent."""

    keywords: int
    exponent: float
    rate: float
    seconds: float
    settle_s: float
    seed: int

    def questions(self) -> list[Question]:
        """Returns the questions, in their order. They are the same in each phase."""
        weights = list(accumulate(1 / (rank + 1) ** self.exponent for rank in range(self.keywords)))
        ranks = random.Random(self.seed).choices(
            range(self.keywords), cum_weights=weights, k=round(self.rate * self.seconds)
        )
        return [Question.of(f"keyword {rank}") for rank in ranks]


@dataclass(frozen=True)
class Phase:
    """What was measured in a phase.

    Attributes:
        warmer: `none`, `open` or `half`.
        questions: questions after the settling time.
        hits: those of them that found a fresh answer.
        stale: those that found a stale one.
        computed: those that waited for a computation.
        refreshed: answers that the warmer replaced in the whole phase.
        looked_at_closed: refreshes that began while the gate was closed.
        closed_s: seconds that the gate was closed.
        cpu_s: processor seconds of the process in the whole phase.
        p99_ms: 99th percentile of the time from the moment at which a question was due until its answer.
    """

    warmer: str
    questions: int
    hits: int
    stale: int
    computed: int
    refreshed: int
    looked_at_closed: int
    closed_s: float
    cpu_s: float
    p99_ms: float

    @property
    def hit_ratio(self) -> float:
        """The share of questions that found a fresh answer."""
        return self.hits / self.questions


class WatchedEngine(CachedEngine):
    """Counts the refreshes that begin, and those that begin while a gate is closed."""

    gate: OpenGate
    refreshes = 0
    while_closed = 0
    results: Counter[str]

    async def refresh(self, question: Question, **decide: object) -> Refreshed:
        """Refresh an answer as the base class does."""
        self.refreshes += 1
        self.while_closed += not self.gate.is_open()
        result = await super().refresh(question, **decide)  # type: ignore[arg-type]
        self.results[result] += 1
        return result


async def fill(store: WindowStore, settings: Settings, keywords: int) -> None:
    """Count some posts of each keyword in the window tables."""
    now_ms = time.time_ns() // 1_000_000
    posts = []
    for number in range(keywords * POSTS_PER_KEYWORD):
        counted = PostForCounting(
            id=str(number),
            source="bench",
            keywords=(f"keyword {number % keywords}",),
            event_ms=now_ms,
            label=LABELS[number % len(LABELS)],
            confidence=MICRO // 2,
            sentiment=None,
            score=0,
            version="1.0.0",
            origin=Origin(topic="raw", partition=0, offset=number),
            lang="en",
        )
        posts.append(Entry(number, counted))
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        at = (await store.positions(shard, [0]))[0]
        deltas = reduce_entries(
            posts, positions=[at] * store.shards, end=posts[-1].offset + 1, sizes=settings.window_sizes
        )
        await store.apply(shard, ShardUpdate.of({0: (at, deltas[shard])}))
        await store.note_watermark(shard, now_ms)


@asynccontextmanager
async def opened(settings: Settings, gate: OpenGate) -> AsyncIterator[tuple[WatchedEngine, DemandWriter, Warmer]]:
    """Open what a process of the HTTP service and the warmer hold, with a cache of its own name."""
    async with AsyncExitStack() as stack:
        metrics = WarmMetrics()
        cache_metrics = CacheMetrics(CollectorRegistry())
        redis = redis_client(settings)
        stack.push_async_callback(redis.aclose)
        windows = KeywordWindows(redis, **table_arguments(settings))
        manifest = read_manifest(bundled_package_path())
        engine = Engine(
            windows=windows,
            history=HistoryReader(PostgresPool("", application_name="bench")),
            sizes=settings.window_sizes,
            labels=lambda: labels_of([manifest]),
        )
        cached = await stack.enter_async_context(open_cache(settings, cache_metrics))
        name = f"{settings.redis_prefix}-{time.time_ns()}"
        cached_engine = WatchedEngine(cached, engine, lambda: [manifest], prefix=name, deadline_s=10, shortest_s=60)
        cached_engine.gate = gate
        cached_engine.results = Counter()
        demand = Demand(redis, prefix=name, half_life_s=settings.warm_half_life_s)
        writer = await stack.enter_async_context(DemandWriter(demand, cache_metrics, write_s=1))
        warmer = Warmer(
            cached_engine,
            demand,
            windows,
            gate,
            metrics,
            keywords=settings.warm_keywords,
            lifetime_s=lifetime_s(keep_s=settings.query_cache_s, fresh_s=settings.query_fresh_s),
            searches=False,
        )
        yield cached_engine, writer, warmer


async def run_phase(settings: Settings, load: Load, warmer_is: str, pulse_s: float) -> Phase:
    """Ask all questions of the load, and return what was measured."""
    gate = PulsedGate(pulse_s if warmer_is == "half" else 0)
    sources: list[str] = []
    delays: list[float] = []
    async with opened(settings, gate) as (cached_engine, writer, warmer):
        closed = Sampler(gate)

        async def ask(question: Question, due: float, measured: bool) -> None:
            found = await cached_engine.get(question, cached_engine.deadline())
            writer.asked(question)
            if measured:
                sources.append(found.result)
                delays.append(asyncio.get_running_loop().time() - due)

        async def warm() -> None:
            while True:
                begin = time.monotonic()
                await warmer.run_round()
                await asyncio.sleep(max(0.0, begin + warmer.interval_s - time.monotonic()))

        helpers = [asyncio.create_task(closed.run())]
        if warmer_is != "none":
            helpers.append(asyncio.create_task(warm()))
        loop = asyncio.get_running_loop()
        cpu, begin = time.process_time(), loop.time()
        asking = []
        for number, question in enumerate(load.questions()):
            due = begin + number / load.rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            asking.append(asyncio.create_task(ask(question, due, due - begin >= load.settle_s)))
        await asyncio.gather(*asking)
        cpu = time.process_time() - cpu
        for helper in helpers:
            helper.cancel()
            with suppress(asyncio.CancelledError):
                await helper
        counts = Counter(sources)
        return Phase(
            warmer_is,
            len(sources),
            counts["hit"],
            counts["stale"],
            counts["computed"],
            cached_engine.results["replaced"],
            cached_engine.while_closed,
            closed.seconds,
            cpu,
            statistics.quantiles(delays, n=100)[98] * 1_000,
        )


async def measure(settings: Settings, load: Load, pulse_s: float) -> list[Phase]:
    """Fill the window tables, and run the phases."""
    async with open_store(settings) as store:
        await fill(store, settings, load.keywords)
    found = []
    for warmer_is in ("none", "open", "half"):
        progress_console().print(f"{load.seconds:.0f} s with the warmer: {warmer_is}")
        found.append(await run_phase(settings, load, warmer_is, pulse_s))
    return found


def table_of(phases: Sequence[Phase]) -> Table:
    """Returns the table of the results."""
    table = Table("warmer", "questions", "fresh", "stale", "computed", "refreshed", "begun while closed", "closed s")
    table.add_column("CPU s")
    table.add_column("p99 ms")
    for one in phases:
        shares = [f"{100 * part / one.questions:.1f} %" for part in (one.hits, one.stale, one.computed)]
        rest = [str(one.refreshed), str(one.looked_at_closed), f"{one.closed_s:.0f}", f"{one.cpu_s:.1f}"]
        table.add_row(one.warmer, str(one.questions), *shares, *rest, f"{one.p99_ms:.1f}")
    return table


@click.command
@click.option("--keywords", default=2_000, show_default=True, help="Different keywords.")
@click.option("--exponent", default=1.0, show_default=True, help="Exponent of Zipf's law.")
@click.option("--rate", default=80.0, show_default=True, help="Questions a second.")
@click.option("--seconds", default=40.0, show_default=True, help="Seconds of a phase.")
@click.option("--settle", default=12.0, show_default=True, help="Seconds at the start of a phase that do not count.")
@click.option("--fresh", default=8.0, show_default=True, help="EMOSTREAM_QUERY_FRESH_S.")
@click.option("--keep", default=30.0, show_default=True, help="EMOSTREAM_QUERY_CACHE_S.")
@click.option("--warm-keywords", default=600, show_default=True, help="EMOSTREAM_WARM_KEYWORDS.")
@click.option("--pulse", default=4.0, show_default=True, help="Seconds for which the gate is open, and then closed.")
@click.option("--seed", default=1, show_default=True, help="Seed of the questions.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here.")
def main(
    *,
    keywords: int,
    exponent: float,
    rate: float,
    seconds: float,
    settle: float,
    fresh: float,
    keep: float,
    warm_keywords: int,
    pulse: float,
    seed: int,
    json_file: Path | None,
) -> None:
    """Measure the share of questions that find a fresh answer, without and with the warmer."""
    load = Load(keywords, exponent, rate, seconds, settle, seed)
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder))
        try:
            stack.start("redis")
            state = StateFile(Path(folder) / "state.json").load()
            settings = load_settings(
                env_file=None,
                environ={},
                redis_url=valkey.url(state.server("redis").ports, state),
                query_fresh_s=fresh,
                query_cache_s=keep,
                warm_keywords=warm_keywords,
                warm_half_life_s=60,
            )
            phases = asyncio.run(measure(settings, load, pulse))
        finally:
            stack.down()
    console().print(table_of(phases))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(one) for one in phases], indent=2) + "\n")
    if any(one.looked_at_closed for one in phases):
        raise click.ClickException("the warmer began a refresh while the gate was closed")


if __name__ == "__main__":
    main()
