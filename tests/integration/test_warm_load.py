"""The warmer under a real load: no refresh begins while everybody else uses more of the machine than it allows.

As in `test_sink_load`, what is measured is not the machine, on which other things may run, but the processes of the
test as if they were all there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from connectors.postgres_pool import PostgresPool
from connectors.redis import connect
from models.package.folder import bundled_package_path, read_manifest
from streams.gate.cpu_aware import CpuAwareGate
from streams.gate.rule import GateReason, GateRule
from streams.query.cached_engine import CachedEngine, labels_of
from streams.query.demand import Demand
from streams.query.engine import Engine
from streams.query.history import HistoryReader
from streams.query.metrics import CacheMetrics
from streams.query.open_cache import open_cache
from streams.query.question import Question
from streams.query.read_through import Refreshed
from streams.query.windows import KeywordWindows
from streams.settings import Settings
from streams.warm.metrics import WarmMetrics
from streams.warm.warmer import Warmer
from streams.windows.connect import table_arguments
from tests.integration.burners import Burners, Processes, SampleCounter
from tests.integration.support import TIMEOUT_S

pytestmark = pytest.mark.alone

LIMIT, SHARE = 0.35, 0.9
"""The load takes nearly all of the capacity, so that it stays above the limit while others work too."""

PULSES = 3
SAMPLES = 12
"""Samples of the gate, eight a second."""


class Watched(CachedEngine):
    """Notes the state of the gate at each refresh."""

    def __init__(self, *given: object, gate: CpuAwareGate, **more: object) -> None:
        super().__init__(*given, **more)  # type: ignore[arg-type]
        self._gate = gate
        self.begun = 0
        self.begun_closed = 0

    async def refresh(self, question: Question, **decide: object) -> Refreshed:
        self.begun += 1
        self.begun_closed += not self._gate.is_open()
        return await super().refresh(question, **decide)  # type: ignore[arg-type]


@pytest.fixture
def load(burners: Burners) -> SampleCounter:
    """Reads the load of the burners, which are at work, and of this process."""
    source = Processes(burners.pids)
    burners.burn()
    source.calibrate()
    source.share = SHARE
    found = SampleCounter(source)
    source.own = found.own.seconds
    return found


@pytest.fixture
def gate(load: SampleCounter) -> Iterator[CpuAwareGate]:
    with CpuAwareGate(GateRule(limit=LIMIT, calm_s=1.0), load) as entered:
        yield entered


@pytest.fixture
async def engine(settings: Settings, gate: CpuAwareGate) -> AsyncIterator[Watched]:
    """Refreshes some answers without a pause, as if each of them was due at once."""
    client = connect(settings.redis_url.get_secret_value(), cluster=False)
    manifest = read_manifest(bundled_package_path())
    windows = KeywordWindows(client, **table_arguments(settings))
    demand = Demand(client, prefix=settings.redis_prefix, half_life_s=3_600)
    await demand.add({(250, f"keyword {number}"): 1 for number in range(20)})
    async with (
        PostgresPool(settings.postgres_dsn.get_secret_value(), application_name="test", read_only=True) as pool,
        open_cache(settings, CacheMetrics(CollectorRegistry())) as cached,
    ):
        engine = Engine(
            windows=windows,
            history=HistoryReader(pool),
            sizes=settings.window_sizes,
            labels=lambda: labels_of([manifest]),
        )
        found = Watched(
            cached,
            engine,
            lambda: [manifest],
            prefix=settings.redis_prefix,
            deadline_s=TIMEOUT_S,
            shortest_s=60,
            gate=gate,
        )
        warmer = Warmer(found, demand, windows, gate, WarmMetrics(), keywords=100, lifetime_s=0.001, searches=False)

        async def warm() -> None:
            while True:
                await warmer.run_round()

        warming = asyncio.create_task(warm())
        yield found
        warming.cancel()
        await asyncio.wait([warming])
        assert warming.cancelled(), warming.exception()
    await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - threads and other processes change it
            await asyncio.sleep(0.01)


async def test_no_refresh_begins_while_the_machine_is_busy(
    engine: Watched, burners: Burners, load: SampleCounter, gate: CpuAwareGate
) -> None:
    await until(lambda: gate.state.reason is GateReason.BUSY)
    for _ in range(PULSES):
        begun, samples = engine.begun, load.samples
        await until(lambda: load.samples >= samples + SAMPLES)  # noqa: B023 - awaited at once
        assert not gate.is_open()
        assert engine.begun == begun
        burners.rest()
        await until(lambda: engine.begun >= begun + 40)  # noqa: B023
        burners.burn()
        await until(lambda: not gate.is_open())
    print(f"{engine.begun} refreshes began, {engine.begun_closed} of them while the gate was closed")
    assert engine.begun_closed == 0
