"""The model of a fleet: closed form, plan and simulation, and that closed form and simulation agree."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.scaling_fit import BatchMeasurement, KafkaCost, WindowsCost, costs_of, describe, fit
from benchmarks.scaling_model import (
    HISTORY_PARTS,
    LARGEST_BATCH,
    BatchCost,
    Costs,
    Fleet,
    Machines,
    Prices,
    bill,
    bottleneck,
    bytes_in,
    bytes_out,
    capacities,
    effective_holders,
)
from benchmarks.scaling_plan import MAX_SHARDS, WindowTables, batch_of, plan, shortest_wait
from benchmarks.scaling_simulation import SimulationConfig, simulate
from streams.records import ALL_KEYWORDS
from streams.window_sizes import parse_sizes
from streams.windows.tumbling import shard_of

COSTS = Costs(
    classify_us=900,
    aggregate=BatchCost(((1, 100),), 0),
    redis=BatchCost(((16, 160), (256, 40), (16_384, 10)), 0),
    broker_us=20,
    sink_us=25,
    postgres_rows=40_000,
    raw_bytes=300,
    classified_bytes=700,
    row_bytes=500,
    window_bytes=600,
)
CALLS = replace(COSTS, aggregate=BatchCost(((1, 100),), 400), redis=replace(COSTS.redis, call_us=100))
ONE_CORE = Machines(worker_cores=1, broker_cores=1)
FLEETS = (
    Fleet(workers=1, partitions=4),
    Fleet(workers=8, partitions=8),
    Fleet(workers=200, partitions=200, brokers=8),
    Fleet(workers=200, partitions=200, brokers=8, masters=4, shards=16),
    Fleet(workers=200, partitions=200, brokers=2, masters=4, shards=16),
    Fleet(workers=100, partitions=100, brokers=6, masters=3, shards=3, replication=3),
)


def live_limit(fleet: Fleet, costs: Costs = COSTS, batch: int = LARGEST_BATCH) -> float:
    """Return the limit of the closed form without network and history, which the simulation does not have."""
    return bottleneck(capacities(costs, ONE_CORE, fleet, batch=batch), without=HISTORY_PARTS | {"broker network"})[1]


def config(**fields: Any) -> SimulationConfig:
    return SimulationConfig(**({"seconds": 120, "batch_wait_s": 0.05, "aggregate_batch": LARGEST_BATCH} | fields))


class TestClosedForm:
    def test_each_part_by_hand(self) -> None:
        found = capacities(COSTS, Machines(2, 3, 10e6, 2), Fleet(4, 8, brokers=3, masters=2, shards=4, replication=2))
        assert found["workers"] == pytest.approx(4 * 2 * 1_000)
        assert found["broker cores"] == pytest.approx(3 * 3 * 1e6 / 40)
        # Out: one copy to the other broker, the raw record to the worker, the classified one to the sink.
        assert found["broker network"] == pytest.approx(3 * 10e6 / (1_000 + 300 + 700))
        assert found["Redis"] == pytest.approx(2 * 100_000)
        assert found["sinks"] == pytest.approx(2 * 40_000)
        assert found["Postgres"] == 40_000

    def test_the_holder_with_the_most_items_limits_the_others(self) -> None:
        assert effective_holders(8, 4) == 4
        assert effective_holders(8, 3) == pytest.approx(8 / 3)
        assert effective_holders(8, 7) == 4
        assert effective_holders(8, 9) == 8

    def test_bytes_are_received_once_for_each_copy(self) -> None:
        assert bytes_in(COSTS, 3) == 3_000
        assert bytes_out(COSTS, 1) == 1_000
        assert bytes_out(COSTS, 3) == 3_000

    def test_the_bottleneck_is_the_part_with_the_lowest_capacity(self) -> None:
        assert bottleneck({"a": 3, "b": 1, "c": 2}) == ("b", 1)
        assert bottleneck({"a": 3, "b": 1, "c": 2}, without=frozenset("b")) == ("c", 2)

    def test_redis_costs_less_in_larger_batches(self) -> None:
        assert COSTS.redis.us(16, 4) == pytest.approx(160)
        assert COSTS.redis.us(64, 4) == pytest.approx(80)
        assert COSTS.redis.us(1, 4) == pytest.approx(160)
        assert COSTS.redis.us(10**6, 4) == pytest.approx(10)
        assert BatchCost(((64, 30),), 0).us(128, 4) == pytest.approx(30)

    def test_a_batch_calls_every_shard(self) -> None:
        assert CALLS.redis.us(256, 64) == pytest.approx(40 + 100 * 64 / 256)
        assert CALLS.worker_us(256, 64) == pytest.approx(1_000 + 400 * 64 / 256)
        few, many = (capacities(CALLS, ONE_CORE, Fleet(4, 4, shards=shards), batch=256) for shards in (4, 64))
        assert few["Redis"] / many["Redis"] == pytest.approx(65 / (40 + 100 / 64))
        assert few["workers"] / many["workers"] == pytest.approx(1_100 / 1_006.25)

    @pytest.mark.parametrize(
        ("by_batch", "call_us"), [((), 1), (((0, 1),), 1), (((2, 1), (1, 1)), 1), (((1, 0),), 1), (((1, 1),), -1)]
    )
    def test_impossible_costs_are_refused(self, by_batch: tuple[tuple[int, float], ...], call_us: float) -> None:
        with pytest.raises(ValueError, match="must be"):
            BatchCost(by_batch, call_us)

    def test_an_impossible_fleet_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            Fleet(workers=0, partitions=4)
        with pytest.raises(ValueError, match="3 copies of a partition need 3 brokers"):
            Fleet(workers=1, partitions=4, replication=3)


class TestPlan:
    @pytest.mark.parametrize("rate", [1, 999, 10_000, 100_000, 1e6])
    @pytest.mark.parametrize("headroom", [0.5, 0.7, 1.0])
    def test_it_reaches_its_rate_and_a_smaller_fleet_does_not(self, rate: float, headroom: float) -> None:
        machines = Machines(worker_cores=4)
        fleet = plan(COSTS, machines, rate, headroom=headroom)
        found = capacities(COSTS, machines, fleet)
        assert bottleneck(found, without=frozenset({"Postgres"}))[1] * headroom >= rate * (1 - 1e-9)
        for part, name in (("workers", "workers"), ("brokers", "broker cores")):
            number = getattr(fleet, part)
            if number > (fleet.replication if part == "brokers" else 1):
                less = {"partitions": number - 1} if part == "workers" else {}
                fewer = capacities(COSTS, machines, replace(fleet, **{part: number - 1}, **less))
                limit = min(fewer[name], fewer["broker network"]) if part == "brokers" else fewer[name]
                assert limit * headroom < rate

    def test_batches_that_fill_for_longer_need_fewer_masters(self) -> None:
        assert batch_of(100_000, 200, 0.2) == 100
        assert batch_of(100, 200, 0.2) == 1
        fleets = [plan(COSTS, Machines(), 500_000, wait_s=wait) for wait in (0.2, 2, 20)]
        assert fleets[0].masters > fleets[1].masters > fleets[2].masters

    def test_all_holders_have_equally_many_items(self) -> None:
        fleet = plan(COSTS, Machines(), 300_000)
        assert fleet.partitions % fleet.workers == fleet.shards % fleet.masters == 0

    def test_the_fleet_has_enough_cores_for_calls(self) -> None:
        fleet = plan(CALLS, Machines(), 1_000_000)
        batch = batch_of(1_000_000, fleet.workers, 1.0)
        found = capacities(CALLS, Machines(), fleet, batch=batch)
        assert min(found["Redis"], found["workers"]) * 0.7 >= 1_000_000 * (1 - 1e-9)
        free = plan(COSTS, Machines(), 1_000_000)
        assert fleet.masters > free.masters
        assert fleet.workers > free.workers
        # If calls cost nothing, four shards for each master cost nothing. If they cost something, there are fewer.
        assert free.shards == 4 * free.masters
        assert fleet.shards < 4 * fleet.masters

    @pytest.mark.parametrize("rate", [1_000, 30_000, 100_000])
    def test_no_other_number_of_shards_costs_less(self, rate: float) -> None:
        def cores(masters: int, each: int) -> float:
            """Return the cores of the workers and masters; infinite if the masters are too few for the rate."""
            workers = 1
            while (batch := batch_of(rate, workers, 1.0)) and (
                workers * 0.7e6 < rate * CALLS.worker_us(batch, masters * each) * (1 - 1e-9)
            ):
                workers += 1
            enough = masters * 0.7e6 >= rate * CALLS.redis.us(batch, masters * each)
            return workers + masters if enough else math.inf

        fleet = plan(CALLS, Machines(), rate)
        least = min(cores(masters, each) for each in (1, 2, 3, 4) for masters in range(1, 2 * fleet.masters))
        assert fleet.workers + fleet.masters == least == cores(fleet.masters, fleet.shards // fleet.masters)

    def test_calls_too_slow_for_any_number_of_masters_are_refused(self) -> None:
        slow = replace(COSTS, redis=replace(COSTS.redis, call_us=5_000))
        with pytest.raises(ValueError, match=r"no number of Redis masters can apply 100,000 posts/s in batches .* 1 s"):
            plan(slow, Machines(), 100_000)
        assert plan(slow, Machines(), 100_000, wait_s=10).shards <= MAX_SHARDS

    def test_the_shortest_wait_needs_hardly_more_cores_than_the_best(self) -> None:
        fleets = {1.0: Fleet(100, 100, masters=20), 2.0: Fleet(100, 100, masters=4), 5.0: Fleet(100, 100, masters=1)}
        asked = []

        def plan_for(wait_s: float) -> Fleet:
            asked.append(wait_s)
            if wait_s not in fleets:
                raise ValueError(f"not in {wait_s:g} s")
            return fleets[wait_s]

        assert shortest_wait((0.5, 1.0, 2.0, 5.0), plan_for, Machines()) == (2.0, fleets[2.0])
        assert asked == [0.5, 1.0, 2.0, 5.0]
        assert shortest_wait((5.0, 10.0), plan_for, Machines()) == (5.0, fleets[5.0])
        with pytest.raises(ValueError, match=r"not in 0\.2 s"):
            shortest_wait((0.1, 0.2), plan_for, Machines())

    def test_an_impossible_plan_is_refused(self) -> None:
        with pytest.raises(ValueError, match="positive"):
            plan(COSTS, Machines(), 0)
        with pytest.raises(ValueError, match="headroom"):
            plan(COSTS, Machines(), 1, headroom=1.1)


class TestTables:
    tables = WindowTables(100, 1.0, parse_sizes("1m:1h,1h:1d"))

    @pytest.mark.parametrize("holders", [1, 4, 13])
    def test_the_fullest_holder_follows_from_the_application_s_hash(self, holders: int) -> None:
        names = [ALL_KEYWORDS, *(f"keyword-{number}" for number in range(100))]
        counts = [sum(shard_of(name, holders) == shard for name in names) for shard in range(holders)]
        assert self.tables.fullest(holders) == pytest.approx(max(counts) * (61 + 25))

    def test_the_busiest_holder_s_share_of_changed_windows(self) -> None:
        assert self.tables.busiest(100, 1) == pytest.approx(1)
        # A tiny batch changes only the windows of `ALL_KEYWORDS`, which are in one shard.
        assert self.tables.busiest(1e-6, 16) == pytest.approx(1, abs=1e-4)
        # A huge batch changes all windows, so the share is that of the fullest holder.
        assert self.tables.busiest(1e9, 16) == pytest.approx(self.tables.fullest(16) / self.tables.fullest(1))

    def test_a_plan_for_uneven_shards_needs_more_masters(self) -> None:
        even, uneven = (plan(COSTS, Machines(), 500_000, tables=tables) for tables in (None, self.tables))
        assert uneven.masters > even.masters
        batch = batch_of(500_000, uneven.workers, 1.0)
        load = 500_000 * COSTS.redis.us(batch, uneven.shards) * self.tables.busiest(batch, uneven.masters)
        assert load <= 0.7e6 * (1 + 1e-9)

    def test_memory_alone_can_require_more_masters(self) -> None:
        held = self.tables.fullest(1) * COSTS.window_bytes
        small = Machines(master_bytes=held / 4 / 0.7)
        fleet = plan(COSTS, small, 100, tables=self.tables)
        assert fleet.masters >= 4
        assert self.tables.fullest(fleet.masters) * COSTS.window_bytes <= 0.7 * small.master_bytes
        with pytest.raises(ValueError, match="no number of Redis masters"):
            plan(COSTS, Machines(master_bytes=1), 100, tables=self.tables)


class TestFit:
    known = BatchCost(((16, 90.0), (256, 40.0), (4_096, 9.0)), 35.0)

    def measured(self, *shard_counts: int) -> list[BatchMeasurement]:
        return [
            BatchMeasurement(batch, shards, self.known.us(batch, shards))
            for batch, _ in self.known.by_batch
            for shards in shard_counts
        ]

    def test_the_fit_finds_the_costs_that_made_the_measurements(self) -> None:
        found = fit(self.measured(4, 16, 64))
        assert found.call_us == pytest.approx(35)
        assert dict(found.by_batch) == pytest.approx(dict(self.known.by_batch))

    def test_noise_of_a_few_percent_changes_the_fit_by_a_few_percent(self) -> None:
        factors = (1.02, 0.98, 1.01, 0.99, 1.02, 0.98, 1.01, 1.0, 0.99)
        noisy = [
            one._replace(us=one.us * factor) for one, factor in zip(self.measured(4, 16, 64), factors, strict=True)
        ]
        assert fit(noisy).call_us == pytest.approx(35, rel=0.05)

    def test_costs_that_cannot_be_separated_are_refused(self) -> None:
        with pytest.raises(ValueError, match="different numbers of shards"):
            fit(self.measured(4))
        with pytest.raises(ValueError, match="use more posts"):
            fit([BatchMeasurement(16, 4, 100), BatchMeasurement(16, 64, 50)])

    def test_costs_have_the_form_of_the_costs_file(self) -> None:
        kafka = KafkaCost(10_000, 30.04, 94.4, 305.2)
        windows = [WindowsCost(batch, shards, 9, us, us + 18) for batch, shards, us in self.measured(4, 16)]
        found = costs_of(kafka, windows)
        assert found["redis"] == {"by_batch": [[16, 90.0], [256, 40.0], [4_096, 9.0]], "call_us": 35.0}
        assert found["aggregate"] == {"by_batch": [[16, 108.0], [256, 58.0], [4_096, 27.0]], "call_us": 35.0}
        assert (found["broker_us"], found["raw_bytes"], found["classified_bytes"]) == (30.0, 94, 305)
        text = describe(kafka, windows, found)
        assert "batches of     16 posts to    4 shards: Redis 98.8 µs a post, the worker 116.8 µs" in text
        assert "each call of a batch to a shard: Redis 35.0 µs" in text


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


def test_a_bill_by_hand() -> None:
    prices = Prices(vcpu_hour=0.05, core_vcpus=2, gb_month=0.1, gb_traffic=0.01)
    fleet = Fleet(workers=10, partitions=20, brokers=3, masters=1, sinks=1, replication=3)
    found = bill(
        COSTS,
        Machines(worker_cores=4),
        fleet,
        prices,
        rate=1_000,
        retention_days=7,
        history_days=100,
        postgres_cores=2,
    )
    assert found.cores == 40 + 12 + 1 + 1 + 2
    assert found.compute == pytest.approx(56 * 2 * 0.05 * 730)
    assert found.disk_gb == pytest.approx(86.4e6 * (7 * 3_000 + 100 * 500) / 1e9)
    # The raw record in, the classified record in, and all that brokers send. Two thirds cross zones.
    assert found.traffic_gb == pytest.approx(1_000 * 730 * 3_600 * (1_000 + 2_000 + 300 + 700) * 2 / 3 / 1e9)
    assert found.total == pytest.approx(found.compute + found.storage + found.traffic)
    assert not math.isnan(found.total)
