"""A simulated fleet reaches the limit that the closed form computes, and falls behind only above it."""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.scaling_model import HISTORY_PARTS, LARGEST_BATCH, BatchCost, Costs, Fleet, bottleneck, capacities
from benchmarks.scaling_simulation import SimulationConfig, simulate
from tests.fleet_costs import CALLS, COSTS, ONE_CORE

FLEETS = (
    Fleet(workers=1, partitions=4),
    Fleet(workers=8, partitions=8),
    Fleet(workers=200, partitions=200, brokers=8),
    Fleet(workers=200, partitions=200, brokers=8, masters=4, shards=16),
    Fleet(workers=200, partitions=200, brokers=2, masters=4, shards=16),
    Fleet(workers=100, partitions=100, brokers=6, masters=3, shards=3, replication=3),
)


def live_limit(fleet: Fleet, costs: Costs = COSTS, batch: int = LARGEST_BATCH) -> float:
    """Returns the limit of the closed form without network and history, which the simulation does not have."""
    return bottleneck(capacities(costs, ONE_CORE, fleet, batch=batch), without=HISTORY_PARTS | {"broker network"})[1]


def config(**fields: Any) -> SimulationConfig:
    return SimulationConfig(**({"seconds": 120, "batch_wait_s": 0.05, "aggregate_batch": LARGEST_BATCH} | fields))


class TestSimulation:
    @pytest.mark.parametrize("fleet", FLEETS, ids=str)
    def test_it_agrees_with_the_closed_form(self, fleet: Fleet) -> None:
        found = simulate(COSTS, ONE_CORE, fleet, config())
        assert found.applied == pytest.approx(live_limit(fleet), rel=0.05)

    def test_it_includes_the_cost_of_calls(self) -> None:
        # First the batches for the windows are those of the classify stage. Then Redis is the limit, and they are the
        # largest.
        few = Fleet(workers=8, partitions=8, shards=16)
        found = simulate(CALLS, ONE_CORE, few, config(aggregate_batch=512))
        assert found.applied == pytest.approx(live_limit(few, CALLS, 512), rel=0.05)
        many = Fleet(workers=200, partitions=200, brokers=8, shards=256)
        found = simulate(CALLS, ONE_CORE, many, config(aggregate_batch=1_024))
        assert found.busy["Redis"] > 0.95
        assert found.applied == pytest.approx(live_limit(many, CALLS, 1_024), rel=0.05)

    def test_a_stage_without_work_costs_no_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = []
        heappush = heapq.heappush

        def push(heap: list[Any], item: Any) -> None:
            if isinstance(item, tuple):
                events.append(item)
            heappush(heap, item)

        monkeypatch.setattr(heapq, "heappush", push)
        simulate(COSTS, ONE_CORE, Fleet(1, 1), config(rate=1, seconds=1_000))
        # A post a second has five events: take, write, written, apply, applied.
        assert 4_500 < len(events) <= 5_000

    def test_a_batch_fills_from_its_first_post_on(self) -> None:
        found = simulate(COSTS, ONE_CORE, Fleet(1, 1), config(rate=100, seconds=100, batch_wait_s=0.5))
        assert found.applied == pytest.approx(100, rel=0.02)
        assert sum(found.lag) < 100
        with pytest.raises(ValueError, match="must be above 0"):
            SimulationConfig(batch_wait_s=0)
        with pytest.raises(ValueError, match="must be above 0"):
            SimulationConfig(rate=0)

    def test_random_times_change_little(self) -> None:
        fleet = Fleet(workers=8, partitions=8)
        found = simulate(COSTS, ONE_CORE, fleet, config(sigma=0.5))
        assert found.applied == pytest.approx(live_limit(fleet), rel=0.05)
        assert found != simulate(COSTS, ONE_CORE, fleet, config(sigma=0.5, seed=8))

    def test_it_is_linear_up_to_the_limit_of_a_part_and_then_constant(self) -> None:
        workers = [1, 2, 4, 8, 16, 32, 64, 128, 256]
        rates = [
            simulate(COSTS, ONE_CORE, Fleet(n, n, brokers=8), config(seconds=300, batch=2_048)).applied for n in workers
        ]  # one master: 100,000 posts/s
        assert all(later >= 0.97 * earlier for earlier, later in pairwise(rates))
        for number, rate in zip(workers, rates, strict=True):
            assert rate == pytest.approx(min(number * 1_000, 100_000), rel=0.05)

    def test_with_a_slow_redis_classification_continues_and_posts_wait_in_kafka(self) -> None:
        slow = replace(COSTS, redis=BatchCost(((1, 1_000),), 0))
        found = simulate(slow, ONE_CORE, Fleet(workers=4, partitions=4), config(seconds=100))
        assert found.applied == pytest.approx(1_000, rel=0.05)
        assert found.classified > 3_500
        assert found.lag[1] > 100 * 2_500
        assert found.busy["Redis"] == pytest.approx(1, abs=0.02)

    def test_only_a_rate_above_the_limit_leaves_a_lag(self) -> None:
        fleet = Fleet(workers=4, partitions=4)
        below = simulate(COSTS, ONE_CORE, fleet, config(rate=0.9 * live_limit(fleet), seconds=100))
        assert below.applied == pytest.approx(3_600, rel=0.02)
        assert sum(below.lag) < 4 * (512 + LARGEST_BATCH)
        assert below.busy["workers"] == pytest.approx(0.9, abs=0.02)
        above = simulate(COSTS, ONE_CORE, fleet, config(rate=1.2 * live_limit(fleet), seconds=100))
        assert sum(above.lag) == pytest.approx(100 * 800, rel=0.1)

    def test_the_worker_with_most_partitions_falls_behind_first(self) -> None:
        fleet = Fleet(workers=4, partitions=5)
        assert live_limit(fleet) == pytest.approx(2_500)
        fits = simulate(COSTS, ONE_CORE, fleet, config(rate=2_400, seconds=100))
        falls = simulate(COSTS, ONE_CORE, fleet, config(rate=3_500, seconds=100))
        assert sum(fits.lag) < 4 * (512 + LARGEST_BATCH)
        assert sum(falls.lag) > 100 * 300

    def test_waiting_for_answers_costs_time(self) -> None:
        # A batch of 512 takes 0.46 s of the core. Counting takes almost nothing, so nothing fills the wait of 0.1 s.
        free = BatchCost(((1, 0.001),), 0)
        alone = replace(COSTS, aggregate=free, redis=free, broker_us=0.001)
        found = simulate(alone, ONE_CORE, Fleet(workers=1, partitions=1), config(seconds=100, answer_s=0.1))
        assert found.classified == pytest.approx(512 / (0.4608 + 0.1), rel=0.02)

    def test_more_workers_than_partitions_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 workers need at least as many partitions"):
            simulate(COSTS, ONE_CORE, Fleet(workers=3, partitions=2))
