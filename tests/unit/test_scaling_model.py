"""The model of a fleet: its closed form, its simulation, and that the two agree."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.scaling_model import (
    LARGEST_BATCH,
    LIVE,
    Costs,
    Fleet,
    Machines,
    Prices,
    batch_of,
    bill,
    bottleneck,
    bytes_in,
    bytes_out,
    capacities,
    even_share,
    plan,
)
from benchmarks.scaling_simulation import Play, simulate

COSTS = Costs(
    classify_us=900,
    aggregate_us=100,
    redis=((16, 160), (256, 40), (16_384, 10)),
    broker_us=20,
    sink_us=25,
    postgres_rows=40_000,
    raw_bytes=300,
    classified_bytes=700,
    row_bytes=500,
    window_bytes=600,
)
ONE_CORE = Machines(worker_cores=1, broker_cores=1)
FLEETS = (
    Fleet(workers=1, partitions=4),
    Fleet(workers=8, partitions=8),
    Fleet(workers=200, partitions=200, brokers=8),
    Fleet(workers=200, partitions=200, brokers=8, masters=4, shards=16),
    Fleet(workers=200, partitions=200, brokers=2, masters=4, shards=16),
    Fleet(workers=100, partitions=100, brokers=6, masters=3, shards=3, replication=3),
)


def live_limit(fleet: Fleet) -> float:
    """What the closed form allows, network and history left aside: the simulation has none."""
    return bottleneck(capacities(COSTS, ONE_CORE, fleet), without=LIVE | {"broker network"})[1]


def play(**fields: Any) -> Play:
    return Play(**({"seconds": 120, "aggregate_batch": LARGEST_BATCH} | fields))


class TestClosedForm:
    def test_each_part_by_hand(self) -> None:
        found = capacities(COSTS, Machines(2, 3, 10e6, 2), Fleet(4, 8, brokers=3, masters=2, shards=4, replication=2))
        assert found["workers"] == pytest.approx(4 * 2 * 1_000)
        assert found["broker cores"] == pytest.approx(3 * 3 * 1e6 / 40)
        # Out: one copy to the other broker, both records to the worker, the classified one to the sink.
        assert found["broker network"] == pytest.approx(3 * 10e6 / (1_000 + 1_000 + 700))
        assert found["Redis"] == pytest.approx(2 * 100_000)
        assert found["sinks"] == pytest.approx(2 * 40_000)
        assert found["Postgres"] == 40_000

    def test_the_fullest_holder_sets_the_pace(self) -> None:
        assert even_share(8, 4) == 4
        assert even_share(8, 3) == pytest.approx(8 / 3)
        assert even_share(8, 7) == 4
        assert even_share(8, 9) == 8

    def test_bytes_come_in_once_for_each_copy(self) -> None:
        assert bytes_in(COSTS, 3) == 3_000
        assert bytes_out(COSTS, 1) == 1_700

    def test_the_bottleneck_is_the_lowest(self) -> None:
        assert bottleneck({"a": 3, "b": 1, "c": 2}) == ("b", 1)
        assert bottleneck({"a": 3, "b": 1, "c": 2}, without=frozenset("b")) == ("c", 2)

    def test_redis_costs_less_in_larger_batches(self) -> None:
        assert COSTS.redis_us(16) == pytest.approx(160)
        assert COSTS.redis_us(64) == pytest.approx(80)
        assert COSTS.redis_us(1) == pytest.approx(160)
        assert COSTS.redis_us(10**6) == pytest.approx(10)

    def test_a_fleet_that_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            Fleet(workers=0, partitions=4)
        with pytest.raises(ValueError, match="3 copies need"):
            Fleet(workers=1, partitions=4, replication=3)


class TestPlan:
    @pytest.mark.parametrize("rate", [1, 999, 10_000, 100_000, 1e6])
    @pytest.mark.parametrize("headroom", [0.5, 0.7, 1.0])
    def test_it_does_its_rate_and_a_worker_less_does_not(self, rate: float, headroom: float) -> None:
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

    def test_batches_that_are_gathered_for_longer_need_fewer_masters(self) -> None:
        assert batch_of(100_000, 200, 0.2) == 100
        assert batch_of(100, 200, 0.2) == 1
        fleets = [plan(COSTS, Machines(), 500_000, wait_s=wait) for wait in (0.2, 2, 20)]
        assert fleets[0].masters > fleets[1].masters > fleets[2].masters

    def test_nobody_holds_more_than_another(self) -> None:
        fleet = plan(COSTS, Machines(), 300_000)
        assert fleet.partitions % fleet.workers == fleet.shards % fleet.masters == 0

    def test_what_cannot_be_planned(self) -> None:
        with pytest.raises(ValueError, match="positive"):
            plan(COSTS, Machines(), 0)
        with pytest.raises(ValueError, match="headroom"):
            plan(COSTS, Machines(), 1, headroom=1.1)


class TestSimulation:
    @pytest.mark.parametrize("fleet", FLEETS, ids=str)
    def test_it_agrees_with_the_closed_form(self, fleet: Fleet) -> None:
        found = simulate(COSTS, ONE_CORE, fleet, play())
        assert found.applied == pytest.approx(live_limit(fleet), rel=0.05)

    def test_uneven_times_change_little(self) -> None:
        fleet = Fleet(workers=8, partitions=8)
        found = simulate(COSTS, ONE_CORE, fleet, play(spread=0.5))
        assert found.applied == pytest.approx(live_limit(fleet), rel=0.05)
        assert found != simulate(COSTS, ONE_CORE, fleet, play(spread=0.5, seed=8))

    def test_it_is_linear_until_a_part_gives_way_and_flat_from_there(self) -> None:
        workers = [1, 2, 4, 8, 16, 32, 64, 128, 256]
        rates = [
            simulate(COSTS, ONE_CORE, Fleet(n, n, brokers=8), play(seconds=300)).applied for n in workers
        ]  # one master: 100,000 posts/s
        assert all(later >= 0.97 * earlier for earlier, later in pairwise(rates))
        for number, rate in zip(workers, rates, strict=True):
            assert rate == pytest.approx(min(number * 1_000, 100_000), rel=0.05)

    def test_classification_goes_on_where_redis_is_too_slow_and_the_lag_is_in_kafka(self) -> None:
        slow = replace(COSTS, redis=((1, 1_000),))
        found = simulate(slow, ONE_CORE, Fleet(workers=4, partitions=4), play(seconds=100))
        assert found.applied == pytest.approx(1_000, rel=0.05)
        assert found.classified > 3_500
        assert found.lag[1] > 100 * 2_500
        assert found.busy["Redis"] == pytest.approx(1, abs=0.02)

    def test_a_rate_below_the_limit_leaves_no_lag_and_one_above_does(self) -> None:
        fleet = Fleet(workers=4, partitions=4)
        below = simulate(COSTS, ONE_CORE, fleet, play(rate=0.9 * live_limit(fleet), seconds=100))
        assert below.applied == pytest.approx(3_600, rel=0.02)
        assert sum(below.lag) < 4 * (512 + LARGEST_BATCH)
        assert below.busy["workers"] == pytest.approx(0.9, abs=0.02)
        above = simulate(COSTS, ONE_CORE, fleet, play(rate=1.2 * live_limit(fleet), seconds=100))
        assert sum(above.lag) == pytest.approx(100 * 800, rel=0.1)

    def test_the_worker_with_most_partitions_falls_behind_first(self) -> None:
        fleet = Fleet(workers=4, partitions=5)
        assert live_limit(fleet) == pytest.approx(2_500)
        fits = simulate(COSTS, ONE_CORE, fleet, play(rate=2_400, seconds=100))
        falls = simulate(COSTS, ONE_CORE, fleet, play(rate=3_500, seconds=100))
        assert sum(fits.lag) < 4 * (512 + LARGEST_BATCH)
        assert sum(falls.lag) > 100 * 300

    def test_waiting_for_answers_costs_what_it_takes(self) -> None:
        # A batch of 512 takes 0.46 s of the core, and the counting of others fills the wait as far as there are some.
        alone = replace(COSTS, aggregate_us=0.001, redis=((1, 0.001),), broker_us=0.001)
        found = simulate(alone, ONE_CORE, Fleet(workers=1, partitions=1), play(seconds=100, answer_s=0.1))
        assert found.classified == pytest.approx(512 / (0.4608 + 0.1), rel=0.02)

    def test_more_workers_than_partitions(self) -> None:
        with pytest.raises(ValueError, match="nothing to do"):
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
    # The producer's record, the worker's, and all that brokers send; two of three go to another zone.
    assert found.traffic_gb == pytest.approx(1_000 * 730 * 3_600 * (1_000 + 2_000 + 1_000 + 700) * 2 / 3 / 1e9)
    assert found.total == pytest.approx(found.compute + found.storage + found.traffic)
    assert not math.isnan(found.total)
