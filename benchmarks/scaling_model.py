"""A closed-form model of a fleet of workers, brokers and Redis masters: what limits it, and what it costs. Pure.

Each part processes as many posts a second as its cores have time for. `scaling_simulation` adds the effects of waiting.
`scaling_plan` finds the fleet for a rate.
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
    """What a post costs in a batch. Each batch calls every shard.

    Attributes:
        by_batch: Pairs of a batch size and the microseconds for a post in such a batch, without calls. A post costs
            less in a larger batch, because a window that several posts change is written once. Batch sizes rise.
        call_us: Microseconds for a call. A batch also calls the shards whose windows it does not change, because each
            shard stores the position of the batch.
    """

    by_batch: tuple[tuple[int, float], ...]
    call_us: float

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: There is no batch size, batch sizes do not rise, or a cost is not positive.
        """
        sizes = [batch for batch, _ in self.by_batch]
        if not sizes or sizes[0] < 1 or sizes != sorted(set(sizes)):
            raise ValueError("by_batch: batch sizes must be at least 1, and rise")
        if min(us for _, us in self.by_batch) <= 0 or self.call_us < 0:
            raise ValueError("by_batch: costs must be above 0, and call_us must be at least 0")

    @cached_property
    def _logs(self) -> tuple[list[float], list[float]]:
        sizes, costs = zip(*self.by_batch, strict=True)
        return [math.log(size) for size in sizes], [math.log(cost) for cost in costs]

    def us(self, batch: float, shards: int) -> float:
        """Returns the microseconds for a post in a batch of `batch` posts, calls included.

        Between two measured batch sizes, the cost is interpolated linearly on logarithmic scales.
        """
        sizes, costs = self._logs
        at = min(max(math.log(batch), sizes[0]), sizes[-1])
        right = min(bisect_right(sizes, at), len(sizes) - 1)
        left = max(right - 1, 0)
        share = (at - sizes[left]) / (sizes[right] - sizes[left]) if right > left else 0.0
        return math.exp(costs[left] + share * (costs[right] - costs[left])) + self.call_us * shards / batch


@dataclass(frozen=True)
class Costs:
    """What a post costs each part, on average over a stream. Core times are in microseconds.

    Attributes:
        classify_us: Core time of a worker to read, classify and write a post.
        aggregate: Core time of a worker to count a post.
        redis: Core time of Redis to apply a post, over all shards.
        broker_us: Core time of the brokers for all records of a post, without replication.
        sink_us: Core time of a sink to write the row of a post.
        postgres_rows: Rows a second that one Postgres can write.
        raw_bytes: Bytes of a record in the raw topic, key and overhead included.
        classified_bytes: Bytes of a record in the classified topic.
        row_bytes: Bytes of a row in Postgres, indexes included.
        window_bytes: Bytes of a window in Redis.
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
        """Returns a worker's core time for a post that is counted in a batch of `batch` posts, in microseconds."""
        return self.classify_us + self.aggregate.us(batch, shards)


@dataclass(frozen=True)
class Machines:
    """The resources of one worker, broker, sink and Redis master.

    Attributes:
        worker_cores: Cores of a worker; one if a worker is a process.
        broker_cores: Cores of a broker.
        broker_bytes: Bytes a second that a broker's network can receive, and send at the same time.
        sink_cores: Cores of a sink.
        master_bytes: Memory of a Redis master for windows, in bytes.
    """

    worker_cores: float = 1
    broker_cores: float = 4
    broker_bytes: float = 500e6
    sink_cores: float = 1
    master_bytes: float = 16e9


@dataclass(frozen=True)
class Fleet:
    """The number of each part.

    Attributes:
        workers: Worker processes.
        partitions: Partitions of the raw topic, and of the classified topic.
        brokers: Kafka brokers.
        masters: Redis masters. Each uses one core.
        shards: Shards of the windows, spread over the masters.
        sinks: Sinks that write to Postgres.
        replication: Copies of each partition.
    """

    workers: int
    partitions: int
    brokers: int = 1
    masters: int = 1
    shards: int = 4
    sinks: int = 1
    replication: int = 1

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: A number is below 1, or a partition has more copies than there are brokers.
        """
        if min(vars(self).values()) < 1:
            raise ValueError("a fleet needs at least one of each part")
        if self.replication > self.brokers:
            raise ValueError(
                f"{self.replication} copies of a partition need {self.replication} brokers, not {self.brokers}"
            )


def effective_holders(items: int, holders: int) -> float:
    """Returns how many holders are in effect at work when whole items are distributed over `holders` holders.

    The holder with the most items limits the others: 8 partitions on 7 workers are as fast as on 4.
    """
    return items / math.ceil(items / holders)


def bytes_in(costs: Costs, replication: int) -> float:
    """Returns the bytes of a post that all brokers together receive: both records, once for each copy."""
    return replication * (costs.raw_bytes + costs.classified_bytes)


def bytes_out(costs: Costs, replication: int) -> float:
    """Returns the bytes of a post that all brokers together send.

    Both records go to the other copies, the raw record goes to a worker, and the classified record to a sink. A worker
    that keeps up does not fetch the classified records that it has written itself.
    """
    to_copies = (replication - 1) * (costs.raw_bytes + costs.classified_bytes)
    return to_copies + costs.raw_bytes + costs.classified_bytes


LARGEST_BATCH = 16_384
"""Posts in a batch for the windows at most (EMOSTREAM_AGGREGATE_BATCH_MAX)."""


def capacities(costs: Costs, machines: Machines, fleet: Fleet, *, batch: int = LARGEST_BATCH) -> dict[str, float]:
    """Returns how many posts a second each part of a fleet can process if no other part slows it down.

    The capacity of Redis and of the workers depends on `batch`, the posts in a batch for the windows. If Redis is too
    slow, posts wait in Kafka and batches grow to the largest size, which is the default.
    """
    brokers_us = costs.broker_us * fleet.replication
    moved = max(bytes_in(costs, fleet.replication), bytes_out(costs, fleet.replication))
    return {
        "workers": effective_holders(fleet.partitions, fleet.workers)
        * machines.worker_cores
        * 1e6
        / costs.worker_us(batch, fleet.shards),
        "broker cores": fleet.brokers * machines.broker_cores * 1e6 / brokers_us,
        "broker network": fleet.brokers * machines.broker_bytes / moved,
        "Redis": effective_holders(fleet.shards, fleet.masters) * 1e6 / costs.redis.us(batch, fleet.shards),
        "sinks": effective_holders(fleet.partitions, fleet.sinks) * machines.sink_cores * 1e6 / costs.sink_us,
        "Postgres": costs.postgres_rows,
    }


def bottleneck(found: Mapping[str, float], *, without: frozenset[str] = frozenset()) -> tuple[str, float]:
    """Returns the part with the lowest capacity, and that capacity. Parts of `without` are left out."""
    name = min((part for part in found if part not in without), key=lambda part: found[part])
    return name, found[name]


HISTORY_PARTS = frozenset({"sinks", "Postgres"})
"""The parts that write the history. Live windows do not need them, because the history can wait in Kafka."""


@dataclass(frozen=True)
class Prices:
    """Prices of a cloud, in any currency.

    Attributes:
        vcpu_hour: Price of an hour of a vCPU with its memory.
        core_vcpus: Number of vCPUs that do the work of one measured core.
        gb_month: Price of 10^9 bytes of disk for a month.
        gb_traffic: Price of 10^9 bytes of traffic between zones.
    """

    vcpu_hour: float
    core_vcpus: float
    gb_month: float
    gb_traffic: float


@dataclass(frozen=True)
class Bill:
    """What a fleet costs a month.

    Attributes:
        cores: Measured cores, not vCPUs.
        disk_gb: Disk in 10^9 bytes.
        traffic_gb: Traffic between zones in 10^9 bytes.
        compute: Cost of the cores.
        storage: Cost of the disk.
        traffic: Cost of the traffic.
    """

    cores: float
    disk_gb: float
    traffic_gb: float
    compute: float
    storage: float
    traffic: float

    @property
    def total(self) -> float:
        """The sum of compute, storage and traffic."""
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
    """Returns what a fleet costs a month at `rate` posts a second.

    Each copy in Kafka keeps both records for `retention_days`; Postgres keeps rows for `history_days`. The share
    (zones - 1) / zones of the bytes that brokers receive from clients and send crosses zones, and is charged.
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
