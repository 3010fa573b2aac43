"""A planned fleet reaches its rate, and no smaller fleet does."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.scaling_model import Fleet, Machines, bottleneck, capacities
from benchmarks.scaling_plan import MAX_SHARDS, WindowTables, batch_of, plan, shortest_wait
from streams.records import ALL_KEYWORDS
from streams.window_sizes import parse_sizes
from streams.windows.tumbling import shard_of
from tests.fleet_costs import CALLS, COSTS


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
            """Returns the cores of the workers and masters; infinite if the masters are too few for the rate."""
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
