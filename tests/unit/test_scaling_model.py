"""The limits, the fitted costs and the bill of a fleet are those that are computed by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.scaling_fit import BatchMeasurement, KafkaCost, WindowsCost, costs_of, describe, fit
from benchmarks.scaling_model import (
    BatchCost,
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
from tests.fleet_costs import CALLS, COSTS, ONE_CORE


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
