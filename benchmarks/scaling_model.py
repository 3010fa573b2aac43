"""What limits a fleet of workers, brokers and Redis masters, and what it costs: in closed form. Pure.

Each part does as many posts a second as its cores pay for. What waiting adds to that, `scaling_simulation` plays; which
fleet a rate needs, `scaling_plan` finds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

HOURS_PER_MONTH = 730.0
SECONDS_PER_DAY = 86_400.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3_600


@dataclass(frozen=True)
class BatchCost:
    """What a post costs that comes in a batch, whose every part for a shard is a call.

    Attributes:
        by_batch: microseconds for a post, by how many posts come in one batch, without the calls: a window that several
            of them change is written once. Batches rise.
        call_us: for each call. A batch makes one to every shard, if only to note that it was there.
    """

    by_batch: tuple[tuple[int, float], ...]
    call_us: float

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: there is no batch, or they do not rise, or a cost is not positive.
        """
        sizes = [batch for batch, _ in self.by_batch]
        if not sizes or sizes[0] < 1 or sizes != sorted(set(sizes)):
            raise ValueError("batches must be at least 1, and rise")
        if min(us for _, us in self.by_batch) <= 0 or self.call_us < 0:
            raise ValueError("costs must be positive")

    @cached_property
    def _logs(self) -> tuple[list[float], list[float]]:
        sizes, costs = zip(*self.by_batch, strict=True)
        return [math.log(size) for size in sizes], [math.log(cost) for cost in costs]

    def us(self, batch: float, shards: int) -> float:
        """For a post out of a batch of so many: between two that were measured a power of them, plus the calls."""
        sizes, costs = self._logs
        at = min(max(math.log(batch), sizes[0]), sizes[-1])
        right = min(bisect_right(sizes, at), len(sizes) - 1)
        left = max(right - 1, 0)
        share = (at - sizes[left]) / (sizes[right] - sizes[left]) if right > left else 0.0
        return math.exp(costs[left] + share * (costs[right] - costs[left])) + self.call_us * shards / batch


@dataclass(frozen=True)
class Costs:
    """What a post costs, on average over a stream.

    Attributes:
        classify_us: core time of a worker to read, classify and write it, in microseconds.
        aggregate: core time of a worker to count it.
        redis: core time of Redis to apply it, over all shards.
        broker_us: core time of the brokers for all of its records, without replication.
        sink_us: core time of a sink to write its row.
        postgres_rows: rows a second that one Postgres takes.
        raw_bytes: of its record in the raw topic, key and overhead included.
        classified_bytes: of its record in the classified topic.
        row_bytes: of its row in Postgres, indexes included.
        window_bytes: of one window in Redis.
    """

    classify_us: float
    aggregate: BatchCost
    redis: BatchCost
    broker_us: float
    sink_us: float
    postgres_rows: float
    raw_bytes: float
    classified_bytes: float
    row_bytes: float
    window_bytes: float

    def worker_us(self, batch: float, shards: int) -> float:
        """Core time of a worker for a post that is counted in a batch of so many."""
        return self.classify_us + self.aggregate.us(batch, shards)


@dataclass(frozen=True)
class Machines:
    """What one of each has.

    Attributes:
        worker_cores: of a worker; one, if a worker is a process.
        broker_cores: of a broker.
        broker_bytes: that a broker's network takes in, and as many out, in bytes a second.
        sink_cores: of a sink.
        master_bytes: of memory that a Redis master has for windows.
    """

    worker_cores: float = 1
    broker_cores: float = 4
    broker_bytes: float = 500e6
    sink_cores: float = 1
    master_bytes: float = 16e9


@dataclass(frozen=True)
class Fleet:
    """How many of each.

    Attributes:
        workers: processes.
        partitions: of the raw and the classified topic.
        brokers: of Kafka.
        masters: of Redis; each uses one core.
        shards: of the windows, spread over the masters.
        sinks: that write to Postgres.
        replication: copies of each partition.
    """

    workers: int
    partitions: int
    brokers: int = 1
    masters: int = 1
    shards: int = 4
    sinks: int = 1
    replication: int = 1

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a number is below 1, or there are more brokers' copies than brokers.
        """
        if min(vars(self).values()) < 1:
            raise ValueError("there must be at least one of each")
        if self.replication > self.brokers:
            raise ValueError(f"{self.replication} copies need as many brokers, not {self.brokers}")


def max_balanced_load(items: int, holders: int) -> float:
    """How many holders' worth of work is done at most when items are dealt out whole: the fullest sets the pace."""
    return items / math.ceil(items / holders)


def bytes_in(costs: Costs, replication: int) -> float:
    """Bytes for a post that all brokers together take in: its two records, once for each copy."""
    return replication * (costs.raw_bytes + costs.classified_bytes)


def bytes_out(costs: Costs, replication: int) -> float:
    """Bytes for a post that all brokers send: to the other copies, the raw record to a worker, the other to a sink.

    A worker that keeps up does not fetch what it has written itself.
    """
    to_copies = (replication - 1) * (costs.raw_bytes + costs.classified_bytes)
    return to_copies + costs.raw_bytes + costs.classified_bytes


LARGEST_BATCH = 16_384
"""Posts that a worker counts at once at most (EMOSTREAM_AGGREGATE_BATCH_MAX)."""


def capacities(costs: Costs, machines: Machines, fleet: Fleet, *, batch: int = LARGEST_BATCH) -> dict[str, float]:
    """Posts a second that each part of a fleet can do, if the others held nothing up.

    Those of Redis and of the workers depend on how many posts are counted at once. Where Redis is too slow posts wait
    in Kafka, so batches grow up to the largest; that is the default.
    """
    brokers_us = costs.broker_us * fleet.replication
    moved = max(bytes_in(costs, fleet.replication), bytes_out(costs, fleet.replication))
    return {
        "workers": max_balanced_load(fleet.partitions, fleet.workers)
        * machines.worker_cores
        * 1e6
        / costs.worker_us(batch, fleet.shards),
        "broker cores": fleet.brokers * machines.broker_cores * 1e6 / brokers_us,
        "broker network": fleet.brokers * machines.broker_bytes / moved,
        "Redis": max_balanced_load(fleet.shards, fleet.masters) * 1e6 / costs.redis.us(batch, fleet.shards),
        "sinks": max_balanced_load(fleet.partitions, fleet.sinks) * machines.sink_cores * 1e6 / costs.sink_us,
        "Postgres": costs.postgres_rows,
    }


def bottleneck(found: Mapping[str, float], *, without: frozenset[str] = frozenset()) -> tuple[str, float]:
    """The part that gives way first, and at how many posts a second."""
    name = min((part for part in found if part not in without), key=lambda part: found[part])
    return name, found[name]


LIVE = frozenset({"sinks", "Postgres"})
"""Left out, the rest is what live windows need: history may wait in Kafka."""


@dataclass(frozen=True)
class Prices:
    """What the cloud asks, in any currency.

    Attributes:
        vcpu_hour: for a vCPU with its memory, an hour.
        core_vcpus: vCPUs that do the work of one measured core.
        gb_month: for 10^9 bytes of disk, a month.
        gb_traffic: for 10^9 bytes between zones.
    """

    vcpu_hour: float
    core_vcpus: float
    gb_month: float
    gb_traffic: float


@dataclass(frozen=True)
class Bill:
    """What a fleet costs a month."""

    cores: float
    disk_gb: float
    traffic_gb: float
    compute: float
    storage: float
    traffic: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.storage + self.traffic


def bill(
    costs: Costs,
    machines: Machines,
    fleet: Fleet,
    prices: Prices,
    *,
    rate: float,
    retention_days: float,
    history_days: float,
    postgres_cores: float,
    zones: int = 3,
) -> Bill:
    """What a fleet at `rate` posts a second costs a month.

    Kafka keeps `retention_days` of both records in each copy, Postgres `history_days` of rows. Of what brokers move,
    the share that crosses zones, (zones - 1) / zones, is paid for.
    """
    cores = (
        fleet.workers * machines.worker_cores
        + fleet.brokers * machines.broker_cores
        + fleet.masters
        + fleet.sinks * machines.sink_cores
        + postgres_cores
    )
    per_day = rate * SECONDS_PER_DAY
    disk = per_day * (retention_days * bytes_in(costs, fleet.replication) + history_days * costs.row_bytes)
    moved = rate * SECONDS_PER_MONTH * (costs.raw_bytes + costs.classified_bytes + bytes_out(costs, fleet.replication))
    disk_gb, traffic_gb = disk / 1e9, moved * (zones - 1) / zones / 1e9
    return Bill(
        cores=cores,
        disk_gb=disk_gb,
        traffic_gb=traffic_gb,
        compute=cores * prices.core_vcpus * prices.vcpu_hour * HOURS_PER_MONTH,
        storage=disk_gb * prices.gb_month,
        traffic=traffic_gb * prices.gb_traffic,
    )
